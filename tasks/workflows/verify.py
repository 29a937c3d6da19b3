"""Verify a cluster: look at every instance, send a marker row through it, and judge each pair.

A pair that does not replicate is a finding, not a failure of the job: the job's work is to look and to say what it saw.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance, ReplicationPair, Verification, VerificationRun
from clusters.models.cluster import Lifecycle
from clusters.postgres import drift_rules
from clusters.postgres.facts import InstanceFacts
from tasks.actor import SCHEDULE
from tasks.audit import audit_single
from tasks.context import Context
from tasks.kinds import RUNNABLE
from tasks.models import Job
from tasks.plan import PlanItem, PlanRequest
from tasks.refusals import holder_of
from tasks.workflows.contents import content_of, corruption_of
from tasks.workflows.deep import NOTES, candidates_judged, drift_of, faults_of, found_kept
from tasks.workflows.judging import Marker, pair_judged
from tasks.workflows.looking import logins_tried, member_looked
from tasks.workflows.marker import marker_plan, marker_seen, marker_write
from tasks.workflows.observing import instance_observed
from tasks.workflows.planning import planned_cluster, planned_rows
from tasks.workflows.step import Step, StepFailed, Workflow

ARRIVAL_SECONDS: Final = 10.0
Depth = VerificationRun.Depth


def instances_seen(ctx: Context) -> str:
    """Look at every instance"""
    seen = {row.name: _looked(ctx, row) for row in _instances(ctx)}
    for name, facts in seen.items():
        if facts is None:
            ctx.warn(f"{name} does not answer.")
    _space_looked_at(ctx, [name for name, facts in seen.items() if facts is None])
    writable = [name for name, facts in seen.items() if facts and not facts.in_recovery]
    if len(writable) > 1:
        ctx.warn(f"{' and '.join(writable)} both accept writes. Keep applications away from all but one before anything else is done.")
    ctx.keep(silent=[name for name, facts in seen.items() if facts is None], writable=writable)
    answering = [f"{name} is a {facts.role}" for name, facts in seen.items() if facts]
    return f"{', '.join(answering)}." if answering else "No instance answers."


def _looked(ctx: Context, row: Instance) -> InstanceFacts | None:
    """Its facts, None where it does not answer. A deep look looks around it too; the standing one, often, does not."""
    return instance_observed(ctx.handle(row)).facts if depth_of(ctx) == Depth.STANDING else member_looked(ctx, row).now


def _space_looked_at(ctx: Context, silent: list[str]) -> None:
    """Of those that do not answer: a full disk is the commonest reason, and freeing it the cheapest cure."""
    for row in (row for row in _instances(ctx) if row.name in silent):
        with suppress(HostError):  # that its server does not answer is said already
            if eaters := ctx.handle(row).space_eaters():
                ctx.warn(f"The disk of {row.name} is full. What takes the space: {eaters}.")


def quarantine_kept(ctx: Context) -> str:
    """Keep what is in quarantine down: stop it where it runs, fence it where nobody has"""
    stopped, holder = [], holder_of(ctx.cluster)
    for row in _instances(ctx):
        if row.quarantined_at is None or _is_rejoining(holder, row):
            continue
        handle = ctx.handle(row)
        try:
            if handle.is_up():
                _stop_again(ctx, handle)
                stopped.append(row.name)
            elif holder is None and handle.fenced() is None and handle.is_initialised():
                handle.fence(f"job {ctx.job.pk}: in quarantine")  # nobody could, when its server was out of reach
        except HostError as error:
            ctx.warn(f"{row.name} is in quarantine, and it cannot be told whether it runs: {error.what}")
    if not stopped:
        return "Nothing that is in quarantine runs."
    ctx.result(stopped_in_quarantine=stopped)
    return f"{', '.join(stopped)} ran although in quarantine, and was stopped."


def _is_rejoining(holder: Job | None, row: Instance) -> bool:
    """Whether a job under way brings this one back: it runs in quarantine for the job's last steps."""
    return holder is not None and holder.instance_id == row.pk and holder.status in RUNNABLE


def _stop_again(ctx: Context, handle: InstanceHandle) -> None:
    """Somebody has started it. Whoever wrote to it since has written to the wrong place: that is for people to hear."""
    facts = instance_observed(handle).facts
    wrote = facts is not None and not facts.in_recovery
    ctx.warn(
        f"{handle.spec.name} runs although it is in quarantine ({handle.instance.quarantine_reason})"
        f"{', and it accepts writes' if wrote else ''}. It is stopped."
    )
    handle.fence(f"job {ctx.job.pk}: in quarantine, seen running")
    handle.stop("fast" if facts else "immediate")
    instance_observed(handle)
    audit_single(ctx.job, SCHEDULE, "quarantine_stop", instance=handle.spec.name, accepted_writes=wrote)


def logins_seen(ctx: Context) -> str:
    """Try the logins that a change of the primary would need"""
    if ctx.cluster.adopted_at:
        return "The cluster was adopted: the panel does not change its primary."
    if depth_of(ctx) == Depth.STANDING:
        return "Left to a deep look."
    rows = [row for row in _instances(ctx) if row.quarantined_at is None]
    standbys = [row for row in rows if row.observed_role == Instance.Observed.STANDBY]
    refused = {row.name: names for row in standbys if (names := _refused(ctx, row, [other for other in rows if other.pk != row.pk]))}
    for name, names in refused.items():
        ctx.warn(f"{name} does not admit {', '.join(names)} as the replication role: they could not follow it.")
    if not standbys:
        return "There is no standby that answers."
    return f"{', '.join(refused)} refuse some." if refused else f"{', '.join(row.name for row in standbys)} admit everybody."


def _refused(ctx: Context, standby: Instance, others: list[Instance]) -> list[str]:
    """Who could not log in to it; the answers are put down."""
    tried = logins_tried(ctx, standby, others)
    services.instance_record_surroundings(standby, {**standby.surroundings, "logins": tried})
    return [name for name, answer in tried.items() if answer]


def depth_of(ctx: Context) -> str:
    """How deep this job looks; one that an earlier release has left behind does what is done every few minutes."""
    return str(ctx.params.get("depth") or Depth.STANDING)


def row_sent(ctx: Context) -> str:
    """Write a marker row on the primary"""
    if ctx.cluster.is_watched:
        ctx.keep(marker="not_tried", token=None)
        return "The cluster is only watched: no row is written."
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


def depths_judged(ctx: Context) -> str:
    """Compare each instance with what is declared, and judge every standby as the next primary"""
    if depth_of(ctx) == Depth.STANDING:
        return "Left to a deep look."
    found = list(drift_of(ctx))
    standings = {} if ctx.cluster.adopted_at else candidates_judged(ctx)
    in_the_way = [(name, finding) for name, standing in standings.items() for finding in standing.obstacles]
    number = found_kept(ctx, Depth.DEEP, found, in_the_way)
    able = [name for name, standing in standings.items() if standing.eligible]
    words = f"{', '.join(able)} could take over now." if able else "No standby could take over now." if standings else ""
    return f"{number} findings. {words}".strip() if number else f"All is as declared. {words}".strip()


def contents_compared(ctx: Context) -> str:
    """Compare the rows of the primary and each standby"""
    if depth_of(ctx) != Depth.CONTENT:
        return "Left to a look at the content."
    if ctx.cluster.is_watched:
        return "The cluster is only watched: its tables are not read."
    try:
        sentence, found = content_of(ctx)
    except HostError as error:
        ctx.warn(error.what)
        return f"The rows were not compared: {error.what}"
    found_kept(ctx, Depth.CONTENT, found)
    return sentence


def relations_checked(ctx: Context) -> str:
    """Run pg_amcheck on a standby"""
    if depth_of(ctx) != Depth.CONTENT:
        return "Left to a look at the content."
    if ctx.cluster.adopted_at:
        return "The cluster was adopted: pg_amcheck is not run."
    try:
        sentence, found = corruption_of(ctx)
    except HostError as error:
        ctx.warn(error.what)
        return f"pg_amcheck was not run: {error.what}"
    found_kept(ctx, Depth.CONTENT, found)
    return sentence


def run_recorded(ctx: Context) -> str:
    """Put down the run and what it found"""
    verdicts, seen = ctx.job.result.get("verdicts", {}), ctx.state_of(instances_seen.__name__)
    alone = [drift_rules.instance_silent(name) for name in seen.get("silent", []) if not verdicts]
    several = drift_rules.several_writable(seen.get("writable", []))
    told = [*((str(finding.value), finding) for finding in alone), *([("", several)] if several else [])]
    own = [{**finding.as_row(), "instance": name, "depth": Depth.STANDING, "act": ""} for name, finding in told]
    found = own + [row for step in ctx.job.steps.order_by("position") for row in step.state.get("findings", [])]
    verdict = run_verdict(verdicts.values(), found)
    services.verification_run_record(ctx.cluster, depth=depth_of(ctx), verdict=verdict, findings=found, job_id=ctx.job.pk)
    ctx.result(depth=depth_of(ctx), verdict=verdict, findings=faults_of(found))
    return f"{len(found)} findings beside those of the pairs." if found else "Nothing was found beside the pairs."


def run_verdict(verdicts: Iterable[str], findings: Iterable[Mapping[str, Any]]) -> str:
    """The worst of the pairs and of the run's own findings. That a standby could not be promoted now is a warning: it replicates."""
    names = {row["name"] for row in findings} - NOTES
    own = {"failed"} if names & FAILED else {"unknown"} if names & {"instance_silent"} else {"warning"} if names else set()
    worst = {*verdicts, *own}
    return next((word for word in ("failed", "unknown", "warning") if word in worst), Verification.Verdict.OK)


#: Findings of a run that say that data is wrong, or about to be.
FAILED: Final = frozenset({"several_writable", "content_differs", "relation_corrupt"})


def _summary(ctx: Context) -> str:
    """What was found of the pairs, and how much beside them."""
    pairs = _verdict_sentence(ctx.job.result.get("verdicts", {}))
    number = ctx.job.result.get("findings", 0)
    return f"{pairs} {number} further findings." if number else pairs


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
    cluster = planned_cluster(request)
    specs = [] if cluster.is_watched else planned_rows(request)
    return [item for spec in specs[1:] for item in marker_plan(specs[0], spec, cluster.epoch)]


WORKFLOW = Workflow(
    steps=(
        Step(instances_seen),
        Step(quarantine_kept),
        Step(logins_seen),
        Step(row_sent, plan=_row_plan),
        Step(pairs_judged),
        Step(depths_judged),
        Step(contents_compared),
        Step(relations_checked),
        Step(run_recorded),
    ),
    summary=_summary,
)
