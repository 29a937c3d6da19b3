"""Start, stop and restart one instance."""

from __future__ import annotations

from clusters.models import Instance, ReplicationPair
from tasks.context import Context
from tasks.workflows.observing import instance_observed, pair_observed, streaming_awaited
from tasks.workflows.place import server_started, server_stopped, start_plan, stop_plan
from tasks.workflows.step import Step, StepFailed, Workflow


def role_seen(ctx: Context) -> str:
    """See the instance in the role it is declared to have"""
    handle = ctx.handle(ctx.instance)
    facts = instance_observed(handle).facts
    if facts is None:
        raise StepFailed(f"{handle.spec.name} was started and does not answer.", "Look at its log on the server.")
    if facts.role != ctx.instance.role:
        raise StepFailed(
            f"{handle.spec.name} is a {facts.role} and is declared a {ctx.instance.role}.",
            "Somebody has changed it outside the panel. Verify the cluster before you do anything else.",
        )
    return f"{handle.spec.name} is a {facts.role} on timeline {facts.timeline}."


def followers_seen(ctx: Context) -> str:
    """See the replication that depends on it stream again"""
    sentences = []
    for pair in _running_pairs(ctx):
        sentences.append(streaming_awaited(ctx, ctx.handle(pair.upstream), ctx.handle(pair.standby), pair.slot))
        pair_observed(ctx, pair)
    return " ".join(sentences) or "No running standby depends on it."


def absence_recorded(ctx: Context) -> str:
    """Record that it is stopped"""
    instance_observed(ctx.handle(ctx.instance))
    for pair in _pairs(ctx):
        pair_observed(ctx, pair)
    return f"{ctx.instance.name} is recorded as {Instance.objects.get(pk=ctx.instance.pk).get_observed_role_display()}."


def _pairs(ctx: Context) -> list[ReplicationPair]:
    sides = ("upstream__server", "upstream__cluster", "standby__server", "standby__cluster")
    pairs = list(ctx.instance.downstream_pairs.select_related(*sides))
    if ctx.instance.role == Instance.Role.STANDBY:
        pairs.append(ctx.instance.pair)
    return pairs


def _running_pairs(ctx: Context) -> list[ReplicationPair]:
    return [pair for pair in _pairs(ctx) if ctx.handle(pair.upstream).is_running() and ctx.handle(pair.standby).is_running()]


START = Workflow(steps=(Step(server_started, plan=start_plan), Step(role_seen), Step(followers_seen)))
STOP = Workflow(steps=(Step(server_stopped, undo=server_started, plan=stop_plan), Step(absence_recorded)))
RESTART = Workflow(
    steps=(
        Step(server_stopped, undo=server_started, plan=stop_plan),
        Step(server_started, plan=start_plan),
        Step(role_seen),
        Step(followers_seen),
    )
)
