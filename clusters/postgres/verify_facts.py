"""One look at a replication pair: both sides, and what the panel declared of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from clusters.postgres.facts import InstanceFacts, SlotRow
from clusters.postgres.obstacles import Obstacle, behind

#: How the marker row fared. "refused": the upstream holds a marker of a higher epoch.
MarkerState = Literal["not_tried", "read", "missing", "refused"]

MEGABYTE: Final = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """From where on a finding is made."""

    lag_bytes: int = 64 * MEGABYTE
    lag_seconds: float = 30.0
    message_age_seconds: float = 60.0  # an idle upstream says something every 30 s (half of wal_sender_timeout)
    slot_share: float = 0.5  # of max_slot_wal_keep_size
    slot_share_urgent: float = 0.8


@dataclass(frozen=True)
class VerifyFacts:
    """One look at a pair. None: that side could not be observed, and the error says why."""

    upstream: InstanceFacts | None
    standby: InstanceFacts | None
    upstream_name: str
    standby_name: str
    slot: str
    upstream_address: str
    upstream_port: int
    upstream_is_primary: bool = True  # as declared
    system_identifier: str = ""  # the cluster's, as recorded; empty: not recorded yet
    upstream_error: str = ""
    standby_error: str = ""
    marker: MarkerState = "not_tried"
    marker_seconds: float | None = None  # how long it was waited for
    limits: Limits = Limits()
    # synchronous_standby_names as declared for each side while it is a primary; None: nobody compares.
    synchronous: str | None = None
    standby_synchronous: str | None = None

    @property
    def slot_row(self) -> SlotRow | None:
        return self.upstream.slot(self.slot) if self.upstream else None

    @property
    def streaming(self) -> bool:
        """What both sides that were seen say."""
        sender = self.upstream.sender(self.standby_name) if self.upstream else None
        receiver = self.standby.receiver if self.standby else None
        sends = self.upstream is None or (sender is not None and sender.state == "streaming")
        receives = self.standby is None or (receiver is not None and receiver.status == "streaming")
        return sends and receives and (self.upstream is not None or self.standby is not None)


VerifyRule = Callable[[VerifyFacts], Obstacle | None]


def lag_bytes(facts: VerifyFacts) -> int | None:
    """WAL that the standby has not replayed; as the upstream counts it where it can, since it reads both ends at once."""
    if facts.upstream is None:
        return None
    sender = facts.upstream.sender(facts.standby_name)
    replayed = sender.replay_lsn if sender else facts.standby.replay_lsn if facts.standby else None
    return None if replayed is None else behind(facts.upstream.lsn, replayed)


def lag_seconds(facts: VerifyFacts) -> float | None:
    """Age of the oldest thing not replayed; 0 when everything is, since PostgreSQL then goes on telling an old figure."""
    if lag_bytes(facts) == 0:
        return 0.0
    sender = facts.upstream.sender(facts.standby_name) if facts.upstream else None
    if sender and sender.replay_lag_seconds is not None:
        return sender.replay_lag_seconds
    return facts.standby.replay_age_seconds if facts.standby else None


def sides(facts: VerifyFacts) -> list[tuple[str, InstanceFacts]]:
    """The instances that were seen, with their names."""
    pairs = ((facts.upstream_name, facts.upstream), (facts.standby_name, facts.standby))
    return [(name, side) for name, side in pairs if side is not None]
