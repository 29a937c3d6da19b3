"""One answer of an instance, or none; and what follows from it beside the answers of the others."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from clusters.postgres.sampling import Sampled


@dataclass(frozen=True)
class Target:
    """Whom to ask, as declared. Two that differ need another connection."""

    instance_id: int
    cluster_id: int
    name: str
    server_id: int
    address: str
    port: int


@dataclass(frozen=True)
class Look:
    """`at`: on this machine's monotonic clock, in seconds. `error`: why there is no answer."""

    target: Target
    sampled: Sampled | None = None
    error: str = ""
    at: float = field(default_factory=time.monotonic)

    @property
    def role(self) -> str:
        """A value of `Instance.Observed`."""
        if self.sampled is None:
            return "unreachable"
        return "standby" if self.sampled.in_recovery else "primary"


def lag(look: Look, others: Iterable[Look]) -> tuple[int | None, float | None]:
    """(bytes, seconds) that a standby is behind: as its upstream tells, which knows both at once; else against the primary's position.

    None for what is not known, and for a primary.
    """
    sampled = look.sampled
    if sampled is None or not sampled.in_recovery:
        return None, None
    heard = [other.sampled for other in others if other.sampled is not None and other is not look]
    sender = next((sender for one in heard for sender in one.senders if sender.name == look.target.name), None)
    seconds = sampled.replay_age_seconds or 0.0
    if sender is not None and sender.lag_bytes is not None:
        return max(0, sender.lag_bytes), seconds if sender.lag_bytes > 0 else 0.0
    written = [one.position for one in heard if not one.in_recovery and one.position is not None]
    if not written or sampled.replayed is None:
        return None, sampled.replay_age_seconds
    behind = max(0, max(written) - sampled.replayed)
    return behind, seconds if behind else 0.0


def wal_rate(before: Look | None, now: Look) -> float | None:
    """Bytes a second that were written or received between two looks; None where that cannot be told."""
    if before is None or before.sampled is None or now.sampled is None or now.at <= before.at:
        return None
    one, two = before.sampled.position, now.sampled.position
    if one is None or two is None or two < one or before.sampled.in_recovery != now.sampled.in_recovery:
        return None
    return (two - one) / (now.at - before.at)
