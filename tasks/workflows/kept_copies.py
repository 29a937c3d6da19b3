"""Kept copies: put one back into its place, or delete one for good. Both only when a person has asked, and typed a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from clusters import services
from clusters.copies import copy_data
from clusters.hosts.machine import Fence, Machine
from clusters.machines import machine_of
from clusters.models import KeptCopy, ReplicationPair
from clusters.ownership import OWNER_FILE
from clusters.postgres import files, rules
from clusters.postgres.command import ENGLISH
from tasks.context import TOKEN_FILE, Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest, command_item
from tasks.workflows.keeping import copy_recorded, data_of, data_renamed, owner_of, rename_commands, root_of
from tasks.workflows.place import server_started, server_stopped, stop_plan
from tasks.workflows.planning import planned, planned_spec
from tasks.workflows.rejoining import control_of
from tasks.workflows.step import PointOfNoReturn, Step, StepFailed, Workflow

#: Says the arguments of the server that runs in a directory; nothing where none does, whatever an old lock file says.
_RUNS: Final = 'pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && ps -o args= -p "$pid" 2>/dev/null | grep -F "$1" || :'


# -- restore


def copy_checked(ctx: Context) -> str:
    """See that the copy is whole, is this cluster's, and that nobody follows the instance"""
    handle, copy = ctx.handle(ctx.instance), _copy(ctx)
    control = control_of(handle, copy_data(copy))
    if owner_of(handle.machine, copy.path) is None or control is None:
        raise StepFailed(f"{copy.path} does not hold a kept copy of ours that can be read.", "Look what it is. Nothing was changed.")
    if control.system_identifier != ctx.cluster.system_identifier:
        raise StepFailed(f"The data in {copy.path} is of another cluster.", "Look what it is. Nothing was changed.")
    followers = list(ReplicationPair.objects.filter(upstream=ctx.instance).values_list("standby__name", flat=True))
    if followers or handle.spec.role == "primary":
        what = f"{', '.join(followers)} follow {ctx.instance.name}." if followers else f"{ctx.instance.name} is the primary."
        raise StepFailed(what, "Its data is not replaced. Look at the copy beside it instead.")
    _not_running(handle.machine, copy)
    return f"{copy.path} holds data of timeline {control.timeline} (control file: {control.state})."


def instance_stopped(ctx: Context) -> str:
    """Stop the instance"""
    if "ran" not in ctx.state:
        ctx.keep_now(ran=ctx.handle(ctx.instance).is_running())
    return server_stopped(ctx)


def instance_as_it_was(ctx: Context) -> str:
    """Start it again, if it ran"""
    return server_started(ctx) if ctx.state.get("ran") else "It did not run."


def quarantined(ctx: Context) -> str:
    """Put the instance into quarantine, and fence it"""
    handle = ctx.handle(ctx.instance)
    if "before" not in ctx.state:
        ctx.keep_now(before=ctx.instance.quarantined_at is not None, fenced=handle.fenced() is not None)
    services.instance_quarantine(ctx.instance, _why(ctx.job.pk))
    if handle.fenced() is None:
        handle.put_files([files.fenced_file(handle.spec, _why(ctx.job.pk))])
    return f"{ctx.instance.name} does not run until it is rejoined."


def quarantine_undone(ctx: Context) -> str:
    """Take it out of quarantine again"""
    if ctx.state.get("before") is False:
        services.instance_release(ctx.instance)
    if ctx.state.get("fenced") is False:
        ctx.handle(ctx.instance).unfence(as_primary=False)
    return f"{ctx.instance.name} is as it was before."


def present_put_aside(ctx: Context) -> str:
    """Put its present data aside, as a kept copy of its own"""
    handle = ctx.handle(ctx.instance)
    root = root_of(handle.spec, ctx.job.pk)
    if not handle.machine.exists(data_of(root)):
        if not handle.machine.exists(handle.spec.data_directory):
            return "It has no data now."
        data_renamed(ctx, handle)
    control = control_of(handle, data_of(root))
    copy_recorded(ctx, handle, KeptCopy.Origin.REPLACED, root, timeline=control.timeline if control else None)
    return f"Its present data is {data_of(root)}."


def present_brought_back(ctx: Context) -> str:
    """Put its data back into its place"""
    handle = ctx.handle(ctx.instance)
    root = root_of(handle.spec, ctx.job.pk)
    if handle.machine.exists(data_of(root)):
        handle.move(data_of(root), handle.spec.data_directory)
    handle.remove_made(root, ctx.job.pk)
    for copy in KeptCopy.objects.filter(server=ctx.instance.server, path=root, gone_at=None):
        services.copy_gone(copy, "restored")
    return f"{handle.spec.data_directory} holds its data."


def copy_moved_into_place(ctx: Context) -> str:
    """Move the kept data into its place"""
    handle, copy = ctx.handle(ctx.instance), _copy(ctx)
    if handle.machine.exists(copy_data(copy)):
        handle.move(copy_data(copy), handle.spec.data_directory)
    handle.put_files([files.standby_signal(handle.spec.data_directory)])
    return f"{handle.spec.data_directory} holds the data of the kept copy."


def copy_moved_back(ctx: Context) -> str:
    """Move the kept data back to where it was kept"""
    handle, copy = ctx.handle(ctx.instance), _copy(ctx)
    if not handle.machine.exists(copy_data(copy)):
        handle.move(handle.spec.data_directory, copy_data(copy))
    return f"{copy.path} holds its data again."


def restore_recorded(ctx: Context) -> str:
    """Put down that the copy is the instance's data now"""
    handle, copy = ctx.handle(ctx.instance), _copy(ctx)
    owner = owner_of(handle.machine, copy.path)
    if owner is not None and not handle.machine.exists(copy_data(copy)):
        _removed(ctx, handle.machine, handle.spec.token_file, copy, owner)
    services.copy_gone(copy, "restored")
    ctx.result(cluster=ctx.cluster.name, instance=ctx.instance.name, copy=copy.pk, quarantine=root_of(handle.spec, ctx.job.pk))
    return f"{ctx.instance.name} has the data of the kept copy, is in quarantine and does not run. Rejoin it, or start it by hand."


# -- purge


def copy_seen(ctx: Context) -> str:
    """See that it is a kept copy of ours, and that no server runs in it"""
    copy = _copy(ctx)
    machine = machine_of(copy.server)
    below = f"{_cluster_directory(copy)}/quarantine/"
    if not copy.path.startswith(below) or "/" in copy.path.removeprefix(below):
        raise StepFailed(f"{copy.path} is not in the quarantine of {copy.cluster_name}.", "Nothing was deleted.")
    owner = owner_of(machine, copy.path)
    if machine.exists(copy.path) and owner is None:
        what = f"{copy.path} has no owner file of ours ({OWNER_FILE}), so it is not deleted."
        raise StepFailed(what, "Look what it is. If it is of no use, delete it by hand.")
    _not_running(machine, copy)
    ctx.keep_now(owner=owner)
    return f"{copy.path} ({rules.size(copy.size_bytes or 0)}) can be deleted."


def copy_deleted(ctx: Context) -> str:
    """Delete it for good"""
    copy = _copy(ctx)
    owner = ctx.state_of(copy_seen.__name__)["owner"]
    if owner is not None:
        _removed(ctx, machine_of(copy.server), f"{_cluster_directory(copy)}/{TOKEN_FILE}", copy, owner)
    return f"{copy.path} is gone."


def purge_recorded(ctx: Context) -> str:
    """Put down that it is gone"""
    copy = _copy(ctx)
    services.copy_gone(copy, "purged")
    ctx.result(cluster=copy.cluster_name, instance=copy.instance_name, copy=copy.pk, path=copy.path, size_bytes=copy.size_bytes)
    return f"The kept copy of {copy.instance_name} in {copy.path} was deleted."


# -- plans


def _quarantine_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, files.fenced_file(spec, _why(JOB_NUMBER)))


def _aside_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, *rename_commands(spec, JOB_NUMBER))


def _place_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec, copy = planned_spec(request), _planned_copy(request)
    return planned(spec, f"mv {copy_data(copy)} {spec.data_directory}", files.standby_signal(spec.data_directory))


def _tidy_plan(request: PlanRequest) -> Iterable[PlanItem]:
    copy = _planned_copy(request)
    yield command_item(copy.server.name, _removal(copy))


def _planned_copy(request: PlanRequest) -> KeptCopy:
    return KeptCopy.objects.select_related("server").get(pk=request.params["copy"])


# -- helpers


def _copy(ctx: Context) -> KeptCopy:
    return KeptCopy.objects.select_related("server").get(pk=ctx.params["copy"])


def _why(job: int | str) -> str:
    return f"job {job}: a kept copy was put back"


def _cluster_directory(copy: KeptCopy) -> str:
    return f"{copy.server.base_directory.rstrip('/')}/{copy.cluster_name}"


def _removal(copy: KeptCopy) -> str:
    return f"rm -r {copy.path}  # only if {OWNER_FILE} in it is ours"


def _removed(ctx: Context, machine: Machine, token_file: str, copy: KeptCopy, owner: str) -> None:
    ctx.command(_removal(copy))
    ctx.check()
    machine.remove_owned_tree(copy.path, OWNER_FILE, owner, Fence(token_file, ctx.journal.token))
    ctx.changed()


def _not_running(machine: Machine, copy: KeptCopy) -> None:
    """Raises: StepFailed where somebody has started a server in it by hand."""
    said = machine.run(["sh", "-c", _RUNS, "pgreplica", copy_data(copy)], env=ENGLISH, timeout=30)
    if said.stdout.strip():
        raise StepFailed(f"A server runs in {copy_data(copy)}: {said.stdout.strip()[:200]}", "Stop it, then ask again.")


RESTORE = Workflow(
    steps=(
        Step(copy_checked),
        Step(instance_stopped, undo=instance_as_it_was, plan=stop_plan),
        Step(quarantined, undo=quarantine_undone, plan=_quarantine_plan),
        Step(present_put_aside, undo=present_brought_back, plan=_aside_plan),
        Step(copy_moved_into_place, undo=copy_moved_back, plan=_place_plan),
        Step(restore_recorded, plan=_tidy_plan),
    )
)
PURGE = Workflow(steps=(Step(copy_seen), PointOfNoReturn(), Step(copy_deleted, plan=_tidy_plan), Step(purge_recorded)))
