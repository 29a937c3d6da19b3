"""Whether a server could listen on an address and port of a machine, from what Linux tells in /proc/net (proc_pid_net(5))."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from clusters.hosts.errors import HostError, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.listening import LISTEN, SECONDS

if TYPE_CHECKING:
    from clusters.hosts.ssh import SSHMachine

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What is printed: the name's addresses, then the tables, each after a line that names it.
_LOOK: Final = """echo @names; getent ahosts "$1" 2>/dev/null
for file in tcp tcp6 fib_trie if_inet6; do echo "@$file"; cat "/proc/net/$file" 2>/dev/null; done"""
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


def could_listen(machine: SSHMachine, address: str, port: int) -> bool:
    """Raises: HostError when the address is not one of the machine's."""
    if not _HOST_NAME.fullmatch(address) or address.startswith("-"):
        raise _no_listening(address, port, "no address")
    text = machine.run(["sh", "-c", _LOOK, "pgreplica", address], timeout=SECONDS).stdout
    tables = {name: rest for name, _newline, rest in (part.partition("\n") for part in ("\n" + text).split("\n@")[1:])}
    wanted = _named(address, tables.get("names", ""))
    own = [*_own_v4(tables.get("fib_trie", "")), *_own_v6(tables.get("if_inet6", ""))]
    usable = [one for one in wanted if one.is_unspecified or _is_own(one, own)]
    if not usable:
        raise _no_listening(address, port, "this is no address of the server")
    taken = {one for table in ("tcp", "tcp6") for one, number in _listeners(tables.get(table, "")) if number == port}
    return not any(_collides(one, other) for one in usable for other in taken)


def _named(address: str, said: str) -> list[Address]:
    try:
        return [ipaddress.ip_address(address)]
    except ValueError:
        words = {line.split()[0] for line in said.splitlines() if line.strip()}
        return [one for one in map(_parsed, sorted(words)) if one]


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _is_own(one: Address, own: list[Address]) -> bool:
    return one.is_loopback or one in own


def _collides(one: Address, other: Address) -> bool:
    """A listener on every address takes the port on each; one on :: takes it in both families, as PostgreSQL would find out."""
    if other.is_unspecified:
        return other.version >= one.version
    return one == other or (one.is_unspecified and one.version >= other.version)


def _listeners(table: str) -> list[tuple[Address, int]]:
    """From lines like `0: 0100007F:1538 00000000:0000 0A ...`."""
    rows = [line.split() for line in table.splitlines()]
    found = [row[1].split(":") for row in rows if len(row) > 3 and row[3] == LISTEN and row[1].count(":") == 1]
    return [(one, int(port, 16)) for text, port in found if (one := _decoded(text))]


def _decoded(text: str) -> Address | None:
    """Words of four bytes, each written as a number of a little-endian machine."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return ipaddress.ip_address(turned) if len(turned) in (4, 16) else None


def _own_v4(trie: str) -> list[Address]:
    """An address stands on a line `|-- ADDRESS`, and what it is on the lines below it: `/32 host LOCAL`."""
    found: list[Address] = []
    last: Address | None = None
    for line in trie.splitlines():
        words = line.split()
        if "|--" in words:
            last = _parsed(words[-1])
        elif words[-2:] == ["host", "LOCAL"] and last:
            found.append(last)
    return found


def _own_v6(table: str) -> list[Address]:
    firsts = [line.split()[0] for line in table.splitlines() if line.strip()]
    return [ipaddress.IPv6Address(bytes.fromhex(text)) for text in firsts if re.fullmatch("[0-9a-f]{32}", text)]


def _no_listening(address: str, port: int, said: str) -> HostError:
    return HostError(
        _("A server could not listen on %(address)s port %(port)s: %(said)s"),
        _("Give an address of the server itself, and a port above 1023."),
        address=inert(address),
        port=port,
        said=said,
    )
