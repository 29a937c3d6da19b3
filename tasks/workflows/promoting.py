"""Steps and plans that every promotion shares, from the epoch that is raised before it to the proof that all follow after it.

The candidate is the job's instance.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle, KeptSession
from clusters.models import Instance, ReplicationPair
from clusters.postgres import commands, files
from clusters.postgres.names import slot_name
from clusters.postgres.spec import InstanceSpec, Upstream
from clusters.postgres.statements import IN_RECOVERY, MAKE_SLOT_HERE, PROMOTE, RELOAD, Call
from clusters.sessions import InstanceUnreachable
from tasks.context import Context
from tasks.patience import patiently
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.looking import as_recorded, members_ready
from tasks.workflows.marker import marker_call
from tasks.workflows.observing import instance_observed
from tasks.workflows.planning import planned, planned_change, planned_cluster, planned_primary, planned_rows, planned_siblings, planned_spec
from tasks.workflows.slots import drop_call
from tasks.workflows.step import Seen, StepFailed

PROMOTE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.001
#: A startup process that has just lost its upstream may sleep before it heeds the request (up to wal_retrieve_retry_interval);
#: a reload wakes it (performance.md trap 3).
WAKE_SECONDS: Final = 0.05

SESSION: Final = "candidate"


def candidate_session(ctx: Context) -> KeptSession:
    """The session over which the candidate is promoted; opened beforehand, it stays open through the steps."""
    return ctx.held.get(SESSION, lambda: KeptSession(ctx.handle(ctx.instance)))


def epoch_raised(ctx: Context) -> str:
    """Raise the epoch, on the panel and on every server that answers"""
    if "epoch" not in ctx.state:
        ctx.keep_now(epoch=ctx.cluster.epoch + 1)
    epoch = int(ctx.state["epoch"])
    services.cluster_raise_epoch(ctx.cluster, epoch)
    silent = []
    for row in members_ready(ctx):
        handle = ctx.handle(row)
        try:
            handle.put_files([files.epoch_file(handle.spec, epoch)])
        except HostError as error:
            ctx.warn(f"{row.name} was not told: {error.what}")
            silent.append(row.name)
    told = f"{', '.join(silent)} could not be told" if silent else "every server knows it"
    return f"The epoch is {epoch}; {told}."


def epoch_plan(request: PlanRequest) -> Iterable[PlanItem]:
    epoch = planned_cluster(request).epoch
    for spec in planned_rows(request):
        before = files.epoch_file(spec, epoch) if epoch > 1 else None  # before its first promotion a cluster has none
        yield from planned_change(spec, before, files.epoch_file(spec, epoch + 1))


def slots_made(ctx: Context) -> str:
    """Make a slot on the candidate for each that will follow it, so that no WAL they need goes away"""
    candidate = ctx.handle(ctx.instance)
    slots = [slot_name(ctx.cluster.name, row.name) for row in followers_of(ctx)]
    missing = [slot for slot in slots if candidate.observe().slot(slot) is None]
    if missing:
        candidate.superuser_run([Call(MAKE_SLOT_HERE, {}, {"slot": slot}) for slot in missing])
        ctx.keep(made=sorted({*ctx.state.get("made", []), *missing}))
    seen = candidate.observe()
    lost = [slot for slot in slots if (row := seen.slot(slot)) is None or row.restart_lsn is None]
    if lost:
        raise StepFailed(f"{candidate.spec.name} keeps no WAL for {', '.join(lost)}.", "Look at its log, then ask again.")
    return f"{candidate.spec.name} keeps WAL for {', '.join(slots)}." if slots else "Nobody else will follow it."


def slots_taken_away(ctx: Context) -> str:
    """Drop the slots that were made on the candidate"""
    try:
        return patiently(_slots_dropped, ctx)
    except StepFailed as error:  # the candidate's server may be what is gone: everything else is as it was
        ctx.warn(f"{error.what} {_left(ctx)}")
        return "No slot was dropped."


def _left(ctx: Context) -> str:
    return f"Slots that were made on {ctx.instance.name} stay there; a verification names them, and the cluster's page drops them."


def _slots_dropped(ctx: Context) -> str:
    candidate = ctx.handle(ctx.instance)
    owned = set(ReplicationPair.objects.filter(upstream=ctx.instance).values_list("slot", flat=True))
    slots = {slot_name(ctx.cluster.name, row.name) for row in followers_of(ctx)} - owned
    if not candidate.is_running():
        ctx.warn(f"{candidate.spec.name} does not run. {_left(ctx)}")
        return "No slot was dropped."
    idle = [slot for slot in sorted(slots) if (row := candidate.observe().slot(slot)) is not None and not row.active]
    if idle:
        candidate.superuser_run([drop_call(slot) for slot in idle])
    return f"{', '.join(idle)} dropped on {candidate.spec.name}." if idle else "There was no slot to drop."


def slots_plan(request: PlanRequest) -> Iterable[PlanItem]:
    candidate, followers = planned_spec(request), [planned_primary(request), *planned_siblings(request)]
    slots = [slot_name(spec.cluster, spec.name) for spec in followers]
    return planned(candidate, *(Call(MAKE_SLOT_HERE, {}, {"slot": slot}) for slot in slots))


def candidate_promoted(ctx: Context) -> str:
    """Promote the candidate"""
    session, standby = _session_kept_alive(ctx)
    began = time.monotonic()
    if standby:
        ctx.check()
        ctx.command(Call(PROMOTE, {}, {}).display())
        session.ask(Call(PROMOTE, {}, {}))
        _promotion_awaited(ctx, session, began)
        ctx.changed()
    seconds = time.monotonic() - began
    return f"{ctx.instance.name} accepts writes, {seconds * 1000:.0f} ms after it was told to."


def _promotion_awaited(ctx: Context, session: KeptSession, began: float) -> None:
    wake = time.monotonic() + WAKE_SECONDS
    while session.ask(Call(IN_RECOVERY, {}, {}))[0]["standby"]:
        now = time.monotonic()
        if now - began > PROMOTE_SECONDS:
            what = f"{ctx.instance.name} was told to become the primary and still is a standby after {PROMOTE_SECONDS:.0f} s."
            raise StepFailed(what, "Look at its log.")
        if now > wake:
            session.ask(Call(RELOAD, {}, {}))
            wake = now + WAKE_SECONDS
        time.sleep(LOOK_SECONDS)


def _session_kept_alive(ctx: Context) -> tuple[KeptSession, bool]:
    """The kept session, and whether the candidate is still a standby. One that has stopped is started first, as the standby it is."""
    try:
        session = candidate_session(ctx)
        return session, session.ask(Call(IN_RECOVERY, {}, {}))[0]["standby"]
    except InstanceUnreachable as error:
        ctx.warn(error.what)
    ctx.held.drop(SESSION)
    candidate = ctx.handle(ctx.instance)
    if not candidate.is_running():
        candidate.start()
    session = candidate_session(ctx)
    return session, session.ask(Call(IN_RECOVERY, {}, {}))[0]["standby"]


def promotion_seen(ctx: Context) -> Seen:
    """Whether the candidate is a primary, for a worker that takes over."""
    try:
        standby = ctx.handle(ctx.instance).query(Call(IN_RECOVERY, {}, {}))[0]["standby"]
    except InstanceUnreachable:  # promoting it again does no harm: a primary refuses it, a standby that is down is started first
        return Seen(False)
    return Seen(not standby, f"{ctx.instance.name} accepts writes.")


def promote_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned(planned_spec(request), Call(PROMOTE, {}, {}))


def epoch_marked(ctx: Context) -> str:
    """Write the first row on the new primary: a marker with the new epoch"""
    session, epoch = _session_kept_alive(ctx)[0], ctx.cluster.epoch
    call = marker_call(ctx.job.pk, epoch, f"{ctx.job.pk}-promotion")
    ctx.check()
    ctx.command(call.display())
    if not session.ask(call):
        raise StepFailed(
            f"{ctx.instance.name} holds a marker of a higher epoch than {epoch}: another panel has acted.",
            "Compare with the other panel before anything else is done.",
        )
    ctx.keep(written_at=time.time())
    ctx.changed()
    return f"{ctx.instance.name} has a row of epoch {epoch}."


def mark_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned(planned_spec(request), marker_call(0, planned_cluster(request).epoch + 1, "…"))


def roles_recorded(ctx: Context) -> str:
    """Record the new primary, and whom everybody follows now"""
    candidate = ctx.handle(ctx.instance)
    facts = instance_observed(candidate).answered()
    if facts.in_recovery:
        raise StepFailed(f"{ctx.instance.name} was promoted and does not answer as a primary.", "Look at it, then resume the job.")
    services.cluster_record_promotion(ctx.cluster, ctx.instance)
    ctx.keep(timeline=facts.timeline, lsn=str(facts.lsn))
    return f"{ctx.instance.name} is the primary of {ctx.cluster.name}, on timeline {facts.timeline}."


def primary_file_written(ctx: Context) -> str:
    """Write the new primary's replication.conf: it follows nobody"""
    candidate = ctx.handle(as_recorded(ctx.instance))
    # The epoch too, where it could not be told of it before: its start guard must not take its own standbys for further on.
    written = candidate.put_files([files.render_replication_conf(candidate.spec), files.epoch_file(candidate.spec, ctx.cluster.epoch)])
    if written:
        candidate.reload()
    return f"{candidate.spec.replication_file} says so." if written else "Already so."


def primary_file_plan(request: PlanRequest) -> Iterable[PlanItem]:
    before = planned_spec(request)
    after = replace(before, role="primary", upstream=None)
    yield from planned_change(after, files.render_replication_conf(before), files.render_replication_conf(after))
    yield from planned(after, commands.pg_ctl_reload(after))


def followers_turned(ctx: Context) -> str:
    """Let every other standby follow the new primary"""
    turned, lost, unheard = [], [], []
    for row in _standbys_of(ctx):
        try:
            turned.append(_turned(ctx, row))
        except HostError:  # the others first
            unheard.append(row)
    for row in unheard:
        try:
            turned.append(patiently(partial(_turned, row=row), ctx))
        except StepFailed as error:
            ctx.warn(f"{row.name} could not be told whom to follow: {error.what} {error.hint}")
            lost.append(row.name)
    sentence = f"{', '.join(turned)} follow {ctx.instance.name}." if turned else "There is no other standby to turn."
    return f"{sentence} Not told: {', '.join(lost)}." if lost else sentence


def _turned(ctx: Context, row: Instance) -> str:
    handle = ctx.handle(row)
    if handle.put_files([files.render_replication_conf(handle.spec)]) or not _follows(handle):
        handle.reload()
    return row.name


def followers_plan(request: PlanRequest, *, detached: bool = False) -> Iterable[PlanItem]:
    """`detached`: they follow nobody when they are told."""
    candidate = planned_spec(request)
    for spec in planned_siblings(request):
        before, after = replace(spec, upstream=None) if detached else spec, following(spec, candidate)
        yield from planned_change(after, files.render_replication_conf(before), files.render_replication_conf(after))
        yield from planned(after, commands.pg_ctl_reload(after))


def _follows(handle: InstanceHandle) -> bool:
    """Whether it runs with the upstream its file names; a file that was written by a worker that died may not have been read yet."""
    assert handle.spec.upstream is not None
    receiver = handle.observe().receiver
    return receiver is not None and (receiver.host, receiver.port) == (handle.spec.upstream.address, handle.spec.upstream.port)


# -- who is who


def followers_of(ctx: Context) -> list[Instance]:
    """Those that will follow the candidate: the declared primary, and who follows that or the candidate now."""
    return [row for row in members_ready(ctx) if row.pk != ctx.instance.pk and _will_follow(row, ctx.instance)]


def _will_follow(row: Instance, candidate: Instance) -> bool:
    pair = getattr(row, "pair", None)
    return row.role == Instance.Role.PRIMARY or (pair is not None and (pair.upstream_id == candidate.pk or not pair.cascaded))


def _standbys_of(ctx: Context) -> list[Instance]:
    """Once the roles are recorded: the standbys that follow the new primary, those in quarantine and the old primary left out."""
    rows = [row for row in members_ready(ctx) if row.quarantined_at is None and row.name != ctx.params.get("old_primary")]
    return [row for row in rows if (pair := getattr(row, "pair", None)) is not None and pair.upstream_id == ctx.instance.pk]


def following(spec: InstanceSpec, upstream: InstanceSpec) -> InstanceSpec:
    """The instance as it is once it follows `upstream`."""
    slot = slot_name(spec.cluster, spec.name)
    return replace(spec, role="standby", upstream=Upstream(upstream.name, upstream.address, upstream.port, slot))
