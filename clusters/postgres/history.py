"""Timelines: the history file of one, where two branches part, and whether a place in the WAL lies on a branch.

PostgreSQL manual, section "Timelines". Two timelines of the same number need not be the same one: two standbys that were
promoted on their own both choose the next number. So branches are compared from their common beginning on, never by number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from clusters.postgres.parsers import Lsn, Unreadable

_LINE = re.compile(r"([0-9]{1,10})\s+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(\s.*)?")
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:\.partial)?")


@dataclass(frozen=True)
class Stretch:
    """What a branch has of one timeline: from `begin` to `end`; `end` is None on its newest one, which goes on."""

    timeline: int
    begin: Lsn
    end: Lsn | None


@dataclass(frozen=True)
class Fork:
    """Where two branches part: on this timeline, at this place. `lsn` None: both are still on it, and the place is not on record."""

    timeline: int
    lsn: Lsn | None


@dataclass(frozen=True)
class History:
    """A timeline and those it came from: each ancestor, the oldest first, with the place where it was left."""

    timeline: int
    parents: tuple[tuple[int, Lsn], ...] = ()

    @classmethod
    def parse(cls, timeline: int, text: str | None) -> Self:
        """From the file `00000003.history`; the first timeline has none. Raises: Unreadable."""
        parents = []
        for line in (text or "").splitlines():
            bare = line.partition("#")[0].strip()
            if bare:
                parents.append(_parent(bare))
        numbers = [number for number, _end in parents] + [timeline]
        if numbers != sorted(set(numbers)) or (timeline > 1 and not parents):
            raise Unreadable(f"the history of timeline {timeline}", text)
        return cls(timeline, tuple(parents))

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        found, begin = [], Lsn(0)
        for timeline, end in self.parents:
            found.append(Stretch(timeline, begin, end))
            begin = end
        return (*found, Stretch(self.timeline, begin, None))

    @property
    def begin(self) -> Lsn:
        """Where its newest timeline begins."""
        return self.stretches[-1].begin

    def descends_from(self, timeline: int) -> bool:
        """Whether it was promoted, once or more often, from this timeline."""
        return any(number == timeline for number, _end in self.parents)

    def holds(self, timeline: int, lsn: Lsn) -> bool:
        """Whether a place on a timeline lies on this branch."""
        return any(
            stretch.timeline == timeline and stretch.begin <= lsn and (stretch.end is None or lsn <= stretch.end)
            for stretch in self.stretches
        )

    def past(self, fork: Fork) -> tuple[Stretch, ...]:
        """What this branch has beyond a fork of it, the oldest first."""
        assert fork.lsn is not None, "nobody knows where they part"
        rest = []
        for stretch in self.stretches:
            if stretch.timeline == fork.timeline and stretch.end != fork.lsn:
                rest.append(Stretch(stretch.timeline, fork.lsn, stretch.end))
            elif stretch.timeline > fork.timeline:
                rest.append(stretch)
        return tuple(rest)


def history_file(timeline: int) -> str:
    """The name of a timeline's history file in pg_wal."""
    return f"{timeline:08X}.history"


def fork_of(one: History, other: History) -> Fork | None:
    """Where two branches part; None when they have nothing in common."""
    fork = None
    for mine, theirs in zip(one.stretches, other.stretches, strict=False):
        if (mine.timeline, mine.begin) != (theirs.timeline, theirs.begin):
            break
        ends = [end for end in (mine.end, theirs.end) if end is not None]
        fork = Fork(mine.timeline, min(ends) if ends else None)
        if mine.end != theirs.end:
            break
    return fork


@dataclass(frozen=True)
class WalFile:
    """One file of pg_wal: its timeline, and where its WAL begins."""

    timeline: int
    begin: Lsn


def wal_files(names: list[str], segment_bytes: int) -> list[WalFile]:
    """The WAL among the names in a pg_wal directory, in order. Files that are kept ready for later have names of the future."""
    found = []
    for name in names:
        if match := _SEGMENT.fullmatch(name):
            timeline, high, low = (int(part, 16) for part in match.groups())
            found.append(WalFile(timeline, Lsn((high * (0x1_0000_0000 // segment_bytes) + low) * segment_bytes)))
    return sorted(found, key=lambda file: (file.timeline, file.begin))


def _parent(line: str) -> tuple[int, Lsn]:
    match = _LINE.fullmatch(line)
    if not match:
        raise Unreadable("a line of a timeline's history", line)
    return int(match[1]), Lsn.parse(match[2])
