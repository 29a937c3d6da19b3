"""Which TCP ports something on a machine listens on, as Linux tells in /proc/net (proc_pid_net(5))."""

from __future__ import annotations

from typing import Final

from clusters.hosts.machine import Machine

LISTEN: Final = "0A"
SECONDS: Final = 10.0


def listening_ports(machine: Machine) -> list[int]:
    """The ports, sorted; none where the machine has no /proc/net (then a port is only tried when it is used)."""
    finished = machine.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"], timeout=SECONDS)
    return sorted({port for line in finished.stdout.splitlines() if (port := _port(line.split())) is not None})


def _port(fields: list[str]) -> int | None:
    """From `0: 0100007F:1538 00000000:0000 0A ...`; the heading and connections give None."""
    if len(fields) < 4 or fields[3] != LISTEN:
        return None
    try:
        return int(fields[1].rpartition(":")[2], 16)
    except ValueError:
        return None
