"""Failover: the primary is gone, and a standby takes over. What may be lost is said before, and each danger is allowed by its own name.

The order is the safety: ask on several paths whether the primary is really gone; fence it as well as can be; cut every
standby off from it; only then compare how far each of them is. Source: safety.md 3(b); PostgreSQL manual, "Failover".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import EngineSilent, InstanceHandle, ToolFailed
from clusters.machines import ask_again
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres import commands, containers, files, rules
from clusters.postgres.facts import Lsn
from clusters.postgres.promotion_facts import Fence, PromotionFacts, ahead_of_candidate, loss_bytes, quorum_seen
from clusters.postgres.rejoin_commands import wal_read
from clusters.postgres.waldump import WalReader
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.hearing import Hearing
from tasks.workflows.looking import members_ready, promotion_facts_of
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.planning import planned, planned_change, planned_cluster, planned_fence, planned_primary, planned_rows
from tasks.workflows.promoting import (
    candidate_promoted,
    epoch_marked,
    epoch_plan,
    epoch_raised,
    followers_plan,
    followers_turned,
    mark_plan,
    primary_file_plan,
    primary_file_written,
    promote_plan,
    promotion_seen,
    roles_recorded,
    slots_made,
    slots_plan,
    slots_taken_away,
)
from tasks.workflows.rejoining import control_of, history_of, wal_end
from tasks.workflows.step import PointOfNoReturn, Refused, Step, StepFailed, Workflow
from tasks.workflows.succession import cluster_verified, slots_tidied, slots_tidied_plan, succession_summary, verify_plan

TRIES: Final = 3
#: So many of the lost transactions are named; all are counted.
NAMED: Final = 100
BETWEEN_SECONDS: Final = 0.3
STOP_SECONDS: Final = 10
DETACH_SECONDS: Final = 20.0
#: These cannot be judged before the standbys are cut off, or the old primary's WAL was read.
JUDGED_LATER: Final = frozenset({"possible_data_loss", "not_most_advanced", "unfenced_primary"})


def primary_asked(ctx: Context) -> str:
    """Ask on every path, three times, whether the primary is really gone"""
    rows = members_ready(ctx)
    old = _old(ctx)
    hearing, heard = Hearing(old), list[str]()
    reachable, runs = False, False
    for attempt in range(TRIES):
        if attempt:
            ctx.pause(BETWEEN_SECONDS)
        ask_again()
        heard = hearing.look(ctx, rows)
        if not reachable:
            reachable, runs = _on_its_server(ctx, old)
        ctx.say(f"Look {attempt + 1} of {TRIES}: " + ("; ".join(heard) if heard else f"nobody hears {old.spec.name}") + ".")
    ctx.keep_now(heard=heard, reachable=reachable, runs=runs)
    ctx.result(evidence={"heard": heard, "server_reachable": reachable, "server_runs": runs})
    expected: dict[str, Any] = {"fence": _expected_fence(ctx, reachable), "primary_full": _full(ctx, old) if reachable else ""}
    facts = [replace(hearing.told(found), **expected) for found in promotion_facts_of(ctx, _candidates(ctx, rows))]
    _refused_early(ctx, facts)
    where = "its server answers" if reachable else "its server does not answer either"
    return f"{old.spec.name} does not accept sessions; {where}." if not heard else f"{'; '.join(heard)}. The request allows to go on."


def primary_cut_off(ctx: Context) -> str:
    """Fence the old primary and stop it, where its server can be reached"""
    old, before = _old(ctx), ctx.state_of(primary_asked.__name__)
    if not before["reachable"]:
        if confirmed := _confirmed(ctx):
            return confirmed
        ctx.warn(f"Nobody can make sure that {old.spec.name} is stopped: its server does not answer.")
        return f"{old.spec.name} is not fenced. Keep applications away from {old.spec.address}:{old.spec.port}."
    why = f"job {ctx.job.pk}: failover, epoch {ctx.cluster.epoch + 1}"
    try:
        old.fence(why)
        if old.is_up():
            _stopped(ctx, old)
    except EngineSilent as silent:
        ctx.warn(f"{silent.what} It is fenced and ended without its engine.")
        return _ended_without_engine(ctx, old, why)
    ctx.keep_now(fence="stopped")
    return f"{old.spec.name} is stopped, and cannot come up writable."


def primary_let_go(ctx: Context) -> str:
    """Take the fence off the old primary; start it again if it ran"""
    old, before = _old(ctx), ctx.state_of(primary_asked.__name__)
    if not before.get("reachable"):
        return "Nothing was done to it."
    old.unfence(as_primary=True)
    if before.get("runs") and not old.is_running():
        old.start()
        return f"{old.spec.name} runs again, as the primary."
    return f"{old.spec.name} is as it was found."


def standbys_detached(ctx: Context) -> str:
    """Cut every standby off from the old primary, and wait until none of them receives"""
    detached, silent = [], []
    ask_again()
    for row in _direct(ctx):
        handle = ctx.handle(row)
        try:
            _detach(ctx, handle)
            detached.append(row.name)
        except HostError as error:
            ctx.warn(f"{row.name} could not be detached: {error.what}")
            silent.append(row.name)
    ctx.keep(detached=detached)
    if not detached:
        raise StepFailed("No standby answers, so there is nobody to promote.", "Bring a standby or the primary back, then ask again.")
    return f"{', '.join(detached)} receive nothing any more." + (f" Not reached: {', '.join(silent)}." if silent else "")


def standbys_attached(ctx: Context) -> str:
    """Let the standbys follow the old primary again"""
    silent = []
    for row in _direct(ctx):
        handle = ctx.handle(row)
        try:
            handle.put_files([files.render_replication_conf(handle.spec)])
            if handle.is_running():  # also where the file is so already: a worker before this one may have died before the reload
                handle.reload()
        except HostError as error:
            ctx.warn(f"{row.name} could not be told to follow the old primary again: {error.what}")
            silent.append(row.name)
    told = "Every standby is told to follow the old primary again."
    return f"{told} Not reached: {', '.join(silent)}." if silent else told


def candidate_chosen(ctx: Context) -> str:
    """Read how far each standby is, now that nothing moves, and choose the one to promote"""
    fence: Fence = ctx.state_of(primary_cut_off.__name__)["fence"]
    end = _primary_end(ctx)
    found = promotion_facts_of(ctx, _candidates(ctx, members_ready(ctx)))
    found = [replace(one, fence=_fence(fence, one), primary_end=end) for one in found]
    wanted = str(ctx.params.get("to") or "") or rules.best_candidate(found) or ""
    chosen = next((one for one in found if one.candidate.name == wanted), None)
    if chosen is None:
        raise Refused([obstacle for one in found for obstacle in rules.failover_obstacles(one) if obstacle.severity == "blocks"])
    _loss_said(ctx, chosen)
    obstacles_heeded(ctx, rules.failover_obstacles(chosen), flags=ctx.params.get("flags") or ())
    ctx.choose(_row(ctx, chosen.candidate.name))
    ahead = [member.name for member in chosen.siblings if member.now and member.place > chosen.candidate.place]
    assert chosen.candidate.facts is not None, "a rule has refused one that does not answer"
    ctx.keep_now(lsn=str(chosen.candidate.facts.lsn), timeline=chosen.candidate.facts.timeline, ahead=ahead, fence=chosen.fence)
    return f"{wanted} is chosen: it has timeline {chosen.candidate.facts.timeline} up to {chosen.candidate.facts.lsn}."


def sync_relaxed(ctx: Context) -> str:
    """Let commits wait for fewer standbys, where the request allows it"""
    if "relax_sync" not in (ctx.params.get("flags") or ()) or ctx.cluster.sync_mode == "async":
        return "Commits wait for as many standbys as before."
    ctx.keep_now(mode=ctx.cluster.sync_mode, count=ctx.cluster.sync_count)
    services.cluster_record_sync(ctx.cluster, "async", 0)
    candidate = ctx.handle(_row(ctx, ctx.instance.name))
    if candidate.put_files([_detached_file(candidate)]):
        candidate.reload()
    return "Commits wait for no standby from now on, until synchronous replication is declared anew."


def sync_restored(ctx: Context) -> str:
    """Let commits wait for as many standbys as before"""
    if "mode" in ctx.state:
        services.cluster_record_sync(ctx.cluster, ctx.state["mode"], ctx.state["count"])
    return "Commits wait for as many standbys as before."


def old_primary_quarantined(ctx: Context) -> str:
    """Keep the old primary, and whoever has WAL that the new one lacks, from coming back by themselves"""
    chosen = ctx.state_of(candidate_chosen.__name__)
    names = [ctx.params["old_primary"], *chosen["ahead"]]
    for name in names:
        reason = f"Job #{ctx.job.pk} failed over to {ctx.instance.name}; it may have WAL past {chosen['lsn']} that the new primary lacks."
        services.instance_quarantine(_row(ctx, name), reason)
    return f"{', '.join(names)} in quarantine: stopped whenever seen running, until rejoined."


def outcome_recorded(ctx: Context) -> str:
    """Put down what the failover was, for scripts and for the audit trail"""
    chosen, recorded = ctx.state_of(candidate_chosen.__name__), ctx.state_of(roles_recorded.__name__)
    ctx.result(
        cluster=ctx.cluster.name,
        old_primary=ctx.params["old_primary"],
        new_primary=ctx.instance.name,
        epoch=ctx.cluster.epoch,
        old_timeline=chosen["timeline"],
        timeline=recorded["timeline"],
        promoted_lsn=chosen["lsn"],
        fence=chosen["fence"],
        flags=list(ctx.params.get("flags") or []),
    )
    return f"{ctx.instance.name} took over at {chosen['lsn']}; the old primary is {ctx.params['old_primary']} ({chosen['fence']})."


# -- is it gone?


def _on_its_server(ctx: Context, old: InstanceHandle) -> tuple[bool, bool]:
    """(Whether its server answers, whether PostgreSQL runs there)."""
    try:
        return True, old.is_running()
    except EngineSilent as silent:  # its server answers, so it can be fenced there
        ctx.warn(silent.what)
        return True, True
    except HostError as error:
        ctx.warn(error.what)
        return False, False


def _full(ctx: Context, old: InstanceHandle) -> str:
    """What takes the space where the disk of its data is full; empty where it is not, or nobody can tell."""
    try:
        return old.space_eaters()
    except HostError as error:
        ctx.warn(f"Whether its disk is full cannot be told. {error.what}")
        return ""


def _expected_fence(ctx: Context, reachable: bool) -> Fence:
    if reachable:
        return "stopped"
    return "confirmed" if ctx.params.get("power_off") else "none"


def _fence(found: Fence, facts: PromotionFacts) -> Fence:
    """Without a better one, a quorum of detached synchronous standbys keeps the old primary from acknowledging anything."""
    return "quorum" if found == "none" and quorum_seen(facts) else found


def _refused_early(ctx: Context, found: Sequence[PromotionFacts]) -> None:
    """Refuse what is certain already, before anything is touched."""
    wanted = str(ctx.params.get("to") or "") or rules.best_candidate(found)
    chosen = [one for one in found if one.candidate.name == wanted] or list(found)
    flags = ctx.params.get("flags") or ()
    obstacles = [obstacle for one in chosen for obstacle in rules.failover_obstacles(one)]
    now = [one for one in obstacles if one.severity == "blocks" or (one.severity == "flag" and one.name not in {*flags, *JUDGED_LATER})]
    if now and (wanted or not chosen or all(one.severity == "blocks" for one in now)):
        raise Refused(obstacles)
    if not found:
        raise StepFailed("This cluster has no standby that could take over.", "Start the primary again, or restore a backup.")


# -- cutting off


def _ended_without_engine(ctx: Context, old: InstanceHandle, why: str) -> str:
    """The engine will start it again when it is back: then the start guard reads the mark, and PostgreSQL its standby.signal."""
    old.mark_fenced(why)
    if old.end_processes():
        ctx.keep_now(fence="stopped")
        return f"No process of {old.spec.name} is left, and it cannot come up writable. Its engine does not answer."
    if confirmed := _confirmed(ctx):
        return confirmed
    ctx.warn(f"Nobody can make sure that {old.spec.name} is stopped: its engine does not answer, and its processes are not to be seen.")
    return f"{old.spec.name} cannot come up writable, and may be running still."


def _confirmed(ctx: Context) -> str:
    """Puts down whether a person answers for it that the server is off, since nobody can make sure; who does, in a sentence."""
    confirmed = ctx.params.get("power_off")
    ctx.keep_now(fence="confirmed" if confirmed else "none")
    return f"{ctx.job.requested_by_name} confirms that {confirmed} is off or cut from the network." if confirmed else ""


def _stopped(ctx: Context, old: InstanceHandle) -> None:
    """It must end: by a clean stop, else at once, else by force. Committed work is in its WAL in each case."""
    if old.stop_and_read(STOP_SECONDS) is None:
        ctx.warn(f"{old.spec.name} had not stopped after {STOP_SECONDS} s; it is stopped at once.")
        try:
            old.stop("immediate", STOP_SECONDS)
        except ToolFailed as error:
            ctx.warn(f"{error.what} Its processes are killed.")
            old.kill()
    end = time.monotonic() + STOP_SECONDS
    while old.is_up():
        if time.monotonic() > end:
            raise StepFailed(f"{old.spec.name} cannot be stopped on its server.", "End its processes there, then ask again.")
        ctx.pause(0.05)


def _detach(ctx: Context, handle: InstanceHandle) -> None:
    if handle.put_files([_detached_file(handle)]) or handle.observe().receiver is not None:
        handle.reload()
    end = time.monotonic() + DETACH_SECONDS
    while handle.observe().receiver is not None:
        if time.monotonic() > end:
            what = f"{handle.spec.name} still has a WAL receiver {DETACH_SECONDS:.0f} s after its primary_conninfo was emptied."
            raise StepFailed(what, "Look at its log, then ask again.")
        ctx.pause(0.02)


def _detached_file(handle: InstanceHandle) -> files.File:
    return files.render_replication_conf(replace(handle.spec, upstream=None))


def _direct(ctx: Context) -> list[Instance]:
    """The standbys that follow the old primary."""
    old = ctx.params["old_primary"]
    rows = [row for row in members_ready(ctx) if row.quarantined_at is None]
    return [row for row in rows if (pair := getattr(row, "pair", None)) is not None and pair.upstream.name == old]


# -- choosing


def _candidates(ctx: Context, rows: Sequence[Instance]) -> list[Instance]:
    return [row for row in rows if row.role == Instance.Role.STANDBY and row.quarantined_at is None]


def _primary_end(ctx: Context) -> Lsn | None:
    """Where the stopped primary's WAL ends; None where its server does not answer, or it cannot be read."""
    if ctx.state_of(primary_cut_off.__name__)["fence"] != "stopped":
        return None
    old = _old(ctx)
    control = control_of(old)
    return wal_end(ctx, old, control, history_of(old, control.timeline)) if control else None


def _lost_commits(ctx: Context, since: Lsn) -> WalReader | None:
    """The commits that the stopped primary has past this place, counted from its own WAL; None where it cannot be read."""
    old = _old(ctx)
    control = control_of(old)
    if control is None:
        return None
    reader = WalReader(control.wal_segment_bytes)
    old.read_lines(wal_read(old.spec, control.timeline, since), reader.take)
    return None if reader.missing else reader


def _loss_said(ctx: Context, facts: PromotionFacts) -> None:
    """The bound of what is lost, in bytes, and in commits where the old primary's own WAL can be read."""
    proven, loss = quorum_seen(facts) and not ahead_of_candidate(facts), loss_bytes(facts)
    bound: dict[str, Any] = {"bytes": 0 if proven else loss, "exact": facts.loss_known or proven, "commits": 0 if proven else None}
    if proven:
        ctx.say("Every commit that was acknowledged is on a standby that answers: none of them is lost.")
    elif facts.loss_known and facts.candidate.facts:
        reader = _lost_commits(ctx, facts.candidate.facts.lsn)
        if reader:
            bound |= {"commits": reader.commits, "xids": reader.xids[:NAMED], "first": reader.first_commit, "last": reader.last_commit}
            ctx.say(f"{facts.candidate.name} lacks {reader.commits} commits that {facts.primary_name} has in its WAL ({loss} bytes).")
    ctx.result(loss_bound=bound, fence=facts.fence)


def _old(ctx: Context) -> InstanceHandle:
    return ctx.handle(_row(ctx, str(ctx.params["old_primary"])))


def _row(ctx: Context, name: str) -> Instance:
    return ctx.cluster.instances.select_related("server", "cluster").get(name=name)


# -- plans: what is done to the candidate is said for each that may be chosen


@dataclass
class _Choice:
    """The request as if this standby had been named."""

    kind: Any
    params: Any
    cluster: Any
    instance: Any
    server: Any = None


def _for_each(plan: Callable[[PlanRequest], Iterable[PlanItem]]) -> Callable[[PlanRequest], Iterable[PlanItem]]:
    """Where the request leaves it open who is promoted, the plan says it of every standby; one of them it will be."""

    def planned_for_each(request: PlanRequest) -> Iterable[PlanItem]:
        if request.instance is not None:
            return list(plan(request))
        rows = planned_cluster(request).instances.select_related("server", "cluster").order_by("name")
        standbys = rows.filter(role=Instance.Role.STANDBY, lifecycle=Lifecycle.READY, quarantined_at=None)
        return [item for row in standbys for item in plan(_Choice(request.kind, request.params, request.cluster, row))]

    return planned_for_each


def _fence_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec, epoch = planned_primary(request), planned_cluster(request).epoch + 1
    why = f"job {JOB_NUMBER}: failover, epoch {epoch}"
    yield from planned_fence(spec, why)
    yield from planned(
        spec,
        commands.stop_and_read(spec, STOP_SECONDS),
        commands.pg_ctl_stop(spec, "immediate", STOP_SECONDS),
        commands.kill_server(spec),
        *((containers.end_processes(spec),) if spec.container else ()),
    )


def _detach_plan(request: PlanRequest) -> Iterable[PlanItem]:
    primary = planned_primary(request).name
    for spec in planned_rows(request):
        if spec.upstream and spec.upstream.name == primary:
            detached = files.render_replication_conf(replace(spec, upstream=None))
            yield from planned_change(spec, files.render_replication_conf(spec), detached)
            yield from planned(spec, commands.pg_ctl_reload(spec))


WORKFLOW = Workflow(
    steps=(
        Step(primary_asked),
        Step(primary_cut_off, undo=primary_let_go, plan=_fence_plan),
        Step(standbys_detached, undo=standbys_attached, plan=_detach_plan),
        Step(candidate_chosen),
        Step(slots_made, undo=slots_taken_away, plan=_for_each(slots_plan)),
        Step(epoch_raised, plan=epoch_plan),
        Step(sync_relaxed, undo=sync_restored),
        PointOfNoReturn(),
        Step(candidate_promoted, once=True, observe=promotion_seen, plan=_for_each(promote_plan)),
        Step(epoch_marked, plan=_for_each(mark_plan)),
        Step(roles_recorded),
        Step(old_primary_quarantined),
        Step(primary_file_written, plan=_for_each(primary_file_plan)),
        Step(followers_turned, plan=_for_each(partial(followers_plan, detached=True))),
        Step(outcome_recorded),
        Step(slots_tidied, plan=_for_each(slots_tidied_plan)),
        Step(cluster_verified, plan=_for_each(verify_plan)),
    ),
    summary=succession_summary,
)
