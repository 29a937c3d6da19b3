"""Looking at instances and pairs, and putting down what was seen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance, ReplicationPair
from clusters.postgres.facts import InstanceFacts
from tasks.context import Context
from tasks.workflows.step import StepFailed

STREAMING_SECONDS: Final = 60.0
QUICK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.3


@dataclass(frozen=True)
class Look:
    """One look at an instance: its facts, or why there are none."""

    facts: InstanceFacts | None
    failure: HostError | None = None

    @property
    def error(self) -> str:
        return self.failure.what if self.failure else ""

    def answered(self) -> InstanceFacts:
        """The facts of one that has to answer. Raises: what the look failed with, so that a step looks again where that may pass."""
        if self.facts is None:
            assert self.failure is not None
            raise self.failure
        return self.facts


def instance_observed(handle: InstanceHandle) -> Look:
    """Look at an instance and record what was seen; one that does not answer is recorded as stopped or not reachable."""
    try:
        facts = _observed(handle)
    except HostError as error:
        services.instance_record_observed(handle.instance, _silent_role(handle))
        return Look(None, error)
    services.instance_record_observed(handle.instance, Instance.Observed(facts.role), facts.as_row())
    return Look(facts)


def _observed(handle: InstanceHandle) -> InstanceFacts:
    """A connection that was cut at this moment is no instance that does not answer: what fails at once is tried once more."""
    began = time.monotonic()
    try:
        return handle.observe()
    except HostError:
        if time.monotonic() - began > QUICK_SECONDS:
            raise
        time.sleep(AGAIN_SECONDS)
        return handle.observe()


def _silent_role(handle: InstanceHandle) -> Instance.Observed:
    """Why an instance does not answer, as far as its server tells."""
    try:
        return Instance.Observed.UNREACHABLE if handle.is_running() else Instance.Observed.STOPPED
    except HostError:
        return Instance.Observed.UNREACHABLE


def pair_observed(ctx: Context, pair: ReplicationPair) -> tuple[Look, Look]:
    """Look at both sides of a pair and record what was seen: the upstream, the standby."""
    upstream, standby = (instance_observed(ctx.handle(side)) for side in (pair.upstream, pair.standby))
    pair_recorded(pair, upstream.facts, standby.facts)
    return upstream, standby


def pair_recorded(pair: ReplicationPair, upstream: InstanceFacts | None, standby: InstanceFacts | None) -> None:
    sender = upstream.sender(pair.standby.name) if upstream else None
    services.pair_record_observed(
        pair,
        state=sender.state if sender else "",
        sync_state=(sender.sync_state or "") if sender else "",
        lag_bytes=lag_bytes(upstream, standby),
        lag_seconds=standby.replay_age_seconds if standby else None,
    )


def lag_bytes(upstream: InstanceFacts | None, standby: InstanceFacts | None) -> int | None:
    """WAL that the upstream has and the standby has not replayed yet, in bytes; None when it cannot be told."""
    if upstream is None or standby is None or standby.replay_lsn is None:
        return None
    return max(0, upstream.lsn - standby.replay_lsn)


def streaming_awaited(ctx: Context, upstream: InstanceHandle, standby: InstanceHandle, slot: str) -> str:
    """Wait until the upstream shows the standby streaming through its own slot. Raises: StepFailed when it does not in time."""
    end = time.monotonic() + STREAMING_SECONDS
    while time.monotonic() < end:
        facts = upstream.observe()
        sender, held = facts.sender(standby.spec.name), facts.slot(slot)
        if sender and sender.state == "streaming" and held and held.active and held.pid == sender.pid:
            return f"{standby.spec.name} streams from {upstream.spec.name} through {slot}, on timeline {facts.timeline}."
        if not standby.is_running():
            raise _not_streaming(ctx, standby, f"{standby.spec.name} has stopped.")
        ctx.pause(0.05)
    raise _not_streaming(ctx, standby, f"{standby.spec.name} does not stream from {upstream.spec.name} after {STREAMING_SECONDS:.0f} s.")


def _not_streaming(ctx: Context, standby: InstanceHandle, what: str) -> StepFailed:
    for line in standby.log_tail():
        ctx.output(line)
    return StepFailed(what, "The end of the standby's log is above: put right what it names, then resume the job.")
