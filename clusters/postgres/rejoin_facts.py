"""What must be known before an instance that has left its cluster's replication is brought back, and which way back that leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from clusters.postgres.clone_facts import SPACE_FACTOR
from clusters.postgres.facts import ControlData, InstanceFacts, Lsn, Version
from clusters.postgres.history import Fork, History, fork_of

#: The ways back, the least first: each does more to the instance's data than the one before.
#: direct: its data is a part of what its upstream has; it only has to follow. rewind: a copy of its data is kept, then pg_rewind
#: undoes what only it has. basebackup: its data is put aside, and a new copy is made.
Way = Literal["direct", "rewind", "basebackup"]
WAYS: Final[tuple[Way, ...]] = ("direct", "rewind", "basebackup")


@dataclass(frozen=True)
class RejoinFacts:
    """None means that nobody could tell."""

    target_name: str
    source_name: str  # whom it will follow
    slot: str
    source: InstanceFacts | None  # None: it does not answer
    source_error: str = ""
    source_history: History | None = None
    source_is_primary: bool = True  # as declared; else it is a standby that this one follows
    source_wal_from: Lsn | None = None  # the oldest WAL it still has
    writable: tuple[str, ...] = ()  # who else was seen to accept writes
    others_streaming: tuple[str, ...] = ()  # other standbys that receive from the cluster right now

    control: ControlData | None = None  # of the target; None: its data directory is not there, or not to be read
    target_running: bool = False  # then where its WAL ends may change until it is stopped
    target_streams: bool = False
    target_history: History | None = None
    target_end: Lsn | None = None  # where its WAL ends
    common_redo: Lsn | None = None  # from where on the last checkpoint needs WAL that both have; None: the target has no such WAL
    wal_elsewhere: bool = False  # its pg_wal is a symbolic link: a copy of the directory would not hold it
    target_bytes: int | None = None  # of its data directory
    free_bytes: int | None = None
    target_version: Version | None = None  # of the programs there
    target_settings: Mapping[str, int] = field(default_factory=dict)  # of PARITY, as they stand in its file

    login_error: str = ""  # what a replication login from its place was answered; empty: it worked
    system_identifier: str = ""  # as recorded
    epoch: int = 1  # the panel's
    epoch_seen: int | None = None  # the highest one on the two servers
    up_to: Way = "rewind"

    @property
    def fork(self) -> Fork | None:
        """Where the two branches part; None where they have nothing in common, or one of them is not known."""
        if self.source_history is None or self.target_history is None:
            return None
        return fork_of(self.source_history, self.target_history)

    @property
    def diverged(self) -> bool | None:
        """Whether the target has WAL that its upstream's branch has not; None where that cannot be told."""
        fork, control = self.fork, self.control
        if fork is None or control is None or self.target_end is None or self.source is None:
            return None
        if fork.lsn is not None:
            return self.target_end > fork.lsn or (self.target_history is not None and self.target_history.timeline > fork.timeline)
        # Both on the same timeline, and no place where they parted is on record. One that was a primary on it, or is ahead,
        # may hold other WAL at the same places.
        return False if control_in_recovery(control) and self.target_end <= self.source.lsn else None

    @property
    def lost_bytes(self) -> int:
        fork = self.fork
        if fork is None or fork.lsn is None or self.target_end is None:
            return 0
        return max(0, self.target_end - fork.lsn)

    @property
    def needed_bytes(self) -> int | None:
        """Room that a base backup takes beside what is there."""
        size = self.source.size_bytes if self.source else None
        return None if size is None else int(size * SPACE_FACTOR) + 16 * 1024 * 1024


def control_in_recovery(control: ControlData) -> bool:
    """Whether the server was a standby when it was last seen to run."""
    return "recovery" in control.state
