"""PostgreSQL programs on a machine: which complete sets of binaries there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from clusters.hosts import wrapper
from clusters.hosts.arguments import path_checked
from clusters.hosts.errors import ArgumentRefused, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.machine import Machine, VerbFailed

MAJORS: Final = range(14, 19)
#: What the panel needs of a set; one that lacks a tool, or whose tool does not even say its version, is not listed.
TOOLS: Final = ("postgres", "initdb", "pg_ctl", "pg_basebackup", "pg_verifybackup", "pg_controldata", "psql")
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)((?:\.\d+|[a-z]+\d+)?)")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A complete set of PostgreSQL programs: `version` as "18.6", `bindir` the directory they lie in."""

    major: int
    version: str
    bindir: str


def find_postgres(machine: Machine, extra_bindirs: Iterable[str] = ()) -> list[Binaries]:
    """The complete sets that the machine's user can run, newest first; of two names of one directory the first found.

    Looked at: `extra_bindirs`, then where Debian, the PGDG packages and `make install` put them, then the search path.
    """
    wanted = [path_checked(path) for path in extra_bindirs]
    on_path = [path_checked(entry) for entry in machine.login_path().split(":") if _is_path(entry)]
    words = (" ".join(TOOLS), str(len(wanted)), *wanted, *on_path)
    answer = machine.run(["sh", "-c", wrapper.POSTGRES, "pgreplica", *words], timeout=60)
    if not answer.ok:
        raise VerbFailed(_("The server could not be searched for PostgreSQL programs: %(said)s"), said=inert(answer.stderr))
    records = answer.stdout.split("\0")
    found = [_binaries(version, bindir) for version, bindir in zip(records[0::2], records[1::2], strict=False)]
    return sorted((each for each in found if each), key=lambda each: (-each.major, _natural(each.version)))


def _binaries(said: str, bindir: str) -> Binaries | None:
    match = _VERSION.search(said)
    if not match or int(match[1]) not in MAJORS:
        return None
    return Binaries(int(match[1]), match[1] + match[2], bindir)


def _natural(version: str) -> tuple[int, ...]:
    return tuple(-int(part) for part in re.findall(r"\d+", version))


def _is_path(entry: str) -> bool:
    try:
        return path_checked(entry) != "/"
    except ArgumentRefused:
        return False
