"""What PostgreSQL's programs print, read back. What cannot be read raises `Unreadable`; a progress line gives None instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from clusters.postgres.refused import shown


class Unreadable(ValueError):
    """A program or a server answered something that is not what its manual page says."""

    def __init__(self, what: str, got: object) -> None:
        super().__init__(f"{what} could not be read from: {shown(got, 200)}")


class Lsn(int):
    """A place in the WAL, in bytes from its beginning. The difference of two is a plain int: bytes."""

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """`0/3000060`: two hexadecimal numbers of at most 32 bits."""
        match = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text)
        if not match:
            raise Unreadable("a WAL location (LSN)", text)
        return cls((int(match[1], 16) << 32) + int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"


@dataclass(frozen=True, order=True)
class Version:
    """A PostgreSQL version; `num` as in server_version_num (150020 is 15.20)."""

    num: int

    @property
    def major(self) -> int:
        return self.num // 10000

    def __str__(self) -> str:
        return f"{self.major}.{self.num % 10000}"


def parse_version(text: str) -> Version:
    """From `postgres --version`: "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)". A beta counts as minor 0."""
    match = re.search(r"\(PostgreSQL\) ([0-9]{1,3})(?:\.([0-9]{1,4})|(?:devel|alpha|beta|rc)[0-9]*)", text)
    if not match:
        raise Unreadable("a PostgreSQL version", text)
    return Version(int(match[1]) * 10000 + int(match[2] or 0))


@dataclass(frozen=True)
class SystemIdentity:
    """The answer to IDENTIFY_SYSTEM."""

    system_identifier: str
    timeline: int
    lsn: Lsn


def parse_identify_system(text: str) -> SystemIdentity:
    """From `psql --no-align --tuples-only`: "7300000000000000001|1|0/3000060|"."""
    match = re.fullmatch(r"([0-9]{1,20})\|([0-9]{1,10})\|([0-9A-Fa-f/]+)\|.*", text.strip())
    if not match:
        raise Unreadable("the answer to IDENTIFY_SYSTEM", text)
    return SystemIdentity(match[1], int(match[2]), Lsn.parse(match[3]))


@dataclass(frozen=True)
class ControlData:
    """What the control file of a (possibly stopped) instance says."""

    system_identifier: str
    state: str  # "in production", "shut down", "shut down in recovery", "in archive recovery", ...
    timeline: int  # of the last checkpoint: still the old one right after a promotion
    checkpoint_lsn: Lsn
    redo_lsn: Lsn
    minimum_recovery_end: Lsn
    minimum_recovery_end_timeline: int
    wal_segment_bytes: int
    checksums: bool
    wal_log_hints: bool
    settings: dict[str, int]  # those a standby may not have lower, as of the last checkpoint

    @property
    def stopped_cleanly(self) -> bool:
        return self.state in ("shut down", "shut down in recovery")


_CONTROL_SETTINGS: Final = (
    ("max_connections", "max_connections setting"),
    ("max_worker_processes", "max_worker_processes setting"),
    ("max_wal_senders", "max_wal_senders setting"),
    ("max_prepared_transactions", "max_prepared_xacts setting"),
    ("max_locks_per_transaction", "max_locks_per_xact setting"),
)


def parse_controldata(text: str) -> ControlData:
    """From `pg_controldata` with LC_ALL=C."""
    pairs = (line.partition(":") for line in text.splitlines())
    lines = {label.strip(): value.strip() for label, _, value in pairs}
    try:
        return ControlData(
            system_identifier=str(int(lines["Database system identifier"])),
            state=lines["Database cluster state"],
            timeline=int(lines["Latest checkpoint's TimeLineID"]),
            checkpoint_lsn=Lsn.parse(lines["Latest checkpoint location"]),
            redo_lsn=Lsn.parse(lines["Latest checkpoint's REDO location"]),
            minimum_recovery_end=Lsn.parse(lines["Minimum recovery ending location"]),
            minimum_recovery_end_timeline=int(lines["Min recovery ending loc's timeline"]),
            wal_segment_bytes=int(lines["Bytes per WAL segment"]),
            checksums=int(lines["Data page checksum version"]) > 0,
            wal_log_hints=lines["wal_log_hints setting"] == "on",
            settings={name: int(lines[label]) for name, label in _CONTROL_SETTINGS},
        )
    except (KeyError, ValueError) as error:
        raise Unreadable("the control file", text) from error


@dataclass(frozen=True)
class BasebackupProgress:
    """How far a base backup is. The total is what the server estimated at its start, and grows with what is done."""

    done_bytes: int
    total_bytes: int

    @property
    def percent(self) -> int:
        return 100 if self.total_bytes == 0 else min(100, self.done_bytes * 100 // self.total_bytes)


def parse_basebackup_line(line: str) -> BasebackupProgress | None:
    """From `pg_basebackup --progress`: " 41000/171000 kB (23%), 0/1 tablespace (/some/path)". Other lines give None."""
    match = re.match(r"\s*([0-9]{1,15})/([0-9]{1,15}) kB \([0-9]+%\), [0-9]+/[0-9]+ tablespace", line)
    return BasebackupProgress(int(match[1]) * 1024, int(match[2]) * 1024) if match else None


#: A rate is taken over the last so many seconds: long enough to be steady, short enough to follow a change.
RATE_WINDOW_SECONDS: Final = 30.0


def estimate(samples: Sequence[tuple[float, int]]) -> float | None:
    """Bytes a second over the last half minute of samples (seconds, bytes), in order of time; None when it cannot be told."""
    recent = [sample for sample in samples if sample[0] >= samples[-1][0] - RATE_WINDOW_SECONDS]
    if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
        return None
    return max(0.0, (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0]))


def seconds_left(done: int, total: int, rate: float | None) -> float | None:
    """How long the rest takes at `rate` bytes a second; None when that cannot be told."""
    return max(0, total - done) / rate if rate else None
