"""What must be known before a standby is promoted: every member as it was seen, around the question “may this one be the primary?”"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from clusters.postgres.build import NOT_KNOWN, Build
from clusters.postgres.facts import InstanceFacts, Lsn
from clusters.postgres.parity_rules import Pair

MEGABYTE: Final = 1024 * 1024

#: What an act may be allowed in spite of, each by a request's flag of its own and never together (safety.md 3(b)).
Flag = Literal[
    "possible_data_loss",  # acknowledged commits that no standby has may be lost
    "unfenced_primary",  # nobody could make sure that the old primary is stopped
    "primary_seen_alive",  # something still hears the old primary
    "primary_disk_full",  # it has stopped for want of space, and would come back with some
    "not_most_advanced",  # another standby has more WAL
    "missing_standby",  # a standby could not be asked what it has
    "relax_sync",  # commits will wait for fewer standbys than declared
    "replay_delayed",  # the standby replays late on purpose, or was paused
]
FLAGS: Final[tuple[Flag, ...]] = (
    "possible_data_loss",
    "unfenced_primary",
    "primary_seen_alive",
    "primary_disk_full",
    "not_most_advanced",
    "missing_standby",
    "relax_sync",
    "replay_delayed",
)


#: How it is known that the old primary accepts no writes: its server was asked and it is stopped; a person has confirmed it;
#: too few standbys are left that could acknowledge its commits; or it is not known.
Fence = Literal["stopped", "confirmed", "quorum", "none"]


@dataclass(frozen=True)
class Surroundings:
    """What was seen around an instance, on its server. None and "" mean that nobody could tell."""

    epoch: int | None = None  # of the server's epoch file
    fenced: str | None = None  # why it must not come up as a primary
    free_bytes: int | None = None  # on the disk of its data directory
    build: Build = NOT_KNOWN
    extensions_used: tuple[str, ...] | None = None  # by its databases; asked where it lacks one that the primary has
    # Name of another member -> "" when a replication login from there to this instance worked, else what was answered.
    logins: Mapping[str, str] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """JSON values; `from_row` reads them back."""
        return {
            "epoch": self.epoch,
            "fenced": self.fenced,
            "free_bytes": self.free_bytes,
            "build": self.build.as_row(),
            "extensions_used": None if self.extensions_used is None else list(self.extensions_used),
            "logins": dict(self.logins),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Surroundings:
        given = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        used = given.get("extensions_used")
        return cls(**given | {"build": Build.from_row(given.get("build", {})), "extensions_used": None if used is None else tuple(used)})


@dataclass(frozen=True)
class MemberFacts:
    """One member of the cluster, as declared and as seen."""

    name: str
    server: str
    role: Literal["primary", "standby"]  # as declared
    upstream: str | None = None  # as declared; the name of the instance it follows
    slot: str | None = None  # its slot on its upstream
    quarantined: bool = False
    facts: InstanceFacts | None = None  # None: it did not answer; where an error is told too, they are of an earlier look
    error: str = ""  # why it did not answer
    around: Surroundings = Surroundings()
    age_seconds: float | None = 0.0  # since it was looked at; None: never
    cascaded: bool = False  # it follows another standby
    deaf: bool = False  # its receiver streams, and yet nothing comes, and its server cannot connect to the primary
    history: tuple[tuple[int, Lsn], ...] = ()  # of its timeline: each ancestor, and where it was left; empty: not read

    @property
    def now(self) -> InstanceFacts | None:
        """What it answered; None where it did not, whatever an earlier look had seen."""
        return None if self.error else self.facts

    @property
    def place(self) -> tuple[int, Lsn]:
        """How far its WAL reaches: first the timeline, then the position on it."""
        return (self.facts.timeline, self.facts.lsn) if self.facts else (0, Lsn(0))


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
    fence: Fence = "none"  # what keeps the old primary from accepting writes
    primary_full: str = ""  # what fills the disk of a primary that does not answer; empty: that is not why
    primary_end: Lsn | None = None  # where the old primary's WAL ends, read after it had stopped; None: not known
    limits: PromotionLimits = PromotionLimits()

    @property
    def loss_known(self) -> bool:
        """Whether `last_known` is the end of the old primary's WAL, and not only the last that was seen of it."""
        return self.primary_end is not None

    @property
    def primary_now(self) -> InstanceFacts | None:
        return self.primary.now if self.primary else None

    @property
    def primary_then(self) -> InstanceFacts | None:
        """What was last seen of the primary, be it long ago."""
        return self.primary.facts if self.primary else None

    @property
    def parity(self) -> Pair:
        """The candidate's programs beside the primary's."""
        there = self.primary.around.build if self.primary else NOT_KNOWN
        around = self.candidate.around
        return Pair(self.candidate.name, self.primary_name, around.build, there, around.extensions_used)

    @property
    def primary_name(self) -> str:
        return self.primary.name if self.primary else "-"

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
    """How far the primary's WAL is known to reach: read after its end, or by its last look and by what it told each standby since."""
    if facts.primary_end is not None:
        return facts.primary_end
    known = [facts.primary.facts.lsn] if facts.primary and facts.primary.facts else []
    for member in (facts.candidate, *facts.siblings):
        if member.facts is None or member.quarantined or off_branch(member, facts.candidate):
            continue
        receiver = member.facts.receiver
        known += [member.facts.lsn]
        known += [receiver.upstream_lsn] if receiver and receiver.upstream_lsn and not member.cascaded else []
    return max(known, default=None)


def loss_bytes(facts: PromotionFacts) -> int | None:
    """WAL in bytes that the primary is known to have had and the candidate has not; None where it cannot be told."""
    known = last_known(facts)
    return None if known is None or facts.candidate.facts is None else max(0, known - facts.candidate.facts.lsn)


def off_branch(one: MemberFacts, other: MemberFacts) -> bool:
    """Whether the two have WAL that does not fit together: one of them left the other's timeline before its end, or never had it.

    Numbers alone do not tell; where the history was not read, nobody is accused.
    """
    older, newer = sorted((one, other), key=lambda member: member.place)
    if older.facts is None or newer.facts is None or older.facts.timeline == newer.facts.timeline or not newer.history:
        return False
    left_at = dict(newer.history).get(older.facts.timeline)
    return left_at is None or older.facts.lsn > left_at


def sync_candidates(facts: PromotionFacts) -> list[MemberFacts]:
    """Those whose acknowledgement a commit on the primary may have waited for: its direct standbys, without those in quarantine."""
    direct = [member for member in (facts.candidate, *facts.siblings) if not member.cascaded]
    usable = [member for member in direct if not member.quarantined]
    return usable if len(usable) >= facts.sync_count else direct


def quorum_seen(facts: PromotionFacts) -> bool:
    """Whether every acknowledged commit is on a standby that answers (safety.md 3(c).2): W of N had to have each, N-W+1 answer."""
    if facts.sync_mode == "async":
        return False
    known = sync_candidates(facts)
    answering = [member for member in known if member.now]
    return len(answering) >= len(known) - facts.sync_count + 1


def ahead_of_candidate(facts: PromotionFacts) -> list[MemberFacts]:
    """The standbys that answer and have more WAL than the candidate, the most advanced first."""
    usable = [member for member in facts.siblings if member.now and member.now.in_recovery and not member.quarantined]
    ahead = [member for member in usable if member.place > facts.candidate.place]
    return sorted(ahead, key=lambda member: member.place, reverse=True)
