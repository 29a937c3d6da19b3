"""The marker: a row that is written on the primary and read back where it should arrive. Success is observed, never inferred."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Final

from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import READ_MARKER, WRITE_MARKER, Call
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem
from tasks.workflows.planning import planned
from tasks.workflows.step import StepFailed

#: Jobs that look at the same cluster at once each have a row of their own; there are never more than so many.
MARKER_ROWS: Final = 64
ARRIVAL_SECONDS: Final = 30.0


def marker_call(job_id: int, epoch: int, token: str) -> Call:
    """Writes a job's marker. No row comes back where a higher epoch stands."""
    return Call(WRITE_MARKER, {}, {"id": _row(job_id), "epoch": epoch, "token": token})


def marker_write(ctx: Context, primary: InstanceHandle, epoch: int | None = None) -> str:
    """Write a new marker, of the cluster's epoch unless another is given; its token."""
    token, epoch = f"{ctx.job.pk}-{secrets.token_hex(4)}", epoch or ctx.cluster.epoch
    if not primary.execute(marker_call(ctx.job.pk, epoch, token)):
        raise StepFailed(
            f"{primary.spec.name} holds a marker of a higher epoch than {epoch}: another panel has acted.",
            "Do nothing more from here. Compare with the other panel, or restore the newest copy of this panel's database.",
        )
    return token


def marker_seen(ctx: Context, standby: InstanceHandle, token: str, seconds: float) -> bool:
    """Whether the marker is read on the standby within so many seconds."""
    end = time.monotonic() + seconds
    while _token(standby, _row(ctx.job.pk)) != token:
        if time.monotonic() > end:
            return False
        ctx.pause(0.02)
    return True


def marker_arrived(ctx: Context, standby: InstanceHandle, token: str) -> float:
    """Wait until the marker is read on the standby; the seconds it took. Raises: StepFailed when it does not come in time."""
    began = time.monotonic()
    if not marker_seen(ctx, standby, token, ARRIVAL_SECONDS):
        raise StepFailed(
            f"The row {token} was written on the primary and has not arrived on {standby.spec.name} within {ARRIVAL_SECONDS:.0f} s.",
            "See on the cluster page whether replay is paused or the standby is far behind; then resume the job.",
        )
    return time.monotonic() - began


def marker_plan(writer: InstanceSpec, reader: InstanceSpec, epoch: int) -> Iterator[PlanItem]:
    yield from planned(writer, marker_call(0, epoch, f"{JOB_NUMBER}-…"))
    yield from planned(reader, _read(1))


def _row(job_id: int) -> int:
    return 1 + job_id % MARKER_ROWS


def _token(handle: InstanceHandle, row: int) -> str | None:
    try:
        rows = handle.query(_read(row))
    except HostError:  # it does not answer (yet): then the row is not read there, and that is the answer
        return None
    return str(rows[0]["token"]) if rows else None


def _read(row: int) -> Call:
    return Call(READ_MARKER, {}, {"id": row})
