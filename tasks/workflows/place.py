"""Steps that creating a cluster and adding a standby share: the directories of a new instance, its files, its server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Cluster
from clusters.ownership import made_command
from clusters.postgres import commands, files
from clusters.postgres.build import Build
from clusters.postgres.compose import compose_files
from clusters.postgres.facts import InstanceFacts, wal_rate
from clusters.postgres.files import parity_of
from clusters.postgres.guard import guard_files
from clusters.postgres.rules import CloneFacts, PlaceFacts, TargetState
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.planning import planned, planned_instance, planned_spec


def place_facts(ctx: Context, handle: InstanceHandle) -> PlaceFacts:
    spec = handle.spec
    return PlaceFacts(
        major=spec.major,
        version=handle.programs_version(),
        bindir=spec.bindir,
        port=spec.port,
        port_free=handle.machine.port_free(spec.address, spec.port),
        directory=spec.directory,
        directory_state=directory_state(ctx, handle),
        free_bytes=handle.machine.free_bytes(spec.base_directory),
    )


def extensions_used(ctx: Context, running: InstanceHandle, here: Build, there: Build) -> tuple[str, ...] | None:
    """Of the databases of the running instance, asked only where an extension is missing on a disk; None: not asked, or not known."""
    missing = here.lacks(there)
    if not missing:
        return None
    ctx.say(f"Extensions that are not on both disks: {', '.join(missing)}. Asking the databases of {running.spec.name} which they use.")
    try:
        return running.extensions_used()
    except HostError as error:
        ctx.warn(f"{error.what} So it is not known which extensions are used.")
        return None


def clone_facts(ctx: Context, upstream: InstanceHandle, standby: InstanceHandle) -> CloneFacts:
    """What the rules of a clone look at. The login is proven by a step of its own, once the upstream admits it."""
    spec, seen = standby.spec, upstream.observe(with_size=True)
    source, target = upstream.build(), standby.build()
    return CloneFacts(
        source=seen,
        source_name=upstream.spec.name,
        standby_name=spec.name,
        slot=ctx.instance.pair.slot,
        target_version=standby.programs_version(),
        free_bytes=standby.machine.free_bytes(spec.base_directory),
        port=spec.port,
        port_free=standby.machine.port_free(spec.address, spec.port),
        login_ok=True,
        wal_rate=_wal_rate(upstream, seen),
        rate_cap=rate_bytes(str(ctx.params.get("max_rate") or "")),
        target_directory=spec.directory,
        target_directory_state=directory_state(ctx, standby),
        target_settings=parity_of(spec),
        source_build=source,
        target_build=target,
        extensions_used=extensions_used(ctx, upstream, target, source),
    )


def _wal_rate(handle: InstanceHandle, now: InstanceFacts) -> float | None:
    """Bytes of WAL a second since the last look that was recorded; None where there was none on this timeline."""
    if not handle.instance.observed:
        return None
    before = InstanceFacts.from_row(handle.instance.observed)
    return wal_rate(before, now) if before.timeline == now.timeline else None


def rate_bytes(text: str) -> float | None:
    """pg_basebackup's --max-rate (a number of kB, or with k or M) in bytes a second; None for no limit."""
    if not text:
        return None
    return float(text.rstrip("kM")) * (1024**2 if text.endswith("M") else 1024)


def directory_state(ctx: Context, handle: InstanceHandle) -> TargetState:
    """What there is where the instance's directory is to be."""
    if handle.machine.kind(handle.spec.directory) == "absent":
        return "absent"
    return "ours" if handle.is_owned_by(ctx.job.pk) else "other"


def directories_made(ctx: Context) -> str:
    """Make the instance's directories"""
    handle = ctx.handle(ctx.instance)
    if handle.is_owned_by(ctx.job.pk):
        ctx.say("The directory is there already, made by this job.")
    handle.make_directories(ctx.job.pk)
    return f"{handle.spec.directory} is there and belongs to this job until it has ended well."


def directories_taken_away(ctx: Context) -> str:
    """Delete what this job has made, and only that"""
    handle = ctx.handle(ctx.instance)
    if handle.is_owned_by(ctx.job.pk):
        handle.remove_container()
    handle.remove_made(handle.spec.socket_directory, ctx.job.pk)
    removed = handle.remove_made(handle.spec.directory, ctx.job.pk)
    return f"{handle.spec.directory} is gone." if removed else f"{handle.spec.directory} was not there."


def directories_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, made_command(spec.directory, JOB_NUMBER), made_command(spec.socket_directory, JOB_NUMBER))


def instance_files(spec: InstanceSpec, cluster: Cluster) -> list[files.File]:
    """Every file that an instance needs to run, in the order in which they are written."""
    own = files.files_of(spec, cluster.replication_password)
    return [files.render_superuser_passfile(spec, cluster.superuser_password), *own, *guard_files(spec), *compose_files(spec)]


def instance_files_put(handle: InstanceHandle, *more: files.File) -> str:
    """Write those that differ; the sentence of the step."""
    return files_put(handle, [*instance_files(handle.spec, handle.instance.cluster), *more])


def files_put(handle: InstanceHandle, wanted: Sequence[files.File]) -> str:
    """The same for some of them only."""
    written = handle.put_files(wanted)
    return f"{len(written)} files written below {handle.spec.directory}." if written else "Already so: every file is as it should be."


def instance_files_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, *instance_files(spec, planned_instance(request).cluster))


def server_started(ctx: Context) -> str:
    """Start PostgreSQL"""
    handle = ctx.handle(ctx.instance)
    if handle.is_running():
        return "Already so: it runs."
    handle.start()
    return f"{handle.spec.name} answers at {handle.spec.address}:{handle.spec.port}."


def server_stopped(ctx: Context) -> str:
    """Stop PostgreSQL"""
    handle = ctx.handle(ctx.instance)
    if not handle.is_up():
        return f"{handle.spec.name} does not run."
    handle.stop()
    return f"{handle.spec.name} is stopped."


def start_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, commands.pg_ctl_start(spec))


def stop_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, commands.pg_ctl_stop(spec))
