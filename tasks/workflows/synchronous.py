"""Whom commits wait for, brought to the servers: replication.conf of every member, the primary's reload, and the proof that it is in force.

A change is always torn for a moment. So what the panel has on record is never more than what holds: where commits are to
wait for fewer, the record goes first; where they are to wait for more, it comes last. A standby that joins the list is on
record before the primary knows of it, one that leaves it until the primary has forgotten it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres import commands
from clusters.postgres.facts import InstanceFacts, Lsn
from clusters.postgres.files import render_replication_conf
from clusters.postgres.guarantee import same_names
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import CHECKPOINT, Call
from clusters.postgres.sync import counted, parse_names
from clusters.selectors import instance_specs
from clusters.synchronous import synchronous_of
from tasks.context import Context
from tasks.plan import PlanItem, file_item
from tasks.workflows.planning import planned
from tasks.workflows.step import StepFailed

FORCE_SECONDS: Final = 30.0
COUNT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Wish:
    """How many standbys commits are to wait for, and without whom. None: as it is on record."""

    mode: str | None = None
    count: int | None = None
    leaver: Instance | None = None

    def spec(self, row: Instance, spec: InstanceSpec) -> InstanceSpec:
        """The instance as it is when the wish has come true."""
        return replace(spec, synchronous=synchronous_of(row, mode=self.mode, count=self.count, leaver=self.leaver)[0])


def ready_members(ctx: Context) -> list[InstanceHandle]:
    """The finished instances, the declared primary first."""
    rows = ctx.cluster.instances.filter(lifecycle=Lifecycle.READY).select_related("server").order_by("role", "name")
    return [ctx.handle(row) for row in rows]


def primary_of(ctx: Context) -> InstanceHandle:
    return ctx.handle(ctx.cluster.instances.select_related("server").get(role=Instance.Role.PRIMARY))


def names_brought(ctx: Context, wish: Wish, *, primary_first: bool) -> list[str]:
    """Write replication.conf of every member and see the running primary heed it; who was changed.

    A standby that cannot be reached is left as it is, with a warning: its file counts only once it is promoted, and a
    verification compares it. What stood in each file before is remembered before it is written.
    """
    handles = [handle for handle in ready_members(ctx) if handle.instance != wish.leaver]
    ordered = handles if primary_first else [*handles[1:], handles[0]]
    return [handle.spec.name for handle in ordered if _reached(ctx, handle, lambda one: _written(ctx, one, wish))]


def _reached(ctx: Context, handle: InstanceHandle, act: Callable[[InstanceHandle], bool]) -> bool:
    """Whether the act changed the instance. A standby that does not answer may be left; the primary not."""
    try:
        return act(handle)
    except HostError as error:
        if handle.instance.role == Instance.Role.PRIMARY:
            raise
        ctx.warn(f"The file of {handle.spec.name} was not seen in force: {error.what} A verification names it until it is.")
        return False


def _written(ctx: Context, handle: InstanceHandle, wish: Wish) -> bool:
    """Whether the file had to be written. A running server has heeded it when this returns."""
    spec = wish.spec(handle.instance, handle.spec)
    file = render_replication_conf(spec)
    before = dict(ctx.state.get("before", {}))
    if spec.name not in before:
        ctx.keep_now(before={**before, spec.name: handle.read_text(file.path)})
    written = bool(handle.put_files([file]))
    if handle.is_running():
        setting_heeded(ctx, handle, spec.synchronous)
    return written


def names_put_back(ctx: Context) -> list[str]:
    """Give every member the file that it had before the step, and see the running servers heed it; who was changed."""
    before: dict[str, str | None] = ctx.state.get("before", {})
    return [handle.spec.name for handle in ready_members(ctx) if _reached(ctx, handle, lambda one: _put_back(ctx, one, before))]


def _put_back(ctx: Context, handle: InstanceHandle, before: dict[str, str | None]) -> bool:
    text = before.get(handle.spec.name)
    if text is None:
        return False
    written = bool(handle.put_files([replace(render_replication_conf(handle.spec), content=text)]))
    if handle.is_running():
        setting_heeded(ctx, handle, setting_in(text))
    return written


def setting_in(text: str) -> str | None:
    """synchronous_standby_names as a replication.conf has it; None where it has none."""
    for line in reversed(text.splitlines()):
        name, sign, value = line.partition("=")
        if sign and name.strip() == "synchronous_standby_names":
            return value.strip().strip("'").replace("''", "'")
    return None


def setting_heeded(ctx: Context, handle: InstanceHandle, wanted: str | None) -> None:
    """Reload until the running server has the setting. Raises: StepFailed when it does not take it."""
    if wanted is None or _has(handle.observe(), wanted):
        return
    handle.reload()
    end = time.monotonic() + FORCE_SECONDS
    while not _has(facts := handle.observe(), wanted):
        if time.monotonic() > end:
            raise StepFailed(
                f"{handle.spec.name} was reloaded and still has synchronous_standby_names = '{_setting(facts)}'.",
                "See whether ALTER SYSTEM outdoes replication.conf (postgresql.auto.conf), and what the server's log says.",
            )
        ctx.pause(0.05)


def _has(facts: InstanceFacts, wanted: str) -> bool:
    return same_names(_setting(facts), wanted)


def _setting(facts: InstanceFacts) -> str:
    return facts.settings.get("synchronous_standby_names", "")


def standbys_proven(ctx: Context, primary: InstanceHandle, seconds: float = COUNT_SECONDS) -> Lsn | None:
    """Wait until the primary counts as many standbys as its commits wait for, and all of them have flushed past that moment.

    The position of that moment, from where on the promise holds; None when they did not in time.
    """
    end, since = time.monotonic() + seconds, None
    while True:
        facts = primary.observe()
        enough = _enough(facts)
        if enough and since is None:
            since = facts.lsn
        if enough and since is not None and all((row.flush_lsn or Lsn(0)) >= since for row in counted(facts)):
            return since
        if time.monotonic() > end:
            return None
        ctx.pause(0.05)


def _enough(facts: InstanceFacts) -> bool:
    names = parse_names(_setting(facts))
    return names is not None and len(counted(facts)) >= names.count


def everybody_heeds(ctx: Context, primary: InstanceHandle) -> None:
    """Have every process of the primary heed the list.

    Whether commits wait at all is told to the others by the checkpointer, which reads its files between two checkpoints
    (manual, "pg_reload_conf": processes do so when they can): after one that was asked for now, it has.
    """
    primary.superuser_run([Call(CHECKPOINT, {}, {})])


def commits_count_it(ctx: Context) -> str:
    """Let commits count on it too, where they wait for standbys"""
    if ctx.cluster.sync_mode == "async":
        return "Commits of this cluster wait for no standby."
    services.instance_record_lifecycle(ctx.instance, Lifecycle.READY)  # on record before the primary knows of it
    changed = names_brought(ctx, Wish(), primary_first=True)
    return f"synchronous_standby_names is up to date on {named(changed)}." if changed else "Already so: every member has the list."


def commits_forget_it(ctx: Context) -> str:
    """Take it out of the lists of those for whom commits wait"""
    names_put_back(ctx)
    if ctx.instance.lifecycle == Lifecycle.READY:
        services.instance_record_lifecycle(ctx.instance, Lifecycle.PLANNED)
    return f"No commit waits for {ctx.instance.name}."


def commits_released(ctx: Context) -> str:
    """Let commits wait for others, where they wait for standbys"""
    cluster, leaver = ctx.cluster, ctx.instance
    if cluster.sync_mode == "async" or leaver.lifecycle != Lifecycle.READY:
        return f"No commit waits for {leaver.name}."
    primary = primary_of(ctx)
    running = primary.is_running()
    if running:
        _others_stream(primary, synchronous_of(primary.instance, leaver=leaver)[1], cluster.sync_count)
    names_brought(ctx, Wish(leaver=leaver), primary_first=True)
    if running and standbys_proven(ctx, primary) is None:
        raise not_proven(primary, cluster.sync_count)
    return f"Commits wait for {cluster.sync_count} of {named(synchronous_of(primary.instance, leaver=leaver)[1])}."


def _others_stream(primary: InstanceHandle, names: Sequence[str], count: int) -> None:
    senders = {sender.application_name for sender in primary.observe().senders if sender.state == "streaming"}
    left = [name for name in names if name in senders]
    if len(left) < count:
        raise StepFailed(
            f"Commits wait for {count} standbys, and without this one {len(left)} stream: they would not return.",
            "Bring another standby back, or let commits wait for fewer (change synchronous replication); then resume the job.",
        )


def commits_wait_again(ctx: Context) -> str:
    """Put the old lists back"""
    return f"{named(names_put_back(ctx))} have their old file again."


def not_proven(primary: InstanceHandle, wanted: int) -> StepFailed:
    return StepFailed(
        f"{wanted} standbys did not confirm commits of {primary.spec.name} within {COUNT_SECONDS:.0f} s.",
        "See on the cluster page which standby does not stream or is far behind, then resume the job.",
    )


def named(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"


def planned_counting(instance: Instance, *, with_it: bool) -> Iterator[PlanItem]:
    """What lets commits count on the standby, or no longer; nothing where they wait for nobody."""
    if instance.cluster.sync_mode == "async":
        return
    for row, spec in instance_specs(instance.cluster, ready=True):
        if row.pk == instance.pk:
            continue
        has = replace(spec, synchronous=synchronous_of(row, joiner=instance)[0])
        lacks = replace(spec, synchronous=synchronous_of(row, leaver=instance)[0])
        old, new = (render_replication_conf(one) for one in ((lacks, has) if with_it else (has, lacks)))
        if diff := new.diff(old.content):
            yield file_item(spec.server, new.path, diff)
            yield from planned(spec, commands.pg_ctl_reload(spec))
