"""Promote: a standby leaves its cluster and becomes the primary of one of its own, as a copy for tests or a migration.

The cluster it leaves goes on as it was, with one standby less. What it was called, where its files lie and who may reach
it change, so that the two are never taken for each other; the system identifier is the same, since its data has the same origin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from clusters import services
from clusters.models.cluster import Lifecycle
from clusters.postgres import commands, files, rules
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import IN_RECOVERY, Call
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.admission import admission_updated, members_of
from tasks.workflows.looking import promotion_facts
from tasks.workflows.marker import marker_arrived, marker_call, marker_write
from tasks.workflows.observing import instance_observed
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.place import instance_files, instance_files_put, server_started, server_stopped, stop_plan
from tasks.workflows.planning import (
    planned,
    planned_change,
    planned_cluster,
    planned_expulsion,
    planned_instance,
    planned_members,
    planned_primary,
    planned_spec,
)
from tasks.workflows.promoting import candidate_promoted, promote_plan, promotion_seen
from tasks.workflows.slots import drop_call, slot_dropped
from tasks.workflows.step import PointOfNoReturn, Step, StepFailed, Workflow
from tasks.workflows.synchronous import commits_released, commits_wait_again, planned_counting


def standby_checked(ctx: Context) -> str:
    """Check that the standby may become a primary"""
    obstacles_heeded(ctx, rules.promote_obstacles(promotion_facts(ctx, ctx.instance)), flags=ctx.params.get("flags") or ())
    pair = ctx.instance.pair
    ctx.keep(upstream=pair.upstream.name, slot=pair.slot)
    return f"{ctx.instance.name} can leave {ctx.cluster.name}."


def standby_running_again(ctx: Context) -> str:
    """Start it again as a standby"""
    return server_started(ctx)


def directory_moved(ctx: Context) -> str:
    """Put its directory below the new cluster's name"""
    handle = ctx.handle(ctx.instance)
    target = _own(handle.spec, ctx).directory
    handle.remove_container()
    if handle.machine.exists(handle.spec.directory):
        handle.move(handle.spec.directory, target)
    return f"Its files are in {target}."


def directory_put_back(ctx: Context) -> str:
    """Put its directory back"""
    handle = ctx.handle(ctx.instance)
    if not handle.machine.exists(handle.spec.directory):
        handle.move(_own(handle.spec, ctx).directory, handle.spec.directory)
    return f"Its files are in {handle.spec.directory} again."


def cluster_declared(ctx: Context) -> str:
    """Declare the new cluster, with this instance as its primary"""
    cluster = services.instance_secede(ctx.instance, str(ctx.params["new_cluster"]))
    return f"{ctx.instance.name} is the primary of {cluster.name}; passwords and settings are those of {ctx.cluster.name}."


def files_written(ctx: Context) -> str:
    """Write its files: it follows nobody, and only the new cluster's members may replicate from it"""
    handle = ctx.handle(ctx.instance)
    return instance_files_put(handle, files.epoch_file(handle.spec, handle.instance.cluster.epoch))


def standby_started(ctx: Context) -> str:
    """Start it, still in recovery"""
    return server_started(ctx)


def became_primary(ctx: Context) -> str:
    """Promote it"""
    return candidate_promoted(ctx)


def row_written(ctx: Context) -> str:
    """Write a marker row with its own epoch, and read it back"""
    handle = ctx.handle(ctx.instance)
    if handle.query(Call(IN_RECOVERY, {}, {}))[0]["standby"]:
        raise StepFailed(f"{handle.spec.name} is still a standby.", "Look at its log, then resume the job.")
    token = marker_write(ctx, handle, epoch=handle.instance.cluster.epoch)
    marker_arrived(ctx, handle, token)
    return f"The row {token} was written and read on {handle.spec.name}."


def slot_given_up(ctx: Context) -> str:
    """Drop its slot on the instance it followed"""
    before = ctx.state_of(standby_checked.__name__)
    upstream = ctx.cluster.instances.select_related("server", "cluster").get(name=before["upstream"])
    return slot_dropped(ctx, ctx.handle(upstream), before["slot"])


def members_forget(ctx: Context) -> str:
    """Take it out of the old cluster's pg_hba.conf"""
    changed = admission_updated(ctx, members_of(ctx))
    return f"It is no longer listed on {', '.join(changed)}." if changed else "Already so: no member lists it."


def primary_recorded(ctx: Context) -> str:
    """Give the new cluster out as ready"""
    row = ctx.instance
    facts = instance_observed(ctx.handle(row)).facts
    if facts is None or facts.in_recovery:
        raise StepFailed(f"{row.name} does not answer as a primary.", "Look at its log, then resume the job.")
    services.cluster_record_lifecycle(row.cluster, Lifecycle.READY)
    ctx.result(
        cluster=ctx.cluster.name,
        new_cluster=row.cluster.name,
        old_primary=None,
        new_primary=row.name,
        timeline=facts.timeline,
        lsn=str(facts.lsn),
        epoch=row.cluster.epoch,
    )
    return f"{row.cluster.name} is a cluster of its own: {row.name} is its primary, on timeline {facts.timeline}."


# -- who it is


def _own(spec: InstanceSpec, ctx: Context) -> InstanceSpec:
    return _seceded(spec, str(ctx.params["new_cluster"]))


def _seceded(spec: InstanceSpec, cluster: str) -> InstanceSpec:
    return replace(spec, cluster=cluster, role="primary", upstream=None, members=(spec.member,), synchronous="")


# -- plans


def _new_spec(request: PlanRequest) -> InstanceSpec:
    return _seceded(planned_spec(request), str(request.params["new_cluster"]))


def _release_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_counting(planned_instance(request), with_it=False)


def _move_plan(request: PlanRequest) -> Iterable[PlanItem]:
    old, new = planned_spec(request), _new_spec(request)
    return planned(new, f"mv {old.directory} {new.directory}")


def _files_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec, cluster = _new_spec(request), planned_cluster(request)
    for before, after in zip(instance_files(planned_spec(request), cluster), instance_files(spec, cluster), strict=True):
        yield from planned_change(spec, before, after)
    known = files.epoch_file(spec, cluster.epoch) if cluster.epoch > 1 else None
    yield from planned_change(spec, known, files.epoch_file(spec, cluster.epoch + 1))


def _start_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = _new_spec(request)
    return planned(spec, commands.pg_ctl_start(spec))


def _row_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned(_new_spec(request), marker_call(0, planned_cluster(request).epoch + 1, "…"))


def _slot_plan(request: PlanRequest) -> Iterable[PlanItem]:
    pair = planned_instance(request).pair
    upstream = None if pair.cascaded else planned_primary(request)
    return planned(upstream, drop_call(pair.slot)) if upstream else []


def _members_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_expulsion(planned_members(request), planned_instance(request).name)


WORKFLOW = Workflow(
    steps=(
        Step(standby_checked),
        Step(commits_released, undo=commits_wait_again, plan=_release_plan),
        Step(server_stopped, undo=standby_running_again, plan=stop_plan),
        Step(directory_moved, undo=directory_put_back, plan=_move_plan),
        PointOfNoReturn(),
        Step(cluster_declared),
        Step(files_written, plan=_files_plan),
        Step(standby_started, plan=_start_plan),
        Step(became_primary, once=True, observe=promotion_seen, plan=promote_plan),
        Step(row_written, plan=_row_plan),
        Step(slot_given_up, plan=_slot_plan),
        Step(members_forget, plan=_members_plan),
        Step(primary_recorded),
    )
)
