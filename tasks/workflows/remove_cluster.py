"""Remove a cluster: stop its instances, the primary first so that every standby gets all of it; keep their files in quarantine."""

from __future__ import annotations

from collections.abc import Iterable

from clusters import services
from clusters.instances import InstanceHandle
from clusters.models.cluster import Lifecycle
from clusters.postgres import commands
from clusters.postgres.spec import InstanceSpec
from clusters.selectors import instance_specs
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.planning import planned, planned_cluster
from tasks.workflows.quarantine import aside_commands, put_aside, put_back
from tasks.workflows.step import PointOfNoReturn, Step, Workflow


def instances_stopped(ctx: Context) -> str:
    """Stop every instance, the primary first"""
    running = [handle for handle in _handles(ctx) if handle.is_running()]
    ctx.keep_now(were_running=[*ctx.state.get("were_running", []), *(handle.spec.name for handle in running)])
    for handle in running:
        handle.stop()
    return f"{', '.join(handle.spec.name for handle in running)} stopped." if running else "No instance runs."


def instances_started(ctx: Context) -> str:
    """Start what ran before"""
    for handle in _handles(ctx):
        if handle.spec.name in ctx.state.get("were_running", []) and not handle.is_running():
            handle.start()
    return "What ran before runs again."


def data_put_aside(ctx: Context) -> str:
    """Put the directory of every instance into quarantine"""
    places = [place for handle in _handles(ctx) if (place := put_aside(ctx, handle))]
    ctx.result(cluster=ctx.cluster.name, quarantine=places)
    return f"The files are kept in {', '.join(places)}." if places else "There are no files."


def data_put_back(ctx: Context) -> str:
    """Take the directories back out of quarantine"""
    for handle in _handles(ctx):
        put_back(ctx, handle)
    return "Every instance has its directory again."


def cluster_forgotten(ctx: Context) -> str:
    """Forget the cluster"""
    name = ctx.job.cluster_name
    if ctx.job.cluster is not None:
        services.cluster_forget(ctx.job.cluster)
    return f"{name} is not managed any more; its files are in quarantine."


def _handles(ctx: Context) -> list[InstanceHandle]:
    rows = ctx.cluster.instances.select_related("server", "cluster").order_by("role", "name")  # "primary" sorts before "standby"
    return [ctx.handle(row) for row in rows]


def _specs(request: PlanRequest) -> list[tuple[InstanceSpec, str]]:
    return [(spec, row.lifecycle) for row, spec in instance_specs(planned_cluster(request))]


def _stop_plan(request: PlanRequest) -> Iterable[PlanItem]:
    for spec, lifecycle in _specs(request):
        if lifecycle == Lifecycle.READY:
            yield from planned(spec, commands.pg_ctl_stop(spec))


def _aside_plan(request: PlanRequest) -> Iterable[PlanItem]:
    for spec, _lifecycle in _specs(request):
        yield from planned(spec, *aside_commands(spec, JOB_NUMBER))


WORKFLOW = Workflow(
    steps=(
        Step(instances_stopped, undo=instances_started, plan=_stop_plan),
        Step(data_put_aside, undo=data_put_back, plan=_aside_plan),
        PointOfNoReturn(),
        Step(cluster_forgotten),
    )
)
