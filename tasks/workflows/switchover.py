"""Switchover: the primary and a standby change places, and no acknowledged commit is lost.

Everything slow is done while the primary still works. Then: it is fenced, stopped, and the candidate is proven to have
replayed its very last record; only then the point of no return is crossed. Any failure before it starts the old primary
again, writable, by itself. Source: safety.md 3(a); PostgreSQL manual, "Failover" and "Cleanly Shutting Down".
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from clusters import services
from clusters.hosts.machine import HostError, MachineUnreachable
from clusters.instances import InstanceHandle, KeptSession
from clusters.postgres import commands, files, rules
from clusters.postgres.facts import ControlData, Lsn
from clusters.postgres.statements import CHECKPOINT, IN_RECOVERY, POSITIONS, Call
from clusters.sessions import InstanceUnreachable
from tasks.context import Context
from tasks.patience import patiently
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.gap import gap_measured, gap_plan, measuring_begun, measuring_ended
from tasks.workflows.looking import promotion_facts
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.planning import planned, planned_change, planned_cluster, planned_fence, planned_primary, planned_spec, planned_unfence
from tasks.workflows.promoting import (
    candidate_promoted,
    candidate_session,
    epoch_marked,
    epoch_plan,
    epoch_raised,
    followers_plan,
    followers_turned,
    following,
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
from tasks.workflows.step import NeedsOperator, PointOfNoReturn, Step, StepFailed, Workflow
from tasks.workflows.succession import cluster_verified, slots_tidied, slots_tidied_plan, succession_summary, verify_plan

STOP_SECONDS: Final = 30  # unless the request says otherwise
PROOF_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.002
#: Nobody can write meanwhile, so a candidate that has died must be taken for dead soon.
CUTS: Final = 3
CUT_SECONDS: Final = 0.2
LAG_BYTES: Final = 1024 * 1024
LAG_SECONDS: Final = 30.0
#: A checkpoint that took longer has left much to write again: one more makes the stop short.
SHORT_CHECKPOINT_SECONDS: Final = 1.0
CHECKPOINTS: Final = 3


def members_checked(ctx: Context) -> str:
    """Look at every member, and check that the candidate may take over"""
    facts = promotion_facts(ctx, ctx.instance)
    obstacles_heeded(ctx, rules.switchover_obstacles(facts), flags=ctx.params.get("flags") or ())
    seen = facts.primary.facts if facts.primary else None
    assert seen is not None, "the rules have refused anything else"
    ctx.keep(timeline=seen.timeline, system_identifier=seen.system_identifier)
    return f"{ctx.instance.name} can take over from {ctx.params['old_primary']}, on timeline {seen.timeline}."


def connections_opened(ctx: Context) -> str:
    """Open the connection over which the candidate will be promoted, and start the canary writer"""
    candidate_session(ctx)
    return f"A session with {ctx.instance.name} is open. {measuring_begun(ctx)}"


def checkpoints_written(ctx: Context) -> str:
    """Write a checkpoint on the primary, then on the candidate, so that the stop has little left to write"""
    old, candidate = _old(ctx), ctx.handle(ctx.instance)
    for _again in range(CHECKPOINTS):
        began = time.monotonic()
        checkpoint(old)
        seconds = time.monotonic() - began
        if seconds < SHORT_CHECKPOINT_SECONDS:
            break
    checkpoint(candidate)
    return f"The last checkpoint on {old.spec.name} took {seconds * 1000:.0f} ms. {_caught_up(ctx, old, candidate)}"


def primary_fenced(ctx: Context) -> str:
    """Fence the primary: whoever starts it from now on, it cannot come up writable"""
    old = _old(ctx)
    old.fence(f"job {ctx.job.pk}: switchover to {ctx.instance.name}, epoch {ctx.cluster.epoch}")
    return f"{old.spec.fenced_file} and standby.signal are there; {old.spec.name} itself goes on as it is."


def primary_unfenced(ctx: Context) -> str:
    """Take the fence away again"""
    old = _old(ctx)
    old.unfence(as_primary=True)
    return f"{old.spec.name} is not fenced any more."


def primary_stopped(ctx: Context) -> str:
    """Stop the primary, and prove that the candidate has everything it wrote"""
    old, candidate, before = _old(ctx), candidate_session(ctx), ctx.state_of(members_checked.__name__)
    seconds = int(ctx.params.get("stop_seconds") or STOP_SECONDS)
    began = time.time()
    control = old.stop_and_read(seconds)
    if control is None:
        raise StepFailed(
            f"{old.spec.name} had not stopped after {seconds} s, so nobody is promoted.",
            "Look what it waited for (its log, pg_stat_replication, the archive). A longer stop can be allowed in the request.",
        )
    _clean_end(old.spec.name, control, before["timeline"], before["system_identifier"])
    replayed = _proven(old.spec.name, control, candidate)
    ctx.keep(stopping_at=began, shutdown_lsn=str(control.checkpoint_lsn), proven_lsn=str(replayed))
    return (
        f"{old.spec.name} is shut down at {control.checkpoint_lsn} on timeline {control.timeline}; "
        f"{ctx.instance.name} has replayed up to {replayed}, all of it."
    )


def primary_brought_back(ctx: Context) -> str:
    """Bring the old primary back, writable"""
    old = _old(ctx)
    _nobody_was_promoted(ctx)
    if _still_writable(old):
        old.unfence(as_primary=True)
        return f"{old.spec.name} had not stopped: it accepts writes."
    if old.is_running():
        old.end_senders()
    if old.stop_and_read(int(ctx.params.get("stop_seconds") or STOP_SECONDS) + STOP_SECONDS) is None:
        raise StepFailed(
            f"{old.spec.name} is still stopping, and cannot be started before it has stopped.",
            "Look what it waits for on its server; it is not killed by a switchover.",
        )
    old.unfence(as_primary=True)
    old.start()
    if not _still_writable(old):
        raise StepFailed(f"{old.spec.name} was started again and does not accept writes.", "Look at its log.")
    return f"{old.spec.name} is the primary again and accepts writes. Nobody was promoted."


def primary_returns(ctx: Context) -> str:
    """Let the old primary return as a standby of the new one"""
    try:
        return patiently(_returned, ctx)
    except StepFailed as error:
        old = _old(ctx)
        services.instance_quarantine(old.instance, f"It did not return after the switchover of job {ctx.job.pk}.")
        ctx.warn(f"{old.spec.name} did not return as a standby: {error.what} {error.hint}")
        return f"{old.spec.name} is kept in quarantine until it is rejoined; it holds nothing that {ctx.instance.name} lacks."


def _returned(ctx: Context) -> str:
    old = _old(ctx)
    old.put_files([files.render_replication_conf(old.spec), files.standby_signal(old.spec.data_directory)])
    if not old.is_running():
        old.start()
    old.unfence(as_primary=False)
    return f"{old.spec.name} runs as a standby of {ctx.instance.name}."


# -- the proof


def _clean_end(name: str, control: ControlData, timeline: int, system_identifier: str) -> None:
    """Raises: StepFailed where the control file does not tell of a clean stop of the primary that was looked at."""
    if control.state != "shut down":
        what = f"{name} does not run, and its control file says “{control.state}”, not “shut down”."
        raise StepFailed(what, "It may hold commits that were never sent. It is started again where it can be; look at its log.")
    if (control.timeline, control.system_identifier) != (timeline, system_identifier):
        what = f"{name} stopped on timeline {control.timeline} of system {control.system_identifier}, not on {timeline}."
        raise StepFailed(what, "Somebody has changed its data directory. Verify the cluster before anything else.")


def _proven(name: str, control: ControlData, candidate: KeptSession) -> Lsn:
    """How far the candidate has replayed, past the shutdown checkpoint. Raises: StepFailed where that cannot be proven.

    The end of what was replayed lies behind the beginning of the shutdown checkpoint's record: so that record, the last
    one a clean stop writes, was replayed as a whole. An exit code proves nothing: with a frozen WAL receiver the stop
    ends well after wal_sender_timeout, and the candidate has nothing of the last minute.
    """
    end = time.monotonic() + PROOF_SECONDS
    while True:
        row = _positions(candidate)
        replayed = Lsn.parse(row["replayed"]) if row["replayed"] else Lsn(0)
        if replayed > control.checkpoint_lsn:
            return replayed
        if time.monotonic() > end:
            raise StepFailed(
                f"{candidate.handle.spec.name} has replayed up to {replayed} only; {name} ended at {control.checkpoint_lsn}. "
                f"{control.checkpoint_lsn - replayed} bytes of WAL, and any commit in them, would be lost.",
                "Find out why the candidate does not receive or replay (its log, pg_stat_wal_receiver), then ask again.",
            )
        time.sleep(LOOK_SECONDS)


def _positions(candidate: KeptSession) -> dict[str, Any]:
    """A session that was cut at this moment says nothing about the candidate: it is asked again over a new one, but not for long."""
    for _cut in range(CUTS):
        try:
            return candidate.ask(Call(POSITIONS, {}, {}))[0]
        except (InstanceUnreachable, MachineUnreachable):
            time.sleep(CUT_SECONDS)
    return candidate.ask(Call(POSITIONS, {}, {}))[0]


def _nobody_was_promoted(ctx: Context) -> None:
    """Before the old primary is started again. Raises: NeedsOperator when the candidate accepts writes."""
    try:
        standby = ctx.handle(ctx.instance).query(Call(IN_RECOVERY, {}, {}))[0]["standby"]
    except (InstanceUnreachable, MachineUnreachable) as error:
        ctx.warn(f"{error.what} This job has not promoted it.")
        return
    if not standby:
        raise NeedsOperator(
            f"{ctx.instance.name} accepts writes, and this job has not promoted it: somebody else has. "
            f"{ctx.params['old_primary']} was left stopped and fenced.",
            "Find out who promoted it. If it is to stay the primary, give this job up and record it with a failover.",
        )


def _still_writable(old: InstanceHandle) -> bool:
    try:
        return not old.query(Call(IN_RECOVERY, {}, {}))[0]["standby"]
    except HostError:  # it has stopped, or is stopping: then it takes no session
        return False


def checkpoint(handle: InstanceHandle) -> None:
    call = Call(CHECKPOINT, {}, {})
    if handle.spec.major >= 15:
        handle.execute(call)
    else:
        handle.superuser_run([call])


def _caught_up(ctx: Context, old: InstanceHandle, candidate: InstanceHandle) -> str:
    """Wait until the candidate is nearly level: what it lacks is time without a primary. Raises: StepFailed."""
    end = time.monotonic() + LAG_SECONDS
    while (lag := max(0, old.observe().lsn - candidate.observe().lsn)) > LAG_BYTES:
        if time.monotonic() > end:
            what = f"{candidate.spec.name} stays {rules.size(lag)} behind {old.spec.name}."
            raise StepFailed(what, "Ask again at a quieter moment, or find out what slows it down.")
        ctx.pause(0.2)
    return f"{candidate.spec.name} is {rules.size(lag)} behind."


def _old(ctx: Context) -> InstanceHandle:
    name = str(ctx.params["old_primary"])
    return ctx.handle(ctx.cluster.instances.select_related("server", "cluster").get(name=name))


# -- plans


def _checkpoint_plan(request: PlanRequest) -> Iterable[PlanItem]:
    call = Call(CHECKPOINT, {}, {})
    yield from planned(planned_primary(request), call)
    yield from planned(planned_spec(request), call)


def _fence_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec, candidate = planned_primary(request), planned_spec(request)
    why = f"job {JOB_NUMBER}: switchover to {candidate.name}, epoch {planned_cluster(request).epoch + 1}"
    return planned_fence(spec, why)


def _stop_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_primary(request)
    return planned(spec, commands.stop_and_read(spec, int(request.params.get("stop_seconds") or STOP_SECONDS)))


def _return_plan(request: PlanRequest) -> Iterable[PlanItem]:
    before = planned_primary(request)
    old = following(before, planned_spec(request))
    yield from planned_change(old, files.render_replication_conf(before), files.render_replication_conf(old))
    yield from planned(old, commands.pg_ctl_start(old))
    yield from planned_unfence(old)


def outcome_recorded(ctx: Context) -> str:
    """Put down what the switchover was, for scripts and for the audit trail"""
    before, stopped, recorded = (
        ctx.state_of(step) for step in (members_checked.__name__, primary_stopped.__name__, roles_recorded.__name__)
    )
    values: dict[str, Any] = {
        "cluster": ctx.cluster.name,
        "old_primary": ctx.params["old_primary"],
        "new_primary": ctx.instance.name,
        "epoch": ctx.cluster.epoch,
        "old_timeline": before["timeline"],
        "timeline": recorded["timeline"],
        "shutdown_lsn": stopped["shutdown_lsn"],
        "proven_lsn": stopped["proven_lsn"],
    }
    ctx.result(**values)
    return gap_measured(ctx, stopped["stopping_at"])


WORKFLOW = Workflow(
    steps=(
        Step(members_checked),
        Step(slots_made, undo=slots_taken_away, plan=slots_plan),
        Step(epoch_raised, plan=epoch_plan),
        Step(connections_opened, undo=measuring_ended, plan=gap_plan),
        Step(checkpoints_written, plan=_checkpoint_plan),
        Step(primary_fenced, undo=primary_unfenced, plan=_fence_plan),
        Step(primary_stopped, undo=primary_brought_back, plan=_stop_plan),
        PointOfNoReturn(),
        Step(candidate_promoted, once=True, observe=promotion_seen, plan=promote_plan),
        Step(epoch_marked, plan=mark_plan),
        Step(roles_recorded),
        Step(primary_file_written, plan=primary_file_plan),
        Step(followers_turned, plan=followers_plan),
        Step(primary_returns, plan=_return_plan),
        Step(outcome_recorded),
        Step(slots_tidied, plan=slots_tidied_plan),
        Step(cluster_verified, plan=verify_plan),
    ),
    summary=succession_summary,
)
