"""A process that looks at the command line and the environment of every process of a lab, all the time, until its standard input is closed.

    python -m tests.lab.sampler LAB FILE

FILE is there, empty, once it looks; then it holds each that was seen, once.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lab.cgroups import hierarchies

#: Between two looks. So short-lived is nothing that asks a database or an engine.
SECONDS = 0.005
#: Before others, since what it looks for is over in no time.
PRIORITY = -10


def main(lab: str, target: Path) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    group = next(place / lab for place in hierarchies() if (place / lab).is_dir())
    target.touch()
    seen: set[tuple[str, bytes]] = set()
    found: set[bytes] = set()
    while not select.select([sys.stdin], [], [], SECONDS)[0]:
        for process in processes(group):
            line = _read(f"/proc/{process}/cmdline")
            if (process, line) not in seen:
                seen.add((process, line))
                found |= {line, _read(f"/proc/{process}/environ")}
    target.write_bytes(b"\n".join(text.replace(b"\0", b" ") for text in sorted(found)))


def processes(group: Path) -> Iterator[str]:
    for directory, _below, _files in os.walk(group):
        yield from _read(f"{directory}/cgroup.procs").decode().split()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
