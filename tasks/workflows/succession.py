"""What ends a change of the primary: everybody streams from the new one, nobody keeps a slot for nothing, and it is verified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clusters.hosts.machine import HostError
from clusters.models import ReplicationPair
from clusters.postgres.names import slot_name
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.judging import Marker, pair_judged
from tasks.workflows.looking import as_recorded, member_looked, members_ready
from tasks.workflows.marker import marker_plan, marker_seen, marker_write
from tasks.workflows.observing import instance_observed, streaming_awaited
from tasks.workflows.planning import planned, planned_cluster, planned_primary, planned_rows, planned_siblings, planned_spec
from tasks.workflows.slots import drop_call, unowned_dropped
from tasks.workflows.step import StepFailed

ARRIVAL_SECONDS = 30.0


def slots_tidied(ctx: Context) -> str:
    """Drop slots that belong to nobody any more"""
    dropped = []
    for row in members_ready(ctx):
        handle = ctx.handle(row)
        if row.quarantined_at is None and handle.is_running():
            dropped += [f"{name} on {row.name}" for name in unowned_dropped(handle)]
    return f"Dropped: {', '.join(dropped)}." if dropped else "Every slot has its owner."


def slots_tidied_plan(request: PlanRequest) -> Iterable[PlanItem]:
    """The slots that the old primary kept for those that follow the new one, where it runs."""
    old = planned_primary(request)
    leaving = [planned_spec(request), *planned_siblings(request)]
    return planned(old, *(drop_call(slot_name(spec.cluster, spec.name)) for spec in leaving))


def cluster_verified(ctx: Context) -> str:
    """See that exactly one instance accepts writes, that each standby streams from where it should, and that a row arrives there"""
    _one_primary(ctx)
    primary = ctx.handle(as_recorded(ctx.instance))
    streaming, troubled = [], []
    for pair in _pairs(ctx):
        try:
            streaming_awaited(ctx, ctx.handle(pair.upstream), ctx.handle(pair.standby), pair.slot)
            streaming.append(pair)
        except (StepFailed, HostError) as error:
            ctx.warn(f"{pair.standby.name}: {error.what} {error.hint}")
            troubled.append(pair.standby.name)
    token = marker_write(ctx, primary)
    verdicts = {pair.standby.name: pair_judged(ctx, pair, _marker(ctx, pair, token, pair in streaming)) for pair in _pairs(ctx)}
    ctx.result(verdicts=verdicts, not_streaming=troubled)
    arrived = [name for name, verdict in verdicts.items() if verdict in ("ok", "warning")]
    sentence = f"{primary.spec.name} alone accepts writes" + (f"; {', '.join(arrived)} replicate from it." if arrived else ".")
    return f"{sentence} Not replicating: {', '.join(troubled)}." if troubled else sentence


def succession_summary(ctx: Context) -> str:
    """One sentence for the job: who is the primary, how long nobody could write, who does not follow."""
    result = ctx.job.result
    sentence = f"{result['new_primary']} is the primary of {result['cluster']} on timeline {result['timeline']}"
    if result.get("write_gap_ms") is not None:
        sentence += f"; nobody could write for {result['write_gap_ms']} ms"
    troubled = result.get("not_streaming") or []
    return f"{sentence}." if not troubled else f"{sentence}. Not replicating yet: {', '.join(troubled)}."


def verify_plan(request: PlanRequest) -> Iterable[PlanItem]:
    specs = sorted(planned_rows(request), key=lambda spec: spec.name)
    assert request.instance is not None
    new = next(spec for spec in specs if spec.name == request.instance.name)
    epoch = planned_cluster(request).epoch + 1
    return [item for spec in specs if spec.name != new.name for item in marker_plan(new, spec, epoch)]


def _one_primary(ctx: Context) -> None:
    looks = {row.name: member_looked(ctx, row).now for row in members_ready(ctx)}
    writable = [name for name, facts in looks.items() if facts is not None and not facts.in_recovery]
    if not writable:
        instance_observed(ctx.handle(ctx.instance)).answered()
    if writable != [ctx.instance.name]:
        raise StepFailed(
            f"These accept writes: {', '.join(writable) or 'none'}. It should be {ctx.instance.name} alone.",
            "Stop whichever should not, then resume the job.",
        )


def _pairs(ctx: Context) -> Sequence[ReplicationPair]:
    sides = ("upstream__server", "upstream__cluster", "standby__server", "standby__cluster")
    pairs = ReplicationPair.objects.filter(standby__cluster=ctx.cluster, standby__lifecycle="ready", standby__quarantined_at=None)
    return list(pairs.select_related(*sides).order_by("standby__name"))


def _marker(ctx: Context, pair: ReplicationPair, token: str, streams: bool) -> Marker:
    arrived = streams and marker_seen(ctx, ctx.handle(pair.standby), token, ARRIVAL_SECONDS)
    return Marker("read" if arrived else "missing")
