"""Remove a standby: stop it, put its directory into quarantine, drop its slot. Its data is kept; nothing is deleted."""

from __future__ import annotations

from collections.abc import Iterable

from clusters import services
from clusters.selectors import instance_spec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.admission import admission_updated, members_of
from tasks.workflows.place import server_started, server_stopped, stop_plan
from tasks.workflows.planning import planned, planned_expulsion, planned_instance, planned_members, planned_spec
from tasks.workflows.quarantine import aside_commands, put_aside, put_back
from tasks.workflows.slots import drop_call, slot_dropped
from tasks.workflows.step import PointOfNoReturn, Step, StepFailed, Workflow
from tasks.workflows.synchronous import commits_released, commits_wait_again, planned_counting


def followers_counted(ctx: Context) -> str:
    """See that no other standby follows it"""
    followers = list(ctx.instance.downstream_pairs.values_list("standby__name", flat=True))
    if followers:
        raise StepFailed(f"{', '.join(followers)} follow {ctx.instance.name}.", "Remove them first.")
    return f"No standby follows {ctx.instance.name}."


def data_put_aside(ctx: Context) -> str:
    """Put its directory into quarantine"""
    target = put_aside(ctx, ctx.handle(ctx.instance))
    ctx.result(cluster=ctx.cluster.name, instance=ctx.instance.name, quarantine=target)
    return f"Its files are kept in {target}." if target else "It has no files: it was never made."


def data_put_back(ctx: Context) -> str:
    """Take its directory back out of quarantine"""
    put_back(ctx, ctx.handle(ctx.instance))
    return f"{ctx.instance.name} has its directory again."


def slot_given_up(ctx: Context) -> str:
    """Drop its slot, so that its upstream keeps no WAL for it"""
    return slot_dropped(ctx, ctx.handle(ctx.instance.pair.upstream), ctx.instance.pair.slot)


def members_forget(ctx: Context) -> str:
    """Take it out of every member's pg_hba.conf"""
    changed = admission_updated(ctx, members_of(ctx, but=ctx.instance), leaver=ctx.instance)
    return f"It is no longer listed on {', '.join(changed)}." if changed else "Already so: no member lists it."


def standby_forgotten(ctx: Context) -> str:
    """Forget the standby"""
    name = ctx.job.instance_name
    if ctx.job.instance is not None:
        services.instance_forget(ctx.job.instance)
    return f"{name} is not part of {ctx.cluster.name} any more."


def _running_again(ctx: Context) -> str:
    handle = ctx.handle(ctx.instance)
    return server_started(ctx) if handle.is_initialised() else "It was never made: there is nothing to start."


def _release_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_counting(planned_instance(request), with_it=False)


def _aside_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, *aside_commands(spec, JOB_NUMBER))


def _slot_plan(request: PlanRequest) -> Iterable[PlanItem]:
    pair = planned_instance(request).pair
    return planned(instance_spec(pair.upstream), drop_call(pair.slot))


def _members_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_expulsion(planned_members(request), planned_instance(request).name)


WORKFLOW = Workflow(
    steps=(
        Step(followers_counted),
        Step(commits_released, undo=commits_wait_again, plan=_release_plan),
        Step(server_stopped, undo=_running_again, plan=stop_plan),
        Step(data_put_aside, undo=data_put_back, plan=_aside_plan),
        PointOfNoReturn(),
        Step(slot_given_up, plan=_slot_plan),
        Step(members_forget, plan=_members_plan),
        Step(standby_forgotten),
    )
)
