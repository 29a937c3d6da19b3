"""Change whom commits wait for: nobody, the first n standbys, any n of them.

What the panel promises is never more than what holds, at whatever moment the change is torn: where commits are to wait
for fewer standbys the record is lowered before the primary is touched, where for more it is raised after the proof
(PostgreSQL manual, section "Synchronous Replication").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from clusters import services
from clusters.models import Cluster, Instance, ReplicationPair
from clusters.models.cluster import Lifecycle
from clusters.postgres import commands, files, rules
from clusters.postgres.rules import SyncChangeFacts
from clusters.postgres.statements import CHECKPOINT, Call
from clusters.postgres.sync import SyncMode, SyncNames
from clusters.selectors import instance_specs
from clusters.synchronous import synchronous_of
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest, file_item
from tasks.workflows.observing import pair_observed
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.planning import planned, planned_cluster, planned_primary
from tasks.workflows.step import Step, Workflow
from tasks.workflows.synchronous import (
    Wish,
    everybody_heeds,
    named,
    names_brought,
    names_put_back,
    not_proven,
    primary_of,
    standbys_proven,
)


def change_checked(ctx: Context) -> str:
    """See that enough standbys stream for what is asked"""
    cluster, (mode, count) = ctx.cluster, _wanted(ctx.params)
    cluster.refresh_from_db(fields=["sync_mode", "sync_count"])
    ctx.keep_now(mode=cluster.sync_mode, count=cluster.sync_count)
    primary = primary_of(ctx)
    names = synchronous_of(primary.instance, mode=mode, count=count)[1]
    wanted = SyncNames(mode, count, tuple(names))
    facts = SyncChangeFacts(primary.observe(), primary.spec.name, wanted, lower=count < cluster.sync_count)
    obstacles_heeded(ctx, rules.sync_obstacles(facts))
    if mode == "async":
        return "Commits are to wait for no standby."
    return f"{named(facts.streaming)} stream from {primary.spec.name}; commits are to wait for {count} of {named(names)}."


def promise_lowered(ctx: Context) -> str:
    """Where commits are to wait for fewer, record that before the primary is touched"""
    mode, count = _wanted(ctx.params)
    old = ctx.state_of(change_checked.__name__)
    if count >= old["count"]:
        return "Not so here: the record is changed at the end, when it is proven."
    services.cluster_record_sync(ctx.cluster, mode, count)
    return f"From now on the panel promises no more than {_words(mode, count)}."


def promise_restored(ctx: Context) -> str:
    """Promise again what held before, where the standbys have confirmed it"""
    old = ctx.state_of(change_checked.__name__)
    if (ctx.cluster.sync_mode, ctx.cluster.sync_count) == (old["mode"], old["count"]):
        return "The record is as it was."
    if standbys_proven(ctx, primary_of(ctx), seconds=10.0) is None:
        ctx.warn("The standbys did not confirm in time: the lower promise stays on record. Ask for the change again when they stream.")
        return f"The panel promises {_words(ctx.cluster.sync_mode, ctx.cluster.sync_count)}."
    services.cluster_record_sync(ctx.cluster, old["mode"], old["count"])
    return f"The panel promises {_words(old['mode'], old['count'])} again."


def names_written(ctx: Context) -> str:
    """Write synchronous_standby_names on every member and have the servers heed it"""
    mode, count = _wanted(ctx.params)
    lower = count < ctx.state_of(change_checked.__name__)["count"]
    changed = names_brought(ctx, Wish(mode, count), primary_first=lower)
    primary = primary_of(ctx)
    ctx.result(setting=synchronous_of(primary.instance, mode=mode, count=count)[0])
    return f"Written on {named(changed)}." if changed else "Already so: every member has it."


def names_restored(ctx: Context) -> str:
    """Put the old files back"""
    return f"{named(names_put_back(ctx))} have their old file again."


def standbys_counted(ctx: Context) -> str:
    """See the standbys confirm commits from a moment on"""
    mode, count = _wanted(ctx.params)
    primary = primary_of(ctx)
    lower = count < ctx.state_of(change_checked.__name__)["count"]
    if not lower:
        everybody_heeds(ctx, primary)
    since = standbys_proven(ctx, primary, seconds=5.0) if lower else standbys_proven(ctx, primary)
    if since is None and not lower:
        raise not_proven(primary, count)
    if since is None:
        ctx.warn(f"Fewer than {count} standbys confirm commits now: commits wait until they do.")
        return f"{primary.spec.name} heeds the new list."
    ctx.result(lsn=str(since))
    if mode == "async":
        return f"Commits on {primary.spec.name} wait for no standby, from {since} on."
    return f"Every commit on {primary.spec.name} from {since} on is on disk on {count} more when it is acknowledged."


def promise_recorded(ctx: Context) -> str:
    """Record what holds now"""
    mode, count = _wanted(ctx.params)
    old = ctx.state_of(change_checked.__name__)
    services.cluster_record_sync(ctx.cluster, mode, count)
    for pair in _pairs(ctx.cluster):
        pair_observed(ctx, pair)
    ctx.result(cluster=ctx.cluster.name, old=_short(old["mode"], old["count"]), new=_short(mode, count))
    return f"The panel promises {_words(mode, count)}."


def promise_taken_back(ctx: Context) -> str:
    """Promise no more than held before, before the old files are put back"""
    old = ctx.state_of(change_checked.__name__)
    if ctx.cluster.sync_count > old["count"] or (ctx.cluster.sync_count == old["count"] and ctx.cluster.sync_mode != old["mode"]):
        services.cluster_record_sync(ctx.cluster, old["mode"], old["count"])
    return f"The panel promises {_words(ctx.cluster.sync_mode, ctx.cluster.sync_count)}."


# -- words and values


def _wanted(params: dict[str, object]) -> tuple[SyncMode, int]:
    mode: SyncMode = params["mode"]  # type: ignore[assignment]  # the form has checked it
    return mode, int(str(params["count"]))


def _words(mode: str, count: int) -> str:
    if mode == "async":
        return "nothing about standbys (asynchronous)"
    return f"{'the first ' if mode == 'first' else 'any '}{count}, synchronously"


def _short(mode: str, count: int) -> str:
    return mode if mode == "async" else f"{mode} {count}"


def _pairs(cluster: Cluster) -> Iterable[ReplicationPair]:
    sides = ("upstream__server", "upstream__cluster", "standby__server", "standby__cluster")
    pairs = ReplicationPair.objects.filter(standby__cluster=cluster, standby__lifecycle=Lifecycle.READY)
    return pairs.filter(upstream__role=Instance.Role.PRIMARY).select_related(*sides).order_by("standby__name")


# -- the plan


def _names_plan(request: PlanRequest) -> Iterable[PlanItem]:
    cluster = planned_cluster(request)
    mode, count = _wanted(request.params)
    members = instance_specs(cluster, ready=True)
    for row, before in members if count < cluster.sync_count else [*members[1:], *members[:1]]:
        after = replace(before, synchronous=synchronous_of(row, mode=mode, count=count)[0])
        file = files.render_replication_conf(after)
        yield file_item(after.server, file.path, file.diff(files.render_replication_conf(before).content))
        yield from planned(after, commands.pg_ctl_reload(after))


def _proof_plan(request: PlanRequest) -> Iterable[PlanItem]:
    cluster = planned_cluster(request)
    if _wanted(request.params)[1] >= cluster.sync_count:
        yield from planned(planned_primary(request), Call(CHECKPOINT, {}, {}))


WORKFLOW = Workflow(
    steps=(
        Step(change_checked),
        Step(promise_lowered, undo=promise_restored),
        Step(names_written, undo=names_restored, plan=_names_plan),
        Step(standbys_counted, plan=_proof_plan),
        Step(promise_recorded, undo=promise_taken_back),
    )
)
