"""Old data is put aside, never deleted: an instance's directory is renamed into the cluster's quarantine, as a kept copy."""

from __future__ import annotations

from clusters.instances import InstanceHandle
from clusters.models import KeptCopy
from clusters.ownership import OWNER_FILE, owner_text
from clusters.postgres.files import File
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context
from tasks.workflows.keeping import copy_recorded, copy_unrecorded, owner_of
from tasks.workflows.rejoining import control_of


def put_aside(ctx: Context, handle: InstanceHandle) -> str:
    """Rename the directory of a stopped instance into the quarantine; where it is now."""
    target = handle.spec.quarantine_directory(ctx.job.pk)
    handle.remove_container()
    if handle.machine.exists(handle.spec.directory):
        handle.move(handle.spec.directory, target)
    handle.remove_socket_directory()
    if not handle.machine.exists(target):
        return ""
    if owner_of(handle.machine, target) is None:  # else it is of the job that made it, and never ended well
        handle.put_files([_owner_file(handle.spec, ctx.job.pk)])
    control = control_of(handle, f"{target}/volumes/postgres/data")
    copy_recorded(ctx, handle, KeptCopy.Origin.REMOVED, target, timeline=control.timeline if control else None)
    return target


def put_back(ctx: Context, handle: InstanceHandle) -> None:
    """Take the directory back out of the quarantine."""
    target = handle.spec.quarantine_directory(ctx.job.pk)
    if handle.machine.exists(target):
        if not handle.machine.exists(handle.spec.socket_directory):
            handle.make_made(handle.spec.socket_directory, ctx.job.pk)
        if owner_of(handle.machine, target) == owner_text(ctx.job.pk):
            handle.remove_file(_owner_file(handle.spec, ctx.job.pk).path)
        handle.move(target, handle.spec.directory)
    copy_unrecorded(ctx, handle, "restored")


def aside_commands(spec: InstanceSpec, job: int | str) -> tuple[str | File, ...]:
    """For a plan."""
    return f"mv {spec.directory} {spec.quarantine_directory(job)}", f"rm -r {spec.socket_directory}", _owner_file(spec, job)


def _owner_file(spec: InstanceSpec, job: int | str) -> File:
    """Without it nothing of the panel's deletes the directory, also when a person asks."""
    return File(f"{spec.quarantine_directory(job)}/{OWNER_FILE}", owner_text(job), 0o600)
