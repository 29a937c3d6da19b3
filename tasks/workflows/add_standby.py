"""Add a standby: copy its upstream while that goes on working, start the copy, see it stream and see a row arrive.

The upstream gets one slot and admits the newcomer; nothing else of it is touched. The copy grows beside the data
directory and is put into place, verified, by one rename. Rolling back takes away what this job has made, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from clusters import services
from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.ownership import unmade_command
from clusters.postgres import commands, files, rules
from clusters.postgres.spec import InstanceSpec
from clusters.selectors import instance_spec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.admission import admission_updated, members_of
from tasks.workflows.copying import (
    BASEBACKUP,
    VERIFYBACKUP,
    comparison_plan,
    copy_compared,
    copy_plan,
    copy_taken_away,
    copy_target,
    upstream_copied,
    verification_ended,
)
from tasks.workflows.judging import Marker, pair_judged
from tasks.workflows.marker import marker_arrived, marker_plan, marker_write
from tasks.workflows.observing import streaming_awaited
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.place import (
    clone_facts,
    directories_made,
    directories_plan,
    directories_taken_away,
    instance_files_plan,
    instance_files_put,
    server_started,
    server_stopped,
    start_plan,
)
from tasks.workflows.planning import planned, planned_admission, planned_instance, planned_members, planned_spec
from tasks.workflows.slots import create_call, slot_dropped, slot_ensured
from tasks.workflows.step import Step, StepFailed, Workflow
from tasks.workflows.synchronous import commits_count_it, commits_forget_it, planned_counting
from tasks.workflows.units import unit_name


def upstream_checked(ctx: Context) -> str:
    """Check the upstream, the room for the copy and the place for the standby"""
    upstream, standby = _both(ctx)
    facts = clone_facts(ctx, upstream, standby)
    obstacles_heeded(ctx, rules.clone_obstacles(facts))
    copied, free = rules.size(facts.source.size_bytes or 0), rules.size(facts.free_bytes or 0)
    return f"{upstream.spec.name} can be copied: {copied}, and {free} are free on {standby.spec.server}."


def password_written(ctx: Context) -> str:
    """Write the password file of the replication role"""
    standby = ctx.handle(ctx.instance)
    standby.put_files([files.render_passfile(standby.spec, ctx.cluster.replication_password)])
    return f"{standby.spec.passfile} is there, readable by its owner only."


def members_admit(ctx: Context) -> str:
    """Let every member of the cluster admit the standby"""
    changed = admission_updated(ctx, members_of(ctx, but=ctx.instance))
    name = ctx.instance.name
    return f"{name} is admitted by {', '.join(changed)} now." if changed else f"Already so: every member admits {name}."


def members_forget(ctx: Context) -> str:
    """Take the standby out of every member's files"""
    changed = admission_updated(ctx, members_of(ctx, but=ctx.instance), leaver=ctx.instance)
    name = ctx.instance.name
    return f"{name} is no longer listed on {', '.join(changed)}." if changed else f"No member lists {name}."


def login_proven(ctx: Context) -> str:
    """Log in to the upstream as the replication role, from the standby's place"""
    upstream, standby = _both(ctx)
    ctx.command(commands.replication_login(standby.spec).display())
    login = standby.replication_login()
    if not login.ok:
        raise StepFailed(
            f"The replication role cannot log in to {upstream.spec.name} from {standby.spec.server}: {login.stderr.strip()}",
            f"Let {standby.spec.server} reach {upstream.spec.address}:{upstream.spec.port} (firewall, routes), then resume the job.",
        )
    return f"The replication role gets in to {upstream.spec.name} from {standby.spec.server}."


def slot_made(ctx: Context) -> str:
    """Make the standby's own replication slot on its upstream"""
    upstream, standby = _both(ctx)
    kept_from = slot_ensured(upstream, standby, ctx.instance.pair.slot)
    return f"The slot {ctx.instance.pair.slot} keeps the WAL on {upstream.spec.name} from {kept_from} on."


def slot_taken_away(ctx: Context) -> str:
    """Drop the standby's slot"""
    return slot_dropped(ctx, ctx.handle(ctx.instance.pair.upstream), ctx.instance.pair.slot)


def data_copied(ctx: Context) -> str:
    """Copy the upstream's data (pg_basebackup)"""
    upstream, standby = _both(ctx)
    return "Already so: the copy is in place." if standby.is_initialised() else upstream_copied(ctx, upstream.spec)


def copy_verified(ctx: Context) -> str:
    """Compare every copied file with the manifest (pg_verifybackup)"""
    in_place = ctx.handle(ctx.instance).is_initialised()
    return "Already so: the copy is in place, and was verified before." if in_place else copy_compared(ctx)


def files_written(ctx: Context) -> str:
    """Write the standby's own postgresql.conf, replication.conf and pg_hba.conf, its start guard and the epoch"""
    handle = ctx.handle(ctx.instance)
    return instance_files_put(handle, *_epoch_known(handle.spec, ctx.cluster.epoch))


def copy_put_in_place(ctx: Context) -> str:
    """Make the copy a standby and put it into place by one rename"""
    standby = ctx.handle(ctx.instance)
    if not standby.is_initialised():
        target = copy_target(standby.spec, ctx.job.pk)
        standby.put_files([files.standby_signal(target)])
        standby.move(target, standby.spec.data_directory)
    standby.remove_made(standby.spec.clone_directory(ctx.job.pk), ctx.job.pk)
    return f"The copy is {standby.spec.data_directory}."


def streaming_seen(ctx: Context) -> str:
    """See the standby stream through its slot"""
    upstream, standby = _both(ctx)
    return streaming_awaited(ctx, upstream, standby, ctx.instance.pair.slot)


def row_arrived(ctx: Context) -> str:
    """Write a marker row on the primary and read it on the standby"""
    primary = ctx.handle(ctx.cluster.instances.get(role=Instance.Role.PRIMARY))
    token = marker_write(ctx, primary)
    seconds = marker_arrived(ctx, ctx.handle(ctx.instance), token)
    return f"The row {token} was written on {primary.spec.name} and read on {ctx.instance.name} {seconds * 1000:.0f} ms later."


def standby_recorded(ctx: Context) -> str:
    """Give the standby out as ready"""
    standby = ctx.handle(ctx.instance)
    pair_judged(ctx, ctx.instance.pair, Marker("read"))
    for unit in (BASEBACKUP, VERIFYBACKUP):
        standby.unit_end(unit_name(ctx, unit))
    standby.disown()
    services.instance_record_lifecycle(ctx.instance, Lifecycle.READY)
    ctx.result(cluster=ctx.cluster.name, instance=ctx.instance.name, upstream=ctx.instance.pair.upstream.name, slot=ctx.instance.pair.slot)
    return f"{ctx.instance.name} follows {ctx.instance.pair.upstream.name} and is ready."


# -- plans: the same builders, from what is declared


def _admission_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_admission(planned_members(request), planned_instance(request).name)


def _login_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, commands.replication_login(spec))


def _slot_plan(request: PlanRequest) -> Iterable[PlanItem]:
    pair = planned_instance(request).pair
    return planned(instance_spec(pair.upstream), create_call(pair.slot))


def _copy_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return copy_plan(planned_spec(request), request.params.get("max_rate") or None)


def _verify_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return comparison_plan(planned_spec(request))


def _password_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, files.render_passfile(spec, planned_instance(request).cluster.replication_password))


def _files_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    yield from instance_files_plan(request)
    yield from planned(spec, *_epoch_known(spec, planned_instance(request).cluster.epoch))


def _epoch_known(spec: InstanceSpec, epoch: int) -> list[files.File]:
    """Before its first promotion a cluster has no such file."""
    return [files.epoch_file(spec, epoch)] if epoch > 1 else []


def _place_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    target = copy_target(spec, JOB_NUMBER)
    unmade = unmade_command(spec.clone_directory(JOB_NUMBER), JOB_NUMBER)
    return planned(spec, files.standby_signal(target), f"mv {target} {spec.data_directory}", unmade)


def _row_plan(request: PlanRequest) -> Iterable[PlanItem]:
    instance = planned_instance(request)
    primary = instance.cluster.instances.select_related("server", "cluster").get(role=Instance.Role.PRIMARY)
    return marker_plan(instance_spec(primary), planned_spec(request), instance.cluster.epoch)


def _counting_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_counting(planned_instance(request), with_it=True)


# -- helpers


def _both(ctx: Context) -> tuple[InstanceHandle, InstanceHandle]:
    """Upstream and standby."""
    return ctx.handle(ctx.instance.pair.upstream), ctx.handle(ctx.instance)


WORKFLOW = Workflow(
    steps=(
        Step(upstream_checked),
        Step(directories_made, undo=directories_taken_away, plan=directories_plan),
        Step(password_written, plan=_password_plan),
        Step(members_admit, undo=members_forget, plan=_admission_plan),
        Step(login_proven, plan=_login_plan),
        Step(slot_made, undo=slot_taken_away, plan=_slot_plan),
        Step(data_copied, undo=copy_taken_away, plan=_copy_plan),
        Step(copy_verified, undo=verification_ended, plan=_verify_plan),
        Step(files_written, plan=_files_plan),
        Step(copy_put_in_place, plan=_place_plan),
        Step(server_started, undo=server_stopped, plan=start_plan),
        Step(streaming_seen),
        Step(row_arrived, plan=_row_plan),
        Step(commits_count_it, undo=commits_forget_it, plan=_counting_plan),
        Step(standby_recorded),
    )
)
