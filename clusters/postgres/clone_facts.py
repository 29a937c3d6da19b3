"""What must be known before a standby is cloned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from clusters.postgres.build import NOT_KNOWN, Build
from clusters.postgres.facts import InstanceFacts, Version
from clusters.postgres.parity_rules import Pair

#: What the place where the copy is to grow was found to be. "ours": a partial copy whose owner file names this job.
TargetState = Literal["absent", "empty", "ours", "other"]

#: A copy needs this much room for each byte of the source (safety.md 3(e)).
SPACE_FACTOR: Final = 1.2
#: Bytes a second that a copy makes when nobody has measured: one disk or one gigabit of network.
ASSUMED_COPY_RATE: Final = 100 * 1024 * 1024
#: pg_basebackup takes two: one for the data, one for the WAL meanwhile. The standby's own comes when they are gone.
WALSENDERS_OF_A_COPY: Final = 2


@dataclass(frozen=True)
class CloneFacts:
    """What must be known before a standby is cloned. None means that nobody could tell."""

    source: InstanceFacts
    source_name: str
    standby_name: str
    slot: str
    target_version: Version | None  # of the PostgreSQL programs on the target server; None: there are none
    free_bytes: int | None  # where the copy is to grow
    port: int
    port_free: bool
    login_ok: bool  # a real replication login from the target server
    login_error: str = ""
    target_directory: str = ""
    target_directory_state: TargetState = "absent"
    target_settings: Mapping[str, int] = field(default_factory=dict)  # of PARITY, as they will stand in the standby's file
    wal_rate: float | None = None  # bytes a second on the source
    copy_rate: float | None = None  # bytes a second, as the last copy made
    rate_cap: float | None = None  # bytes a second, as requested
    source_build: Build = NOT_KNOWN
    target_build: Build = NOT_KNOWN
    extensions_used: tuple[str, ...] | None = None  # by databases of the source; asked where the target lacks one that the source has

    @property
    def parity(self) -> Pair:
        return Pair(self.standby_name, self.source_name, self.target_build, self.source_build, self.extensions_used)

    @property
    def copy_seconds(self) -> float:
        rate = self.copy_rate or ASSUMED_COPY_RATE
        return (self.source.size_bytes or 0) / min(rate, self.rate_cap or rate)

    @property
    def wal_bytes(self) -> int:
        """WAL that is expected while the copy runs, at least one file of it."""
        return max(int((self.wal_rate or 0) * self.copy_seconds), 16 * 1024 * 1024)

    @property
    def needed_bytes(self) -> int | None:
        return None if self.source.size_bytes is None else int(self.source.size_bytes * SPACE_FACTOR) + self.wal_bytes
