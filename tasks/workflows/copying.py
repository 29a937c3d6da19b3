"""The base backup as a detached command: it grows in a directory that carries the job's name, and says how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from clusters.hosts.machine import Unit
from clusters.instances import InstanceHandle
from clusters.ownership import made_command
from clusters.postgres import commands
from clusters.postgres.facts import BasebackupProgress, estimate, parse_basebackup_line, seconds_left
from clusters.postgres.rules import size
from clusters.postgres.spec import InstanceSpec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem
from tasks.workflows.planning import planned
from tasks.workflows.units import planned_unit, unit_name, unit_run, unit_succeeded

BASEBACKUP: Final = "basebackup"
VERIFYBACKUP: Final = "verifybackup"
SAY_EVERY_SECONDS: Final = 5.0


class CopyProgress:
    """Takes the progress lines of pg_basebackup: to the page each time, into the log every few seconds."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._samples: list[tuple[float, int]] = []
        self._said = time.monotonic()

    def take(self, line: str) -> bool:
        """True when the line was one of progress."""
        progress = parse_basebackup_line(line)
        if progress is None:
            return False
        self._samples.append((time.monotonic(), progress.done_bytes))
        rate = estimate(self._samples)
        left = seconds_left(progress.done_bytes, progress.total_bytes, rate)
        self._ctx.progress(progress.done_bytes, progress.total_bytes, "bytes", rate, left)
        if time.monotonic() - self._said >= SAY_EVERY_SECONDS:
            self._said = time.monotonic()
            self._ctx.say(_sentence(progress, rate, left))
        return True


def copy_target(spec: InstanceSpec, job: int | str) -> str:
    """Where pg_basebackup writes: an empty directory in the one that carries the job's name."""
    return f"{spec.clone_directory(job)}/data"


def copy_run(ctx: Context, standby: InstanceHandle) -> Unit:
    """Start the base backup, or find the one that runs, and follow it to its end."""
    if standby.unit(unit_name(ctx, BASEBACKUP)).state == "absent":
        standby.make_made(standby.spec.clone_directory(ctx.job.pk), ctx.job.pk)
    command = commands.pg_basebackup(standby.spec, copy_target(standby.spec, ctx.job.pk), ctx.params.get("max_rate") or None)
    return unit_run(ctx, standby, BASEBACKUP, command, take=CopyProgress(ctx).take)


def upstream_copied(ctx: Context, upstream: InstanceSpec) -> str:
    """The base backup to its end, once more where it was interrupted; the sentence of the step."""
    standby = ctx.handle(ctx.instance)
    unit = copy_run(ctx, standby)
    if unit.state == "vanished":
        ctx.warn("The copy was interrupted and left no exit status. What there is of it is taken away, and it starts again.")
        copy_taken_away(ctx)
        unit = copy_run(ctx, standby)
    unit_succeeded(unit, "pg_basebackup")
    copied = standby.machine.directory_bytes(copy_target(standby.spec, ctx.job.pk))
    return f"{size(copied)} copied from {upstream.name}."


def copy_compared(ctx: Context) -> str:
    """pg_verifybackup over the copy; the sentence of the step."""
    standby = ctx.handle(ctx.instance)
    unit = unit_run(ctx, standby, VERIFYBACKUP, commands.pg_verifybackup(standby.spec, copy_target(standby.spec, ctx.job.pk)))
    hint = "The copy is not what the upstream sent. Look at the disk of this server, then resume the job: it copies anew."
    unit_succeeded(unit, "pg_verifybackup", hint)
    return "Every file is as the upstream sent it, and the WAL that the copy needs is complete."


def copy_plan(spec: InstanceSpec, max_rate: str | None = None) -> Iterator[PlanItem]:
    yield from planned(spec, made_command(spec.clone_directory(JOB_NUMBER), JOB_NUMBER))
    yield from planned_unit(spec, BASEBACKUP, commands.pg_basebackup(spec, copy_target(spec, JOB_NUMBER), max_rate))


def comparison_plan(spec: InstanceSpec) -> Iterator[PlanItem]:
    return planned_unit(spec, VERIFYBACKUP, commands.pg_verifybackup(spec, copy_target(spec, JOB_NUMBER)))


def verification_ended(ctx: Context) -> str:
    """Stop pg_verifybackup"""
    ctx.handle(ctx.instance).unit_end(unit_name(ctx, VERIFYBACKUP))
    return "pg_verifybackup does not run."


def copy_taken_away(ctx: Context) -> str:
    """Stop the copy and delete what it has copied"""
    standby = ctx.handle(ctx.instance)
    standby.unit_end(unit_name(ctx, BASEBACKUP))
    standby.remove_made(standby.spec.clone_directory(ctx.job.pk), ctx.job.pk)
    return "No copy runs, and no half copy is left."


def _sentence(progress: BasebackupProgress, rate: float | None, left: float | None) -> str:
    done = f"{size(progress.done_bytes)} of {size(progress.total_bytes)} copied ({progress.percent} %)"
    if rate is None or left is None:
        return f"{done}."
    return f"{done}, {size(rate)}/s, {left:.0f} s left."
