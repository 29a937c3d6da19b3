"""Verify a cluster: look at every instance, send a marker row through it, and judge each pair.

A pair that does not replicate is a finding, not a failure of the job: the job's work is to look and to say what it saw.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance, ReplicationPair
from clusters.models.cluster import Lifecycle
from clusters.postgres import rules
from clusters.postgres.facts import InstanceFacts
from clusters.postgres.rules import MarkerState, VerifyFacts
from clusters.selectors import instance_spec
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.marker import marker_plan, marker_seen, marker_write
from tasks.workflows.observing import instance_observed, pair_recorded
from tasks.workflows.step import Step, StepFailed, Workflow

ARRIVAL_SECONDS: Final = 10.0


def instances_seen(ctx: Context) -> str:
    """Look at every instance"""
    seen = {row.name: instance_observed(ctx.handle(row)) for row in _instances(ctx)}
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
    verdicts: dict[str, str] = {}
    for pair in _pairs(ctx):
        facts = _pair_facts(ctx, pair, sent)
        findings = rules.verify_findings(facts)
        verdicts[pair.standby.name] = rules.verdict(findings)
        for finding in findings:
            ctx.warn(f"{pair.standby.name}: {finding.sentence} {finding.cure}")
        services.verification_record(
            pair,
            verdict=verdicts[pair.standby.name],
            findings=[finding.as_row() for finding in findings],
            lag_bytes=rules.lag_bytes(facts),
            lag_seconds=rules.lag_seconds(facts),
            job_id=ctx.job.pk,
        )
    ctx.result(cluster=ctx.cluster.name, verdicts=verdicts)
    return _verdict_sentence(verdicts)


def _pair_facts(ctx: Context, pair: ReplicationPair, sent: dict[str, str | None]) -> VerifyFacts:
    """Both sides as they are after the row had its time to arrive."""
    upstream, standby = ctx.handle(pair.upstream), ctx.handle(pair.standby)
    began = time.monotonic()
    marker: MarkerState = "refused" if sent["marker"] == "refused" else "not_tried"
    if token := sent["token"]:
        marker = "read" if marker_seen(ctx, standby, token, ARRIVAL_SECONDS) else "missing"
    facts = VerifyFacts(
        upstream=None,
        standby=None,
        upstream_name=pair.upstream.name,
        standby_name=pair.standby.name,
        slot=pair.slot,
        upstream_address=pair.upstream.server.address,
        upstream_port=pair.upstream.port,
        upstream_is_primary=pair.upstream.role == Instance.Role.PRIMARY,
        system_identifier=ctx.cluster.system_identifier,
        marker=marker,
        marker_seconds=time.monotonic() - began,
    )
    (seen_up, error_up), (seen_by, error_by) = _looked(upstream), _looked(standby)
    facts = replace(facts, upstream=seen_up, standby=seen_by, upstream_error=error_up, standby_error=error_by)
    pair_recorded(pair, seen_up, seen_by)
    return facts


def _looked(handle: InstanceHandle) -> tuple[InstanceFacts | None, str]:
    try:
        return handle.observe(), ""
    except HostError as error:
        return None, error.what


def _verdict_sentence(verdicts: dict[str, str]) -> str:
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
