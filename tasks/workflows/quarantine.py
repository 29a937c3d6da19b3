"""Old data is put aside, never deleted: an instance's directory is renamed into the cluster's quarantine."""

from __future__ import annotations

from clusters.instances import InstanceHandle
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context


def put_aside(ctx: Context, handle: InstanceHandle) -> str:
    """Rename the directory of a stopped instance into the quarantine; where it is now."""
    target = handle.spec.quarantine_directory(ctx.job.pk)
    if handle.machine.exists(handle.spec.directory):
        handle.move(handle.spec.directory, target)
    handle.remove_socket_directory()
    return target if handle.machine.exists(target) else ""


def put_back(ctx: Context, handle: InstanceHandle) -> None:
    """Take the directory back out of the quarantine."""
    target = handle.spec.quarantine_directory(ctx.job.pk)
    if handle.machine.exists(target):
        if not handle.machine.exists(handle.spec.socket_directory):
            handle.make_made(handle.spec.socket_directory, ctx.job.pk)
        handle.move(target, handle.spec.directory)


def aside_commands(spec: InstanceSpec, job: int | str) -> tuple[str, str]:
    """For a plan."""
    return f"mv {spec.directory} {spec.quarantine_directory(job)}", f"rm -r {spec.socket_directory}"
