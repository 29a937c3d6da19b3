"""Rejoin: an instance that has left its cluster's replication, an old primary above all, follows again.

By the least that is possible, and never by more than the request allows: direct where its data is a part of what its
upstream has; else pg_rewind, after a full copy of its data was kept; else a base backup, with its data put aside. What only
it has is told, and put down, before anything of it is undone. Source: safety.md 3(d); pg_rewind's manual page.

Rolling back leaves the instance as it was: stopped, fenced, its own data in place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from clusters import services
from clusters.instances import InstanceHandle
from clusters.models import Instance, KeptCopy
from clusters.ownership import made_command, unmade_command
from clusters.postgres import commands, files, rejoin_commands, rules
from clusters.postgres.facts import Lsn
from clusters.postgres.files import File
from clusters.postgres.guard import guard_files
from clusters.postgres.history import Stretch
from clusters.postgres.names import slot_name
from clusters.postgres.rejoin_facts import WAYS, RejoinFacts
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import CHECKPOINT, Call
from clusters.selectors import instance_spec
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest
from tasks.workflows.copying import (
    BASEBACKUP,
    VERIFYBACKUP,
    comparison_plan,
    copy_compared,
    copy_plan,
    copy_taken_away,
    copy_target,
    upstream_copied,
    verification_ended,
)
from tasks.workflows.judging import Marker, pair_judged
from tasks.workflows.keeping import (
    KEEP,
    copy_made,
    copy_recorded,
    copy_unrecorded,
    data_brought_back,
    data_of,
    data_renamed,
    free_name,
    rename_commands,
    root_of,
    spare_of,
)
from tasks.workflows.keeping import copy_taken_away as kept_copy_taken_away
from tasks.workflows.looking import member_looked
from tasks.workflows.marker import marker_arrived, marker_plan, marker_write
from tasks.workflows.observing import instance_observed, streaming_awaited
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.place import files_put, server_stopped
from tasks.workflows.planning import planned, planned_fence, planned_instance, planned_spec, planned_unfence
from tasks.workflows.rejoining import lost_sentence, lost_writes, rejoin_facts
from tasks.workflows.slots import create_call, drop_call, slot_dropped, slot_ensured, unowned_dropped
from tasks.workflows.step import NeedsOperator, Step, StepFailed, Workflow
from tasks.workflows.synchronous import Wish, names_brought, names_put_back, planned_counting
from tasks.workflows.units import planned_unit, unit_name, unit_run

RECOVER: Final = "recover"
DRY_RUN: Final = "rewind-dry-run"
REWIND: Final = "rewind"
UNITS: Final = (KEEP, RECOVER, DRY_RUN, REWIND, BASEBACKUP, VERIFYBACKUP)
NOT_NEEDED: Final = "Not needed on this way."
#: A rewound instance replays from the last common checkpoint on before it answers.
START_SECONDS: Final = 600
#: So many transactions stand in the job's result and the audit trail; the report beside the kept copy has more.
XIDS_IN_RESULT: Final = 100


def rejoin_judged(ctx: Context) -> str:
    """Look at the instance and at whom it would follow, and refuse what is not possible"""
    facts = rejoin_facts(ctx)
    obstacles_heeded(ctx, rules.rejoin_obstacles(facts), ctx.params["flags"])
    return f"{facts.target_name} can follow {facts.source_name} again: {_way_words(rules.rejoin_way(facts))}."


def target_stopped(ctx: Context) -> str:
    """Stop the instance, and keep it from coming up as a primary"""
    target = ctx.handle(ctx.instance)
    if "was" not in ctx.state:
        ctx.keep_now(was=_was(target), fenced=target.fenced())
    if target.is_up():
        target.stop()
    _fence(ctx, target)
    return f"{target.spec.name} is stopped and fenced."


def target_as_it_was(ctx: Context) -> str:
    """Leave it as it was found: only what ran as a standby runs again"""
    target, before = ctx.handle(ctx.instance), ctx.state
    if "was" not in before:
        return "Nothing was changed."
    if before["fenced"] is None and ctx.instance.quarantined_at is None and before["was"] != "primary":
        target.unfence(as_primary=False)
    if before["was"] == "standby" and ctx.instance.quarantined_at is None and not target.is_running():
        target.start()
        return f"{target.spec.name} runs as a standby again, as before."
    return f"{target.spec.name} is stopped{' and fenced' if target.fenced() is not None else ''}, with its own data."


def source_checkpointed(ctx: Context) -> str:
    """Write a checkpoint on whom it will follow, so that its control file tells its timeline"""
    source = _source(ctx)
    source.superuser_run([Call(CHECKPOINT, {}, {})])
    return f"{source.spec.name} has written a checkpoint."


def way_chosen(ctx: Context) -> str:
    """Find where its WAL left the cluster's, and choose the way back"""
    facts = rejoin_facts(ctx)
    obstacles_heeded(ctx, rules.rejoin_obstacles(facts), ctx.params["flags"])
    ctx.keep_now(**_chosen(facts))
    chosen = ctx.state
    ctx.result(way=chosen["way"], fork_lsn=chosen["fork"], fork_timeline=chosen["fork_timeline"], end_lsn=chosen["end"])
    where = f"; its WAL left the cluster's at {chosen['fork']} and ends at {chosen['end']}" if chosen["stretches"] else ""
    return f"It returns {_way_words(chosen['way'])}{where}."


def losses_reported(ctx: Context) -> str:
    """Say which writes only it has: they will be gone from the cluster"""
    chosen = ctx.state_of(way_chosen.__name__)
    if not chosen["stretches"]:
        known = chosen["way"] == "direct" or chosen["fork"] is not None
        ctx.keep_now(lost=None)
        ctx.result(lost_writes=None)
        return "It has nothing that the cluster has not." if known else "What only it has cannot be told; its data is kept."
    stretches = [Stretch(tli, Lsn.parse(begin), Lsn.parse(end) if end else None) for tli, begin, end in chosen["stretches"]]
    lost = lost_writes(ctx, stretches, Lsn.parse(chosen["end"]), chosen["segment_bytes"])
    row = lost.as_row()
    ctx.keep_now(lost=row)
    ctx.result(lost_writes={**row, "xids": row["xids"][:XIDS_IN_RESULT], "relations": row["relations"][:XIDS_IN_RESULT]})
    if row["incomplete"]:
        ctx.warn(f"Not all of it could be read: {row['incomplete']}")
    return lost_sentence(lost, ctx.instance.name)


def slot_ready(ctx: Context) -> str:
    """Make sure of its replication slot on its upstream"""
    upstream, slot = _source(ctx), ctx.instance.pair.slot
    seen = upstream.observe().slot(slot)
    if seen is not None and not seen.active and (seen.wal_status == "lost" or seen.restart_lsn is None):
        upstream.superuser_run([drop_call(slot)])
        seen = None
    if seen is None:
        ctx.keep_now(made=True)
    kept_from = slot_ensured(upstream, ctx.handle(ctx.instance), slot)
    return f"The slot {slot} keeps the WAL on {upstream.spec.name} from {kept_from} on."


def slot_taken_away(ctx: Context) -> str:
    """Drop the slot, if this job has made it"""
    if not ctx.state.get("made"):
        return "The slot was there before."
    return slot_dropped(ctx, _source(ctx), ctx.instance.pair.slot)


def copy_kept(ctx: Context) -> str:
    """Keep a full copy of its data"""
    if _way(ctx) != "rewind":
        return NOT_NEEDED
    target = ctx.handle(ctx.instance)
    root = copy_made(ctx, target)
    size = _recorded(ctx, target, KeptCopy.Origin.DIVERGED, root)
    return f"A copy of all its data is {data_of(root)} ({size})."


def copy_given_up(ctx: Context) -> str:
    """Delete the copy, since the data itself is in its place"""
    target, root = ctx.handle(ctx.instance), root_of(ctx.handle(ctx.instance).spec, ctx.job.pk)
    if _touched(ctx) and target.machine.exists(data_of(root)):
        raise NeedsOperator(
            f"The old data of {target.spec.name} is still in {root}, and its place is not known to be whole.",
            "Look at both directories. Nothing was deleted.",
        )
    kept_copy_taken_away(ctx, target)
    copy_unrecorded(ctx, target, "purged")
    return "There is no second copy of its data."


def data_rewound(ctx: Context) -> str:
    """Undo in its data what only it has (pg_rewind)"""
    if _way(ctx) != "rewind":
        return NOT_NEEDED
    if "given_up" in ctx.state:
        return str(ctx.state["given_up"])
    target = ctx.handle(ctx.instance)
    ctx.keep_now(began=True)  # from here on its place holds nothing that may be started, until this step is done
    failure = _rewind_failure(ctx, target)
    if not failure:
        _fence(ctx, target)  # pg_rewind has taken standby.signal away
        return f"The data of {target.spec.name} is what {_source(ctx).spec.name} has, up to what it streams next."
    if ctx.params["up_to"] != "basebackup":
        raise StepFailed(failure, "Its own data is put back into its place. Ask again with up_to basebackup, or look at what it printed.")
    ctx.warn(f"{failure} What pg_rewind left must not be started; a base backup is made instead, as the request allows.")
    ctx.keep_now(given_up=f"{failure} A base backup is made instead.")
    return str(ctx.state["given_up"])


def data_put_back(ctx: Context) -> str:
    """Put its own data back into its place"""
    target = ctx.handle(ctx.instance)
    for what in (RECOVER, DRY_RUN, REWIND):
        target.unit_end(unit_name(ctx, what))
    if not _touched(ctx):
        return "Its data was not touched."
    if data_brought_back(ctx, target):
        copy_unrecorded(ctx, target, "restored")
    return f"{target.spec.data_directory} holds its own data."


def data_copied(ctx: Context) -> str:
    """Copy the upstream's data (pg_basebackup)"""
    return upstream_copied(ctx, _source(ctx).spec) if _copies(ctx) else NOT_NEEDED


def copy_verified(ctx: Context) -> str:
    """Compare every copied file with the manifest (pg_verifybackup)"""
    return copy_compared(ctx) if _copies(ctx) else NOT_NEEDED


def data_exchanged(ctx: Context) -> str:
    """Put the old data aside and the copy into its place, by renames"""
    if not _copies(ctx):
        return NOT_NEEDED
    target, clone = ctx.handle(ctx.instance), copy_target(ctx.handle(ctx.instance).spec, ctx.job.pk)
    place, root = target.spec.data_directory, root_of(target.spec, ctx.job.pk)
    if target.machine.exists(clone):
        target.put_files([files.standby_signal(clone)])
        if target.machine.exists(place):
            _cleared(ctx, target, root)
        target.move(clone, place)
    kept = target.machine.exists(data_of(root))
    if kept and _way(ctx) == "basebackup":
        _recorded(ctx, target, KeptCopy.Origin.REPLACED, root)
    target.remove_made(target.spec.clone_directory(ctx.job.pk), ctx.job.pk)
    return f"The copy is {place}; the old data is {data_of(root)}." if kept else f"The copy is {place}; there was no old data."


def files_written(ctx: Context) -> str:
    """Write its own files: whom it follows, who may connect, the epoch"""
    target = ctx.handle(ctx.instance)
    target.put_guard()
    return files_put(target, _files(target.spec, ctx.instance))


def fence_lifted(ctx: Context) -> str:
    """Take it out of quarantine and its fence away: standby.signal alone makes it a standby"""
    target = ctx.handle(ctx.instance)
    if "reason" not in ctx.state:
        ctx.keep_now(reason=ctx.instance.quarantine_reason if ctx.instance.quarantined_at else None)
    services.instance_release(ctx.instance)  # before it starts: what is in quarantine and runs is stopped by whoever sees it
    target.unfence(as_primary=False)
    return f"{target.spec.name} may run, as a standby."


def fence_set(ctx: Context) -> str:
    """Fence it again, and put it back into quarantine"""
    target = ctx.handle(ctx.instance)
    _fence(ctx, target)
    if ctx.state.get("reason") is not None:
        services.instance_quarantine(ctx.instance, ctx.state["reason"])
    return f"{target.spec.name} is fenced{' and in quarantine' if ctx.instance.quarantined_at else ''}."


def target_started(ctx: Context) -> str:
    """Start PostgreSQL, and wait until it has replayed enough to answer"""
    target = ctx.handle(ctx.instance)
    if target.is_running():
        return "Already so: it runs."
    target.start(START_SECONDS)
    return f"{target.spec.name} answers at {target.spec.address}:{target.spec.port}."


def streaming_seen(ctx: Context) -> str:
    """See it stream through its slot"""
    source, target = _source(ctx), ctx.handle(ctx.instance)
    while True:
        before = _sent(source, target)
        try:
            return streaming_awaited(ctx, source, target, ctx.instance.pair.slot)
        except StepFailed:
            if (now := _sent(source, target)) is None or now == before:
                raise
            ctx.say(f"{target.spec.name} still catches up: it was sent the WAL up to {now}.")


def row_arrived(ctx: Context) -> str:
    """Write a marker row on the primary and read it on the instance"""
    primary = ctx.handle(_primary(ctx.instance))
    token = marker_write(ctx, primary)
    seconds = marker_arrived(ctx, ctx.handle(ctx.instance), token)
    return f"The row {token} was written on {primary.spec.name} and read on {ctx.instance.name} {seconds * 1000:.0f} ms later."


def commits_count_it(ctx: Context) -> str:
    """Let commits count on it again, where they wait for standbys"""
    if ctx.cluster.sync_mode == "async":
        return "Commits of this cluster wait for no standby."
    changed = names_brought(ctx, Wish(), primary_first=True)
    return f"synchronous_standby_names is up to date on {', '.join(changed)}." if changed else "Already so: every member has the list."


def commits_forget_it(ctx: Context) -> str:
    """Give every member the list that it had"""
    names_put_back(ctx)
    return f"No commit waits for {ctx.instance.name} that did not before."


def rejoin_recorded(ctx: Context) -> str:
    """Put down that it follows again, and clear away what the job needed"""
    target = ctx.handle(ctx.instance)
    pair_judged(ctx, ctx.instance.pair, Marker("read"))
    member_looked(ctx, ctx.instance)  # the fence is off: what the board rests on must say so
    if dropped := unowned_dropped(target):  # pg_rewind leaves those that it had as a primary; they would keep WAL for nobody
        ctx.say(f"Dropped on {target.spec.name}, where nobody uses them any more: {', '.join(dropped)}.")
    for unit in UNITS:
        target.unit_end(unit_name(ctx, unit))
    spare = spare_of(target.spec, ctx.job.pk)
    if target.machine.exists(spare):
        target.remove_made(spare, ctx.job.pk)
    root = root_of(target.spec, ctx.job.pk)
    kept = root if target.machine.exists(data_of(root)) else None
    ctx.result(cluster=ctx.cluster.name, instance=ctx.instance.name, upstream=ctx.instance.pair.upstream.name, kept_copy=kept)
    sentence = f"{ctx.instance.name} follows {ctx.instance.pair.upstream.name} again ({_done_by(ctx)})"
    return f"{sentence}; its old data is kept in {kept}." if kept else f"{sentence}."


# -- plans: what each way would use; the first step says which one it is


def _stop_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    yield from planned(spec, commands.pg_ctl_stop(spec))
    yield from planned_fence(spec, _why(JOB_NUMBER))


def _checkpoint_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned(instance_spec(planned_instance(request).pair.upstream), Call(CHECKPOINT, {}, {}))


def _slot_plan(request: PlanRequest) -> Iterable[PlanItem]:
    pair = planned_instance(request).pair
    return planned(instance_spec(pair.upstream), drop_call(pair.slot), create_call(pair.slot))


def _keep_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    root = root_of(spec, JOB_NUMBER)
    if not _permits(request, "rewind"):
        return ()
    copy = rejoin_commands.copy_data(spec, root)
    return planned(spec, made_command(root, JOB_NUMBER), copy, f"mv {root}/growing {data_of(root)}", _report_file(root, {}))


def _rewind_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    if not _permits(request, "rewind"):
        return
    signal = files.standby_signal(spec.data_directory).path
    yield from planned(spec, f"rm {signal}")
    yield from planned_unit(spec, RECOVER, rejoin_commands.recover_alone(spec))
    yield from planned_unit(spec, DRY_RUN, commands.pg_rewind(spec, dry_run=True))
    yield from planned_unit(spec, REWIND, commands.pg_rewind(spec))


def _copy_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    if _permits(request, "basebackup"):
        yield from copy_plan(spec)


def _verify_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return comparison_plan(spec) if _permits(request, "basebackup") else ()


def _exchange_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    if not _permits(request, "basebackup"):
        return ()
    clone, spare = copy_target(spec, JOB_NUMBER), spare_of(spec, JOB_NUMBER)
    after_rewind = (made_command(spare, JOB_NUMBER), f"mv {spec.data_directory} {spare}/one")
    last = (f"mv {clone} {spec.data_directory}", unmade_command(spec.clone_directory(JOB_NUMBER), JOB_NUMBER))
    report = _report_file(root_of(spec, JOB_NUMBER), {})
    return planned(spec, files.standby_signal(clone), *rename_commands(spec, JOB_NUMBER), *after_rewind, *last, report)


def _files_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, *guard_files(spec), *_files(spec, planned_instance(request)))


def _fence_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned_unfence(spec)


def _start_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec = planned_spec(request)
    return planned(spec, f"rm {spec.refused_file}", commands.pg_ctl_start(spec, START_SECONDS))


def _row_plan(request: PlanRequest) -> Iterable[PlanItem]:
    instance = planned_instance(request)
    return marker_plan(instance_spec(_primary(instance)), planned_spec(request), instance.cluster.epoch)


def _counting_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned_counting(planned_instance(request), with_it=True)


def _clear_plan(request: PlanRequest) -> Iterable[PlanItem]:
    spec, cluster = planned_spec(request), planned_instance(request).cluster
    others = cluster.instances.exclude(name=spec.name).order_by("name").values_list("name", flat=True)
    yield from planned(spec, *(drop_call(slot_name(spec.cluster, name)) for name in others))
    if _permits(request, "basebackup"):
        yield from planned(spec, unmade_command(spare_of(spec, JOB_NUMBER), JOB_NUMBER))


def _permits(request: PlanRequest, way: str) -> bool:
    return WAYS.index(request.params["up_to"]) >= [*WAYS].index(way)  # type: ignore[arg-type]


# -- helpers


def _source(ctx: Context) -> InstanceHandle:
    return ctx.handle(ctx.instance.pair.upstream)


def _primary(instance: Instance) -> Instance:
    return instance.cluster.instances.select_related("server", "cluster").get(role=Instance.Role.PRIMARY)


def _sent(source: InstanceHandle, target: InstanceHandle) -> Lsn | None:
    """How far its upstream has sent it WAL; None while it is not connected."""
    sender = source.observe().sender(target.spec.name)
    return sender.sent_lsn if sender else None


def _was(target: InstanceHandle) -> str:
    """How it was found: a primary, a standby, stopped, or running without an answer."""
    if not target.is_running():
        return "stopped"
    facts = instance_observed(target).facts
    return facts.role if facts else "unknown"


def _fence(ctx: Context, target: InstanceHandle) -> None:
    target.keep_down()
    mark, signal = files.fenced_file(target.spec, _why(ctx.job.pk)), files.standby_signal(target.spec.data_directory)
    known = [] if target.fenced() is not None else [mark]
    target.put_files([*known, signal] if target.machine.exists(target.spec.data_directory) else known)


def _why(job: int | str) -> str:
    return f"job {job}: rejoin"


def _files(spec: InstanceSpec, instance: Instance) -> list[File]:
    """Beside the guard's. Not postgresql.conf: what people have changed there stays."""
    cluster = instance.cluster
    return [
        files.render_passfile(spec, cluster.replication_password),
        files.render_pg_hba(spec),
        files.render_replication_conf(spec),
        files.epoch_file(spec, cluster.epoch),
        files.standby_signal(spec.data_directory),
    ]


def _chosen(facts: RejoinFacts) -> dict[str, object]:
    """What must be the same for every worker of this job, as JSON."""
    fork, history = facts.fork, facts.target_history
    past = history.past(fork) if fork and fork.lsn is not None and history and facts.diverged else ()
    return {
        "way": rules.rejoin_way(facts),
        "fork": str(fork.lsn) if fork and fork.lsn is not None else None,
        "fork_timeline": fork.timeline if fork else None,
        "timeline": history.timeline if history else None,
        "end": str(facts.target_end) if facts.target_end is not None else None,
        "stretches": [[one.timeline, str(one.begin), str(one.end) if one.end is not None else None] for one in past],
        "segment_bytes": facts.control.wal_segment_bytes if facts.control else None,
        "clean": bool(facts.control and facts.control.stopped_cleanly),
    }


def _way(ctx: Context) -> str:
    return str(ctx.state_of(way_chosen.__name__).get("way"))


def _copies(ctx: Context) -> bool:
    """Whether a base backup is made: chosen, or since pg_rewind has failed."""
    return _way(ctx) == "basebackup" or "given_up" in ctx.state_of(data_rewound.__name__)


def _touched(ctx: Context) -> bool:
    """Whether this job may have changed or moved the data in its place."""
    return _way(ctx) == "basebackup" or bool(ctx.state_of(data_rewound.__name__).get("began"))


def _done_by(ctx: Context) -> str:
    return "basebackup" if _copies(ctx) else _way(ctx)


def _way_words(way: str | None) -> str:
    words = {
        "direct": "directly, its data is a part of what the upstream has",
        "rewind": "by pg_rewind, after a full copy of its data is kept",
        "basebackup": "by a base backup, with its old data put aside",
    }
    return words[str(way)]


def _rewind_failure(ctx: Context, target: InstanceHandle) -> str:
    """Rewind it; why that failed, "" where it did not. Found again after a worker's death, it is only followed to its end."""
    if target.unit(unit_name(ctx, REWIND)).state == "absent":
        if not ctx.state_of(way_chosen.__name__)["clean"]:
            target.remove_file(files.standby_signal(target.spec.data_directory).path)  # a single-user server refuses it
            unit = unit_run(ctx, target, RECOVER, rejoin_commands.recover_alone(target.spec))
            if unit.returncode != 0:
                return _ended("The recovery from its crash", unit.returncode)
        unit = unit_run(ctx, target, DRY_RUN, commands.pg_rewind(target.spec, dry_run=True))
        if unit.returncode != 0:
            return _ended("pg_rewind --dry-run", unit.returncode)
    unit = unit_run(ctx, target, REWIND, commands.pg_rewind(target.spec))
    return "" if unit.returncode == 0 else _ended("pg_rewind", unit.returncode)


def _ended(what: str, returncode: int | None) -> str:
    how = "was killed and left no exit status" if returncode is None else f"ended with exit status {returncode}"
    return f"{what} {how}. What it printed is in the log above."


def _cleared(ctx: Context, target: InstanceHandle, root: str) -> None:
    """Move away what is in its place: its own data to where it is kept, or what a failed pg_rewind has left to where it is deleted."""
    if _way(ctx) == "basebackup":
        data_renamed(ctx, target)
        return
    spare = spare_of(target.spec, ctx.job.pk)
    target.make_made(spare, ctx.job.pk)
    target.move(target.spec.data_directory, free_name(target, spare))


def _recorded(ctx: Context, target: InstanceHandle, origin: KeptCopy.Origin, root: str) -> str:
    """Put the kept copy down, with the report of what only it has beside it; its size."""
    chosen, lost = ctx.state_of(way_chosen.__name__), ctx.state_of(losses_reported.__name__).get("lost")
    target.put_files([_report_file(root, lost)])
    copy = copy_recorded(ctx, target, origin, root, timeline=chosen["timeline"], end_lsn=chosen["end"] or "")
    return rules.size(copy.size_bytes or 0)


def _report_file(root: str, lost: object) -> File:
    return File(f"{root}/lost-writes.json", json.dumps(lost, indent=2) + "\n", 0o600)


WORKFLOW = Workflow(
    steps=(
        Step(rejoin_judged),
        Step(target_stopped, undo=target_as_it_was, plan=_stop_plan),
        Step(source_checkpointed, plan=_checkpoint_plan),
        Step(way_chosen),
        Step(losses_reported),
        Step(slot_ready, undo=slot_taken_away, plan=_slot_plan),
        Step(copy_kept, undo=copy_given_up, plan=_keep_plan),
        Step(data_rewound, undo=data_put_back, plan=_rewind_plan),
        Step(data_copied, undo=copy_taken_away, plan=_copy_plan),
        Step(copy_verified, undo=verification_ended, plan=_verify_plan),
        Step(data_exchanged, undo=data_put_back, plan=_exchange_plan),
        Step(files_written, plan=_files_plan),
        Step(fence_lifted, undo=fence_set, plan=_fence_plan),
        Step(target_started, undo=server_stopped, plan=_start_plan),
        Step(streaming_seen),
        Step(row_arrived, plan=_row_plan),
        Step(commits_count_it, undo=commits_forget_it, plan=_counting_plan),
        Step(rejoin_recorded, plan=_clear_plan),
    )
)
