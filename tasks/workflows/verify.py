"""Verify a cluster: look at every instance, send a marker row through it, and judge each pair.

A pair that does not replicate is a finding, not a failure of the job: the job's work is to look and to say what it saw.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

from clusters.hosts.machine import HostError
from clusters.models import Instance, ReplicationPair
from clusters.models.cluster import Lifecycle
from clusters.selectors import instance_spec
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.judging import Marker, pair_judged
from tasks.workflows.marker import marker_plan, marker_seen, marker_write
from tasks.workflows.observing import instance_observed
from tasks.workflows.step import Step, StepFailed, Workflow

ARRIVAL_SECONDS: Final = 10.0


def instances_seen(ctx: Context) -> str:
    """Look at every instance"""
    seen = {row.name: instance_observed(ctx.handle(row)).facts for row in _instances(ctx)}
    for name, facts in seen.items():
        if facts is None:
            ctx.warn(f"{name} does not answer.")
    writable = [name for name, facts in seen.items() if facts and not facts.in_recovery]
    if len(writable) > 1:
        ctx.warn(f"{' and '.join(writable)} both accept writes. Keep applications away from all but one before anything else is done.")
    answering = [f"{name} is a {facts.role}" for name, facts in seen.items() if facts]
    return f"{', '.join(answering)}." if answering else "No instance answers."


def row_sent(ctx: Context) -> str:
    """Write a marker row on the primary"""
    primary = ctx.handle(ctx.cluster.instances.select_related("server", "cluster").get(role=Instance.Role.PRIMARY))
    try:
        token = marker_write(ctx, primary)
    except StepFailed as failed:
        ctx.keep(marker="refused", token=None)
        ctx.warn(failed.what)
        return failed.hint
    except HostError as error:
        ctx.keep(marker="not_tried", token=None)
        return f"No row was written: {error.what}"
    ctx.keep(marker="sent", token=token)
    return f"The row {token} was written on {primary.spec.name}."


def pairs_judged(ctx: Context) -> str:
    """Read the row on each standby, and judge each pair"""
    sent = ctx.job.steps.get(name=row_sent.__name__).state
    verdicts = {pair.standby.name: pair_judged(ctx, pair, _marker(ctx, pair, sent)) for pair in _pairs(ctx)}
    ctx.result(cluster=ctx.cluster.name, verdicts=verdicts)
    return _verdict_sentence(verdicts)


def _marker(ctx: Context, pair: ReplicationPair, sent: dict[str, str | None]) -> Marker:
    """How the row fared: it is given its time to arrive."""
    token = sent["token"]
    if token is None:
        return Marker("refused" if sent["marker"] == "refused" else "not_tried")
    began = time.monotonic()
    arrived = marker_seen(ctx, ctx.handle(pair.standby), token, ARRIVAL_SECONDS)
    return Marker("read" if arrived else "missing", time.monotonic() - began)


def _verdict_sentence(verdicts: Mapping[str, str]) -> str:
    if not verdicts:
        return "There is no standby to judge."
    words = {"ok": "replicates", "warning": "replicates, with warnings", "failed": "does not replicate", "unknown": "could not be observed"}
    return "; ".join(f"{name} {words[verdict]}" for name, verdict in verdicts.items()) + "."


def _instances(ctx: Context) -> Iterable[Instance]:
    return ctx.cluster.instances.filter(lifecycle=Lifecycle.READY).select_related("server", "cluster").order_by("role", "name")


def _pairs(ctx: Context) -> Iterable[ReplicationPair]:
    return (
        ReplicationPair.objects.filter(standby__cluster=ctx.cluster, standby__lifecycle=Lifecycle.READY)
        .select_related("upstream__server", "upstream__cluster", "standby__server", "standby__cluster")
        .order_by("standby__name")
    )


def _row_plan(request: PlanRequest) -> Iterable[PlanItem]:
    if request.cluster is None:
        raise LookupError("this plan needs a cluster")
    rows = list(request.cluster.instances.filter(lifecycle=Lifecycle.READY).select_related("server", "cluster").order_by("role", "name"))
    specs = [instance_spec(row) for row in rows]
    return [item for spec in specs[1:] for item in marker_plan(specs[0], spec, request.cluster.epoch)]


WORKFLOW = Workflow(steps=(Step(instances_seen), Step(row_sent, plan=_row_plan), Step(pairs_judged)))
