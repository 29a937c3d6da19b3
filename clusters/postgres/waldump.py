"""What pg_waldump prints of PostgreSQL 14 to 18, read line by line: where the WAL ends, and what was written in a part of it.

Lists are bounded, counts are not: a primary that went on for an hour has written more than anybody reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from clusters.postgres.parsers import Lsn

#: So many transactions and relations are named; all are counted.
NAMED: Final = 1000
PAGE_BYTES: Final = 8192
#: Of a WAL page's header, and of the longer one that begins a file.
_HEADER, _LONG_HEADER = 24, 40
_ALIGN: Final = 8

_RECORD = re.compile(
    r"rmgr: (?P<manager>\S+)\s+len \(rec/tot\):\s*[0-9]+/\s*(?P<total>[0-9]{1,10}), tx:\s*(?P<xid>[0-9]{1,10}), "
    r"lsn: (?P<lsn>[0-9A-F]{1,8}/[0-9A-F]{1,8}), prev \S+, desc: (?P<what>.*)"
)
_COMMIT = re.compile(r"COMMIT(?:_PREPARED)? (?:(?P<prepared>[0-9]{1,10}): )?(?P<at>[0-9]{4,5}-[0-9]{2}-[0-9]{2} [0-9:.]{8,20} ?[^;]{0,40})")
_REDO = re.compile(r"redo ([0-9A-F]{1,8}/[0-9A-F]{1,8})")
_RELATION = re.compile(r"\brel ([0-9]{1,10})/([0-9]{1,10})/([0-9]{1,10})\b")
_MISSING = re.compile(r"could not (?:find|open) file|could not locate WAL file|could not find any WAL file")
_NOTHING = re.compile(r"could not find a valid record after")

#: Lets through what `WalReader` needs and no more, so that an hour of WAL is not sent over the network: commits, checkpoints, the first
#: record that names a relation, the last record, and whatever is no record. A logical message may be a line of many megabytes; what
#: matters stands at its beginning. For awk as POSIX has it.
FILTER: Final = r"""
length($0) > 8000 { $0 = substr($0, 1, 8000) }
!/^rmgr:/ { print; next }
{ show = ($2 == "Transaction" && / COMMIT/) || / desc: CHECKPOINT_/
  rest = $0
  while (match(rest, /rel [0-9]+\/[0-9]+\/[0-9]+/)) {
    name = substr(rest, RSTART, RLENGTH)
    if (!(name in seen)) { seen[name] = 1; show = 1 }
    rest = substr(rest, RSTART + RLENGTH)
  }
  if (show) { print; last = "" } else last = $0
}
END { if (last != "") print last }
"""


@dataclass(frozen=True, order=True)
class Relation:
    """A relation as WAL knows it: tablespace, database (0: shared by all) and file, by their numbers."""

    tablespace: int
    database: int
    file: int

    def __str__(self) -> str:
        return f"{self.tablespace}/{self.database}/{self.file}"

    @property
    def of_the_system(self) -> bool:
        """A catalog, as long as nobody has rewritten it: numbers below 16384 are initdb's."""
        return self.file < 16384


@dataclass
class WalReader:
    """Takes the lines of one or several runs of pg_waldump over one branch, in order."""

    segment_bytes: int = 16 * 1024 * 1024
    commits: int = 0
    xids: list[int] = field(default_factory=list)
    first_commit: str = ""
    last_commit: str = ""
    relations: set[Relation] = field(default_factory=set)
    relation_count: int = 0
    redo: Lsn | None = None  # from where on the last checkpoint that was seen needs the WAL
    end: Lsn | None = None  # of the last whole record; None: there was none
    missing: bool = False  # a file that should have been there was not
    nothing: bool = False  # there is no record at or after the place that was asked for
    complaint: str = ""  # the last line that is no record: pg_waldump always ends with one where the WAL ends

    def take(self, line: str) -> None:
        match = _RECORD.match(line)
        if not match:
            self._other(line)
            return
        begin = Lsn.parse(match["lsn"])
        self.end = record_end(begin, int(match["total"]), self.segment_bytes)
        if match["manager"] == "Transaction" and (commit := _COMMIT.match(match["what"])):
            self._commit(int(commit["prepared"] or match["xid"]), commit["at"].strip())
        if match["manager"] == "XLOG" and match["what"].startswith("CHECKPOINT_"):
            self._checkpoint(match["what"])
        for numbers in _RELATION.findall(match["what"]):
            self._relation(Relation(*map(int, numbers)))

    def _commit(self, xid: int, at: str) -> None:
        self.commits += 1
        self.first_commit = self.first_commit or at
        self.last_commit = at
        if len(self.xids) < NAMED:
            self.xids.append(xid)

    def _checkpoint(self, what: str) -> None:
        if redo := _REDO.search(what):
            self.redo = Lsn.parse(redo[1])

    def _relation(self, relation: Relation) -> None:
        if relation not in self.relations:
            self.relation_count += 1
            if len(self.relations) < NAMED:
                self.relations.add(relation)

    def _other(self, line: str) -> None:
        if line.strip():
            self.complaint = line.strip()[:500]
            self.missing = self.missing or bool(_MISSING.search(line))
            self.nothing = self.nothing or bool(_NOTHING.search(line))


@dataclass(frozen=True)
class LostWrites:
    """What a branch has that the cluster's has not: all of it goes away when the instance is rejoined."""

    fork: Lsn
    end: Lsn
    timeline: int  # of the fork
    commits: int = 0
    xids: tuple[int, ...] = ()  # the first ones of them
    first_commit: str = ""
    last_commit: str = ""
    relations: tuple[dict[str, Any], ...] = ()  # {"database", "relation", "file"}; relation None where it is not known by name
    relation_count: int = 0
    incomplete: str = ""  # why not all of it could be read; empty: it was

    @property
    def bytes(self) -> int:
        return max(0, self.end - self.fork)

    def as_row(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "from_lsn": str(self.fork),
            "to_lsn": str(self.end),
            "timeline": self.timeline,
            "bytes": self.bytes,
            "commits": self.commits,
            "xids": list(self.xids),
            "first_commit": self.first_commit,
            "last_commit": self.last_commit,
            "relations": [dict(relation) for relation in self.relations],
            "relation_count": self.relation_count,
            "incomplete": self.incomplete,
        }


def record_end(begin: Lsn, total: int, segment_bytes: int) -> Lsn:
    """Where a record of `total` bytes ends, and the next may begin: page headers lie in between, and records begin at multiples of 8."""
    place, left = int(begin), total
    while left > (room := PAGE_BYTES - place % PAGE_BYTES):
        left -= room
        place += room
        place += _LONG_HEADER if place % segment_bytes == 0 else _HEADER
    place += left
    return Lsn(place + -place % _ALIGN)
