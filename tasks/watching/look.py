"""One answer of an instance, or none; and what follows from it beside the answers of the others."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from clusters.postgres.sampling import Sampled


@dataclass(frozen=True)
class Target:
    """Whom to ask, as declared. Two that differ need another connection. `system_identifier`: "" where it is not known yet."""

    instance_id: int
    cluster_id: int
    name: str
    server_id: int
    address: str
    port: int
    system_identifier: str = ""


@dataclass(frozen=True)
class Look:
    """`at`: on this machine's monotonic clock, in seconds. `text`: the answer as it came. `error`: why there is none."""

    target: Target
    sampled: Sampled | None = None
    text: str = ""
    error: str = ""
    at: float = field(default_factory=time.monotonic)

    @property
    def role(self) -> str:
        """A value of `Instance.Observed`."""
        if self.sampled is None:
            return "unreachable"
        return "standby" if self.sampled.in_recovery else "primary"


@dataclass(frozen=True)
class Following:
    """How a standby follows. None: not known; for a primary nothing is. `state` is "" where nobody sends to it."""

    lag_bytes: int | None = None
    lag_seconds: float | None = None
    state: str | None = None
    sync_state: str | None = None


def following(look: Look, others: Iterable[Look]) -> Following:
    """As its upstream tells, which knows both at once; else the lag is what the primary has written and it has not replayed."""
    sampled = look.sampled
    if sampled is None or not sampled.in_recovery:
        return Following()
    heard = [other.sampled for other in others if other.sampled is not None and other is not look]
    sender = next((sender for one in heard for sender in one.senders if sender.name == look.target.name), None)
    seconds = sampled.replay_age_seconds or 0.0
    if sender is not None and sender.lag_bytes is not None:
        behind = max(0, sender.lag_bytes)
        return Following(behind, seconds if behind else 0.0, sender.state, sender.sync_state)
    written = [one.position for one in heard if not one.in_recovery and one.position is not None]
    state = (sender.state if sender else "") if heard else None
    if not written or sampled.replayed is None:
        return Following(None, sampled.replay_age_seconds, state, "" if heard else None)
    behind = max(0, max(written) - sampled.replayed)
    return Following(behind, seconds if behind else 0.0, state, "")


def wal_rate(before: Look | None, now: Look) -> float | None:
    """Bytes a second that were written or received between two looks; None where that cannot be told."""
    if before is None or before.sampled is None or now.sampled is None or now.at <= before.at:
        return None
    one, two = before.sampled.position, now.sampled.position
    if one is None or two is None or two < one or before.sampled.in_recovery != now.sampled.in_recovery:
        return None
    return (two - one) / (now.at - before.at)
