"""Kept copies: old data that a job put aside in the cluster's quarantine, where only a person's own job deletes it.

quarantine/<instance>-<job>/data     the data directory
quarantine/<instance>-<job>/conf     the instance's settings of that moment, so that the data can be read later
quarantine/<instance>-<job>/.made-by the owner file, without which nothing is deleted
"""

from __future__ import annotations

import re
from typing import Final

from clusters import services
from clusters.hosts.machine import Machine, Unit
from clusters.instances import InstanceHandle
from clusters.models import KeptCopy
from clusters.ownership import OWNER_FILE, made_command
from clusters.postgres import rejoin_commands
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context
from tasks.workflows.step import StepFailed
from tasks.workflows.units import unit_name, unit_run, unit_succeeded

KEEP: Final = "keep"
_COPIED: Final = re.compile(r"copied ([0-9]{1,15}) kB")


def root_of(spec: InstanceSpec, job: int | str) -> str:
    return spec.quarantine_directory(job)


def data_of(root: str) -> str:
    return f"{root}/data"


def spare_of(spec: InstanceSpec, job: int | str) -> str:
    """Where data of no use goes until it is deleted: what a killed pg_rewind left, or a new copy that is taken back."""
    return f"{spec.data_directory}.unusable-{job}"


def copy_made(ctx: Context, handle: InstanceHandle) -> str:
    """Keep a full copy of the data of a stopped instance; where it is. One that is whole already is found again."""
    root = root_of(handle.spec, ctx.job.pk)
    if not handle.machine.exists(data_of(root)):
        unit = _copied(ctx, handle, root)
        if unit.state == "vanished":
            ctx.warn("The copy was interrupted and left no exit status. What there is of it is taken away, and it starts again.")
            copy_taken_away(ctx, handle)
            unit = _copied(ctx, handle, root)
        unit_succeeded(unit, "The copy")
        handle.move(f"{root}/growing", data_of(root))
    return root


def _copied(ctx: Context, handle: InstanceHandle, root: str) -> Unit:
    if handle.unit(unit_name(ctx, KEEP)).state == "absent":
        if handle.machine.exists(root):
            handle.remove_made(root, ctx.job.pk)
        handle.make_made(root, ctx.job.pk)
    total = handle.machine.directory_bytes(handle.spec.data_directory)

    def take(line: str) -> bool:
        match = _COPIED.fullmatch(line.strip())
        if match:
            ctx.progress(int(match[1]) * 1024, total, "bytes")
        return match is not None

    return unit_run(ctx, handle, KEEP, rejoin_commands.copy_data(handle.spec, root), take=take)


def copy_taken_away(ctx: Context, handle: InstanceHandle) -> None:
    """Stop the copy, and delete what this job has copied. Only while the data itself is where it belongs."""
    handle.unit_end(unit_name(ctx, KEEP))
    if handle.machine.exists(root_of(handle.spec, ctx.job.pk)):
        handle.remove_made(root_of(handle.spec, ctx.job.pk), ctx.job.pk)


def data_renamed(ctx: Context, handle: InstanceHandle) -> str:
    """Put the data directory aside by one rename, with its settings beside it; where it is."""
    root = root_of(handle.spec, ctx.job.pk)
    handle.make_made(root, ctx.job.pk)
    handle.keep_conf(root)
    handle.move(handle.spec.data_directory, data_of(root))
    return root


def data_brought_back(ctx: Context, handle: InstanceHandle) -> bool:
    """Rename the kept data back to its place; whatever is there instead is of no use and is deleted. May be killed at any point.

    False: no data was put aside by this job (any more).
    """
    spec, root = handle.spec, root_of(handle.spec, ctx.job.pk)
    spare, kept = spare_of(spec, ctx.job.pk), data_of(root)
    found = handle.machine.exists(kept)
    if found:
        if handle.is_up():
            raise StepFailed(f"{spec.name} runs; its kept data cannot be put back under it.", "Stop it, then resume the job.")
        if handle.machine.exists(spec.data_directory):
            handle.make_made(spare, ctx.job.pk)
            handle.move(spec.data_directory, free_name(handle, spare))
        handle.move(kept, spec.data_directory)
    if handle.machine.exists(spare):
        handle.remove_made(spare, ctx.job.pk)
    return found


def free_name(handle: InstanceHandle, spare: str) -> str:
    """A name in the directory of what is of no use: there may be two, of a rewind and of the base backup after it."""
    names = set(handle.machine.list_directory(spare) or ())
    return next(f"{spare}/{name}" for name in ("one", "two", "three") if name not in names)


def copy_recorded(
    ctx: Context, handle: InstanceHandle, origin: KeptCopy.Origin, root: str, *, timeline: int | None = None, end_lsn: str = ""
) -> KeptCopy:
    """Put the kept copy down, so that it is found, restored and purged."""
    size = handle.machine.directory_bytes(root)
    instance, job = handle.instance, ctx.job.pk
    return services.copy_record(instance, origin=origin, path=root, job_id=job, size_bytes=size, timeline=timeline, end_lsn=end_lsn)


def copy_unrecorded(ctx: Context, handle: InstanceHandle, how: str) -> None:
    """This job's kept copy is not there any more."""
    for copy in KeptCopy.objects.filter(server=handle.instance.server, path=root_of(handle.spec, ctx.job.pk), gone_at=None):
        services.copy_gone(copy, how)


def owner_of(machine: Machine, root: str) -> str | None:
    """What the owner file of a kept copy says; None where it has none of ours."""
    content = machine.read_file(f"{root}/{OWNER_FILE}")
    text = None if content is None else content.decode("utf-8", "replace")
    return text if text is not None and re.fullmatch(r"job [0-9]{1,19}\n", text) else None


def rename_commands(spec: InstanceSpec, job: int | str) -> list[str]:
    """For a plan: what `data_renamed` does."""
    root = root_of(spec, job)
    return [made_command(root, job), rejoin_commands.copy_conf(spec, root).display(), f"mv {spec.data_directory} {data_of(root)}"]
