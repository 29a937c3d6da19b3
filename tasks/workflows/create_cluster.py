"""Create a cluster: its first instance, the primary.

Everything the job makes lies below one directory that carries the job's name. Rolling back is: stop the server, take that
directory away. No user's data can be in it, since the cluster is given out as ready by the last step only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from clusters import services
from clusters.models import Cluster, Instance
from clusters.models.cluster import Lifecycle
from clusters.ownership import made_command, unmade_command
from clusters.postgres import commands, files, guard, rules, statements
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.marker import marker_arrived, marker_plan, marker_write
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.place import (
    directories_made,
    directories_plan,
    directories_taken_away,
    instance_files_plan,
    instance_files_put,
    place_facts,
    server_started,
    server_stopped,
    start_plan,
)
from tasks.workflows.planning import planned, planned_change, planned_instance, planned_spec
from tasks.workflows.step import Step, StepFailed, Workflow
from tasks.workflows.units import planned_unit, unit_name, unit_run, unit_succeeded

INITDB = "initdb"


def server_checked(ctx: Context) -> str:
    """Check that the server has what the cluster needs"""
    handle = ctx.handle(ctx.instance)
    obstacles_heeded(ctx, rules.place_obstacles(place_facts(ctx, handle)))
    return f"{handle.spec.server} has PostgreSQL {handle.spec.major}, port {handle.spec.port} is free, and nothing is in the way."


def data_directory_made(ctx: Context) -> str:
    """Make the data directory (initdb)"""
    handle = ctx.handle(ctx.instance)
    if handle.is_running():
        return "Already so: the server runs in it."
    initdb = commands.initdb(handle.spec, handle.spec.pwfile)
    if handle.unit(unit_name(ctx, INITDB)).state == "absent":
        handle.make_made(_initdb_directory(handle.spec), ctx.job.pk)
        handle.put_files([files.render_pwfile(handle.spec, ctx.cluster.superuser_password)])
    unit = unit_run(ctx, handle, INITDB, initdb)
    handle.remove_made(_initdb_directory(handle.spec), ctx.job.pk)
    unit_succeeded(unit, "initdb")
    return f"{handle.spec.data_directory} is a new data directory with checksums."


def initdb_ended(ctx: Context) -> str:
    handle = ctx.handle(ctx.instance)
    handle.unit_end(unit_name(ctx, INITDB))
    return "initdb does not run any more."


def files_written(ctx: Context) -> str:
    """Write postgresql.conf, pg_hba.conf, the password files and the start guard"""
    return instance_files_put(ctx.handle(ctx.instance))


def roles_made(ctx: Context) -> str:
    """Make the roles: application, replication, panel"""
    handle = ctx.handle(ctx.instance)
    handle.superuser_run(_role_calls(handle.spec, ctx.cluster))
    spec = handle.spec
    return f"{spec.owner_role}, {spec.replication_role} and {spec.panel_role} can log in, with no more rights than each needs."


def database_made(ctx: Context) -> str:
    """Make the application's database and the panel's schema"""
    handle = ctx.handle(ctx.instance)
    handle.superuser_run(_database_calls(handle.spec))
    return f"The database {handle.spec.database} belongs to {handle.spec.owner_role}."


def objects_verified(ctx: Context) -> str:
    """See that everything that was made is really there"""
    handle = ctx.handle(ctx.instance)
    objects = statements.objects_call(handle.spec)
    ctx.command(objects.display())
    missing = [row["object"] for row in handle.query(objects) if not row["present"]]
    if missing:
        raise StepFailed(f"Not there although it was made: {', '.join(missing)}.", "Look at the server's log, then resume the job.")
    if errors := handle.file_errors():
        what = f"The server cannot use a line of its files: {errors[0]}"
        raise StepFailed(what, "Remove the cluster and create it again with a value that PostgreSQL takes.")
    facts = handle.observe()
    if facts.in_recovery:
        raise StepFailed(f"{handle.spec.name} is in recovery: it is not a primary.", "Look at its log: somebody else may have changed it.")
    return f"Roles, rights, database and marker table are there; timeline {facts.timeline}, system identifier {facts.system_identifier}."


def row_written(ctx: Context) -> str:
    """Write a marker row and read it back"""
    handle = ctx.handle(ctx.instance)
    token = marker_write(ctx, handle)
    marker_arrived(ctx, handle, token)
    return f"The row {token} was written and read on {handle.spec.name}."


def cluster_recorded(ctx: Context) -> str:
    """Give the cluster out as ready"""
    handle = ctx.handle(ctx.instance)
    facts = handle.observe()
    services.instance_record_observed(ctx.instance, Instance.Observed(facts.role), facts.as_row())
    services.cluster_record_system_identifier(ctx.cluster, str(facts.system_identifier))
    handle.put_files([guard.render_guard_conf(_identified(handle.spec, str(facts.system_identifier)))])
    services.instance_record_lifecycle(ctx.instance, Lifecycle.READY)
    services.cluster_record_lifecycle(ctx.cluster, Lifecycle.READY)
    handle.unit_end(unit_name(ctx, INITDB))
    handle.disown()
    ctx.result(cluster=ctx.cluster.name, primary=ctx.instance.name, system_identifier=str(facts.system_identifier))
    return f"The cluster {ctx.cluster.name} is ready; its primary is {ctx.instance.name}."


# -- what the steps and their plans share


def _initdb_directory(spec: InstanceSpec) -> str:
    """It holds the superuser's password for initdb, and is deleted right after."""
    return spec.pwfile.rpartition("/")[0]


def _role_calls(spec: InstanceSpec, cluster: Cluster) -> list[statements.Call]:
    return statements.role_calls(spec, cluster.owner_password, cluster.replication_password, cluster.panel_password)


def _database_calls(spec: InstanceSpec) -> list[statements.Call]:
    return [*statements.grant_calls(spec), *statements.database_calls(spec), *statements.schema_calls(spec)]


def _initdb_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec, cluster = planned_spec(request), planned_instance(request).cluster
    password = files.render_pwfile(spec, cluster.superuser_password)
    directory = _initdb_directory(spec)
    made, unmade = made_command(directory, JOB_NUMBER), unmade_command(directory, JOB_NUMBER)
    yield from planned(spec, made, password)
    yield from planned_unit(spec, INITDB, commands.initdb(spec, spec.pwfile))
    yield from planned(spec, unmade)


def _roles_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, *_role_calls(spec, planned_instance(request).cluster))


def _database_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, *_database_calls(spec))


def _objects_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, statements.objects_call(spec))


def _identifier_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    known = guard.render_guard_conf(_identified(spec, "0")).content.replace("system_identifier 0", "system_identifier …")
    return planned_change(spec, guard.render_guard_conf(spec), files.File(spec.guard_conf, known, 0o600))


def _identified(spec: InstanceSpec, system_identifier: str) -> InstanceSpec:
    """The start guard takes no other cluster's data for its own, once it knows what is its own."""
    return replace(spec, system_identifier=system_identifier)


def _row_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return marker_plan(spec, spec, planned_instance(request).cluster.epoch)


WORKFLOW = Workflow(
    steps=(
        Step(server_checked),
        Step(directories_made, undo=directories_taken_away, plan=directories_plan),
        Step(data_directory_made, undo=initdb_ended, plan=_initdb_plan),
        Step(files_written, plan=instance_files_plan),
        Step(server_started, undo=server_stopped, plan=start_plan),
        Step(roles_made, plan=_roles_plan),
        Step(database_made, plan=_database_plan),
        Step(objects_verified, plan=_objects_plan),
        Step(row_written, plan=_row_plan),
        Step(cluster_recorded, plan=_identifier_plan),
    )
)
