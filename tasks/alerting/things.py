"""What is known at one moment, as `reading` puts it together and `judging` judges it. Plain values: no rows, no queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clusters.postgres.forecast import Forecast
from clusters.postgres.text import Text

NOTHING_SAMPLED: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Room:
    """The disk of an instance: bytes free and in all, None where that is not known or too old; and how it goes on."""

    free_bytes: int | None
    total_bytes: int | None
    forecast: Forecast


@dataclass(frozen=True)
class SlotThing:
    name: str
    active: bool
    owner: str  # the standby whose it is; "" where nobody knows
    wal_status: str | None
    retained_bytes: int | None
    forecast: Forecast


@dataclass(frozen=True)
class InstanceThing:
    """`answers`: the monitor's last question was answered, so `sampled` (as `clusters.postgres.sampling.Sampled`) is of now."""

    name: str
    role: str  # declared
    observed_role: str
    quarantined: bool = False
    monitored: bool = True
    answers: bool = True
    error: str = ""
    sampled: Mapping[str, Any] = field(default_factory=lambda: NOTHING_SAMPLED)
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    upstream: str | None = None  # of a standby: the instance that it is declared to follow
    stream: str = ""  # in pg_stat_replication of the upstream; "" where nobody sends to it
    sync_state: str = ""
    not_promotable: str = ""
    room: Room | None = None
    slots: tuple[SlotThing, ...] = ()

    @property
    def writable(self) -> bool:
        return self.observed_role == "primary"

    @property
    def down(self) -> bool:
        return self.observed_role in ("stopped", "unreachable")

    @property
    def seen(self) -> bool:
        """Whether it is known how it stands now: it answers, or a job has stopped it."""
        return self.answers or self.observed_role == "stopped"

    @property
    def may_write(self) -> bool:
        """Whether it may accept writes: nobody sees it now, and its last word was not that it is in recovery."""
        return not self.seen and self.sampled.get("in_recovery") is not True


@dataclass(frozen=True)
class FindingThing:
    """A finding of a verification that still counts; `severity` as `clusters.postgres.obstacles` has it."""

    instance: str
    name: str
    severity: str
    sentence: str
    cure: str
    value: str = ""
    threshold: str = ""


@dataclass(frozen=True)
class ClusterThing:
    """One cluster. `busy`: a job changes it, or has until a moment ago."""

    pk: int
    name: str
    watched: bool = False  # adopted and not taken over: the monitor does not ask it
    sync_count: int = 0
    busy: bool = False
    instances: tuple[InstanceThing, ...] = ()
    findings: tuple[FindingThing, ...] = ()
    verified: bool = True  # lately, and while the monitor saw no trouble: what `findings` lacks is over
    proven: bool = True  # the same of the deep look that `not_promotable` comes from
    late_since: datetime | None = None  # its standing verification has not run since then, and should have

    def named(self, name: str | None) -> InstanceThing | None:
        return next((each for each in self.instances if each.name == name), None)


@dataclass(frozen=True)
class StuckThing:
    """A job that needs an operator. `cluster`: None where it has none; it may be one that is not made yet, or not removed."""

    job: int
    cluster: ClusterThing | None
    sentence: str
    hint: str


@dataclass(frozen=True)
class Known:
    """All that an evaluation judges.

    `monitor_dead`: it is gone, and not only since a moment ago in order, as in an upgrade; `monitor_since`: when it ended its last round.
    `workers_since`: since when no worker has taken up anything; None: one does, or none ever did.
    """

    clusters: tuple[ClusterThing, ...]
    monitor_lives: bool
    monitor_dead: bool = False
    monitor_since: datetime | None = None
    workers_since: datetime | None = None
    stuck: tuple[StuckThing, ...] = ()


@dataclass(frozen=True)
class Found:
    """A condition that holds now. `subject` tells apart several of one condition in a cluster."""

    condition: str
    cluster: ClusterThing | None  # None: the panel itself
    instance: str
    subject: str
    sentence: Text | str
    cure: Text | str
    value: str = ""
    threshold: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.condition, self.cluster.name if self.cluster else "", self.subject
