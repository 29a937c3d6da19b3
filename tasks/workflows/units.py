"""Follow a detached command: its lines go into the log, its end is its exit status, and another worker may take over at any line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from clusters.hosts.machine import Unit
from clusters.instances import InstanceHandle
from clusters.postgres.commands import Command
from tasks.context import Context
from tasks.workflows.step import StepFailed

#: Looks follow each other after 50 ms at first, later after 250: a short command is not waited for, a long one not pestered.
POLL_SECONDS: Final = (0.05, 0.25)
LINE_LIMIT: Final = 8192

#: Takes a line; true when it has been dealt with and does not belong in the log (a progress line).
LineTaker = Callable[[str], bool]


def unit_name(ctx: Context, what: str) -> str:
    return f"job-{ctx.job.pk}-{what}"


def unit_run(ctx: Context, handle: InstanceHandle, what: str, command: Command, *, take: LineTaker | None = None) -> Unit:
    """Start `command` detached under the job's name, or find it, and follow it to its end. Cancel is heeded while it runs.

    Returns the unit as `finished` (any exit status) or `vanished` (it ended without leaving one: killed, or the machine restarted).
    """
    name = unit_name(ctx, what)
    if handle.unit(name).state == "absent":
        ctx.keep_now(offset=0)  # an earlier try may have left its own
    if handle.unit_start(name, command).already:
        ctx.say(f"Found {what} again, started by an earlier worker; its log goes on where it was.")
    pause, longest = POLL_SECONDS
    while True:
        unit = handle.unit(name)  # before the output: what was printed before the end is read after it was seen
        _read(ctx, handle, name, take, last=unit.state != "running")
        if unit.state != "running":
            return unit
        ctx.check_cancel()
        time.sleep(pause)
        pause = min(pause * 1.3, longest)


def unit_succeeded(unit: Unit, what: str, hint: str = "") -> None:
    """Raises: StepFailed unless the unit ended with exit status 0."""
    if unit.state == "vanished":
        what = f"{what} was interrupted: the process is gone and left no exit status."
        raise StepFailed(what, hint or "Resume the job: it starts this step again.")
    if unit.returncode != 0:
        what = f"{what} ended with exit status {unit.returncode}. What it printed is in the log above."
        raise StepFailed(what, hint or "Put right what it names, then resume the job.")


def _read(ctx: Context, handle: InstanceHandle, name: str, take: LineTaker | None, *, last: bool) -> None:
    """Log what was printed since the remembered offset. The offset is stored together with the lines, so none is lost or doubled."""
    offset = int(ctx.state.get("offset", 0))
    while chunk := handle.unit_output(name, offset):
        whole = chunk.rfind(b"\n") + 1
        if not whole:
            whole = len(chunk) if last or len(chunk) >= LINE_LIMIT else 0
        for line in chunk[:whole].decode("utf-8", "replace").splitlines():
            if not (take and take(line)):
                ctx.output(line)
        if not whole:
            return
        offset += whole
        ctx.keep(offset=offset)
