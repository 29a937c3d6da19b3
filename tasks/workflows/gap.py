"""The write-gap meter of a switchover: a canary writer beside it, and what it felt."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, cast

from clusters.canary import Canary, Way
from clusters.models import Instance
from clusters.postgres.statements import FORGET_CANARY, MAKE_CANARY_TABLE, READ_CANARY, Call
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.looking import members_ready
from tasks.workflows.planning import planned, planned_primary
from tasks.workflows.step import StepFailed

CANARY: Final = "canary"


def measuring_begun(ctx: Context) -> str:
    """Make the canary's table and let it write; nothing where the request wants none."""
    if not ctx.params.get("canary", True):
        return "No canary writer was asked for."
    primary = ctx.handle(ctx.cluster.instances.select_related("server", "cluster").get(role=Instance.Role.PRIMARY))
    primary.execute(Call(MAKE_CANARY_TABLE, {}, {}))
    primary.execute(Call(FORGET_CANARY, {}, {"job": ctx.job.pk}))
    canary = ctx.held.get(CANARY, lambda: Canary(_ways(ctx), primary.spec.panel_role, ctx.cluster.panel_password, ctx.job.pk))
    if not canary.wait_for_writes():
        ctx.held.drop(CANARY)
        raise StepFailed(
            f"The canary could not write to {primary.spec.name} through the connection string with every host.",
            "See that the panel reaches each member's address and port, or ask without the canary.",
        )
    return "The canary writes a row every 5 ms through the connection string of the cluster."


def _ways(ctx: Context) -> list[Way]:
    handles = [ctx.handle(row) for row in members_ready(ctx)]
    return [handle.machine.forward(handle.spec.address, handle.spec.port) for handle in handles]


def measuring_ended(ctx: Context) -> str:
    """Stop the canary writer"""
    ctx.held.drop(CANARY)
    return "No canary writes."


def gap_measured(ctx: Context, stopped_at: float) -> str:
    """Put down how long nobody could write, and that every row the canary was told is stored is there. Raises: StepFailed.

    Where the canary was lost with a worker that died, or not wanted, the gap is from the order to stop to the first marker.
    """
    canary = cast("Canary | None", ctx.held.find(CANARY))
    marked = ctx.state_of("epoch_marked")["written_at"]
    if canary is None or not canary.wait_for_writes(time.monotonic(), seconds=30.0):
        ctx.held.drop(CANARY)
        milliseconds = round((marked - stopped_at) * 1000)
        ctx.result(write_gap_ms=milliseconds, write_gap_by="panel")
        return f"From the order to stop until the first row on the new primary it took {milliseconds} ms (no canary wrote)."
    gap = canary.gap()
    ctx.held.drop(CANARY)
    new = ctx.handle(ctx.instance)
    found = {row["number"] for row in new.query(Call(READ_CANARY, {}, {"job": ctx.job.pk}))}
    lost = sorted(gap.acknowledged - found)
    ctx.result(write_gap_ms=gap.milliseconds, write_gap_by="canary", canary_acknowledged=len(gap.acknowledged), canary_lost=len(lost))
    if lost:
        raise StepFailed(
            f"{len(lost)} rows that were acknowledged to the canary are not on {new.spec.name} (the first: {lost[0]}).",
            "Acknowledged commits were lost. Keep the old primary's data as it is, and report this.",
        )
    new.execute(Call(FORGET_CANARY, {}, {"job": ctx.job.pk}))
    return (
        f"Nobody could write for {gap.milliseconds} ms. The canary was told of {len(gap.acknowledged)} commits, "
        f"and all of them are on {new.spec.name}."
    )


def gap_plan(request: PlanRequest) -> Iterable[PlanItem]:
    if not request.params.get("canary", True):
        return []
    calls = (Call(MAKE_CANARY_TABLE, {}, {}), Call(FORGET_CANARY, {}, {"job": 0}))
    return planned(planned_primary(request), *calls)
