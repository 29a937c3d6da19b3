"""What must be known before a standby is promoted: every member as it was seen, around the question “may this one be the primary?”"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from clusters.postgres.facts import InstanceFacts, Lsn

MEGABYTE: Final = 1024 * 1024

#: What an act may be allowed in spite of, each by a request's flag of its own and never together (safety.md 3(b)).
Flag = Literal[
    "possible_data_loss",  # acknowledged commits that no standby has may be lost
    "unfenced_primary",  # nobody could make sure that the old primary is stopped
    "primary_seen_alive",  # something still hears the old primary
    "not_most_advanced",  # another standby has more WAL
    "missing_standby",  # a standby could not be asked what it has
    "relax_sync",  # commits will wait for fewer standbys than declared
    "replay_delayed",  # the standby replays late on purpose, or was paused
]
FLAGS: Final[tuple[Flag, ...]] = (
    "possible_data_loss",
    "unfenced_primary",
    "primary_seen_alive",
    "not_most_advanced",
    "missing_standby",
    "relax_sync",
    "replay_delayed",
)


@dataclass(frozen=True)
class Surroundings:
    """What was seen around an instance, on its server. None and "" mean that nobody could tell."""

    epoch: int | None = None  # of the server's epoch file
    fenced: str | None = None  # why it must not come up as a primary
    free_bytes: int | None = None  # on the disk of its data directory
    machine: str = ""  # "x86_64"
    libc: str = ""  # "glibc 2.36"
    # Name of another member -> "" when a replication login from there to this instance worked, else what was answered.
    logins: Mapping[str, str] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """JSON values; `from_row` reads them back."""
        return {
            "epoch": self.epoch,
            "fenced": self.fenced,
            "free_bytes": self.free_bytes,
            "machine": self.machine,
            "libc": self.libc,
            "logins": dict(self.logins),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Surroundings:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})


@dataclass(frozen=True)
class MemberFacts:
    """One member of the cluster, as declared and as seen."""

    name: str
    server: str
    role: Literal["primary", "standby"]  # as declared
    upstream: str | None = None  # as declared; the name of the instance it follows
    slot: str | None = None  # its slot on its upstream
    quarantined: bool = False
    facts: InstanceFacts | None = None  # None: it did not answer
    error: str = ""  # why it did not
    around: Surroundings = Surroundings()
    age_seconds: float | None = 0.0  # since it was looked at; None: never
    cascaded: bool = False  # it follows another standby


@dataclass(frozen=True)
class PromotionLimits:
    """From where on an obstacle is made."""

    lag_bytes: int = 16 * MEGABYTE
    message_age_seconds: float = 35.0  # an idle primary says something every 30 s (half of wal_sender_timeout)
    transaction_seconds: float = 60.0  # an open transaction that old would be cut by the switchover
    archive_files: int = 16  # WAL files that wait to be archived: the stop waits for them
    free_bytes: int = 256 * MEGABYTE
    look_age_seconds: float = 600.0  # a look that is older says too little


@dataclass(frozen=True)
class PromotionFacts:
    """The candidate, the primary it would take over from, and the other standbys (quarantined ones included)."""

    candidate: MemberFacts
    primary: MemberFacts | None
    siblings: tuple[MemberFacts, ...] = ()
    epoch: int = 1  # the panel's
    system_identifier: str = ""  # as recorded; empty: not recorded yet
    sync_mode: Literal["async", "first", "any"] = "async"
    sync_count: int = 0
    limits: PromotionLimits = PromotionLimits()

    @property
    def members(self) -> Iterator[MemberFacts]:
        """Everybody, the primary first."""
        if self.primary:
            yield self.primary
        yield self.candidate
        yield from self.siblings

    @property
    def followers(self) -> tuple[str, ...]:
        """Who will stream from the candidate: the old primary, and those that follow the old primary or the candidate now."""
        sources = {self.primary.name if self.primary else "", self.candidate.name}
        names = [member.name for member in self.siblings if member.upstream in sources]
        return (*([self.primary.name] if self.primary else []), *names)


def behind_primary(facts: PromotionFacts) -> int | None:
    """WAL in bytes that the primary has and the candidate has not flushed, as the primary counts it; None where it cannot be told."""
    if facts.primary is None or facts.primary.facts is None:
        return None
    sender = facts.primary.facts.sender(facts.candidate.name)
    seen = sender.flush_lsn if sender else facts.candidate.facts.receive_lsn if facts.candidate.facts else None
    return None if seen is None else max(0, facts.primary.facts.lsn - seen)


def last_known(facts: PromotionFacts) -> Lsn | None:
    """How far the primary's WAL is known to reach: by its own last look, and by what it told each standby since."""
    known = [facts.primary.facts.lsn] if facts.primary and facts.primary.facts else []
    for member in (facts.candidate, *facts.siblings):
        receiver = member.facts.receiver if member.facts else None
        if receiver and receiver.upstream_lsn and not member.cascaded:
            known.append(receiver.upstream_lsn)
        if member.facts and not member.quarantined:
            known.append(member.facts.lsn)
    return max(known, default=None)
