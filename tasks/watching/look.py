"""One answer of an instance, or none; and what follows from it beside the answers of the others."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Final

from clusters.postgres.sampling import Sampled

#: Multiples of it, modulo 1, lie evenly however many there are.
GOLDEN: Final = (math.sqrt(5) - 1) / 2


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
    upstream_id: int | None = None


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


@dataclass(frozen=True)
class Following:
    """How a standby follows. None: not known; for a primary nothing is. `state` is "" where nobody sends to it."""

    lag_bytes: int | None = None
    lag_seconds: float | None = None
    state: str | None = None
    sync_state: str | None = None


def following(look: Look, upstream: Look | None) -> Following:
    """As the declared upstream tells, which knows both at once; else the lag is what it has and the standby has not replayed.

    Nothing is said of the state where the upstream was not heard: others may send to the standby, or think so.
    """
    sampled, heard = look.sampled, upstream.sampled if upstream else None
    if sampled is None or not sampled.in_recovery:
        return Following()
    if heard is None:
        return Following(None, sampled.replay_age_seconds)
    sender, seconds = heard.sender(look.target.name), sampled.replay_age_seconds or 0.0
    state, sync_state = (sender.state, sender.sync_state or "") if sender else ("", "")
    behind = sender.lag_bytes if sender else None
    if behind is None and None not in (heard.position, sampled.replayed) and heard.timeline == sampled.timeline:
        behind = heard.position - sampled.replayed  # type: ignore[operator]
    if behind is None:
        return Following(None, sampled.replay_age_seconds, state, sync_state)
    return Following(max(0, behind), seconds if behind > 0 else 0.0, state, sync_state)


def wal_rate(before: Look | None, now: Look) -> float | None:
    """Bytes a second that were written or received between two looks; None where that cannot be told."""
    if before is None or before.sampled is None or now.sampled is None or now.at <= before.at:
        return None
    one, two = before.sampled.position, now.sampled.position
    if one is None or two is None or two < one or before.sampled.in_recovery != now.sampled.in_recovery:
        return None
    return (two - one) / (now.at - before.at)
