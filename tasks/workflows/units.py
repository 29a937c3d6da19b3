"""Follow a detached command: its lines go into the log, its end is its exit status, and another worker may take over at any line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from clusters.hosts.machine import Unit
from clusters.instances import InstanceHandle
from clusters.postgres import containers
from clusters.postgres.command import Command
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem
from tasks.workflows.planning import planned
from tasks.workflows.step import StepFailed

#: One look waits so long on the server for the command's end: nobody waits for it in vain, and a long one is not pestered.
FOLLOW_SECONDS: Final = 0.5
#: At most so much of its output at once.
OUTPUT_BYTES: Final = 1 << 16
LINE_LIMIT: Final = 8192

#: Takes a line; true when it has been dealt with and does not belong in the log (a progress line).
LineTaker = Callable[[str], bool]


def unit_name(ctx: Context, what: str) -> str:
    return _name(ctx.job.pk, what)


def planned_unit(spec: InstanceSpec, what: str, command: Command) -> Iterator[PlanItem]:
    """A detached command of a plan; in a container it has the job's name there."""
    if spec.container:
        command = containers.named(command, containers.unit_container(spec, _name(JOB_NUMBER, what)))
    return planned(spec, command)


def _name(job: int | str, what: str) -> str:
    return f"job-{job}-{what}"


def unit_run(ctx: Context, handle: InstanceHandle, what: str, command: Command, *, take: LineTaker | None = None) -> Unit:
    """Start `command` detached under the job's name, or find it, and follow it to its end. Cancel is heeded while it runs.

    Returns the unit as `finished` (any exit status) or `vanished` (it ended without leaving one: killed, or the machine restarted).
    """
    name = unit_name(ctx, what)
    if handle.unit(name).state == "absent":
        ctx.keep_now(offset=0)  # an earlier try may have left its own
    if handle.unit_start(name, command).already:
        ctx.say(f"Found {what} again, started by an earlier worker; its log goes on where it was.")
    wait = FOLLOW_SECONDS
    while True:
        unit, more = _followed(ctx, handle, name, take, wait)
        if unit.state != "running" and not more:
            if unit.returncode != 0:
                handle.unit_left(name)
            return unit
        wait = 0 if more else FOLLOW_SECONDS
        ctx.check_cancel()


def unit_succeeded(unit: Unit, what: str, hint: str = "") -> None:
    """Raises: StepFailed unless the unit ended with exit status 0."""
    if unit.state == "vanished":
        what = f"{what} was interrupted: the process is gone and left no exit status."
        raise StepFailed(what, hint or "Resume the job: it starts this step again.")
    if unit.returncode != 0:
        what = f"{what} ended with exit status {unit.returncode}. What it printed is in the log above."
        raise StepFailed(what, hint or "Put right what it names, then resume the job.")


def _followed(ctx: Context, handle: InstanceHandle, name: str, take: LineTaker | None, wait: float) -> tuple[Unit, bool]:
    """One look, and the log of what was printed since the remembered offset; how the unit stands, and whether there is more to read.

    The offset is stored together with the lines, so none is lost or doubled.
    """
    offset = int(ctx.state.get("offset", 0))
    unit, chunk = handle.unit_follow(name, offset, wait)
    more = len(chunk) >= OUTPUT_BYTES
    whole = len(chunk) if unit.state != "running" and not more else chunk.rfind(b"\n") + 1
    if not whole and len(chunk) >= LINE_LIMIT:
        whole = len(chunk)
    for line in chunk[:whole].decode("utf-8", "replace").splitlines():
        if not (take and take(line)):
            ctx.output(line)
    if whole:
        ctx.keep(offset=offset + whole)
    return unit, more
