"""What a rejoin looks at: the timelines of both sides, where the target's WAL ends, which WAL is still there, and what would be lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres import rejoin_commands
from clusters.postgres.facts import ControlData, InstanceFacts, Lsn, Unreadable
from clusters.postgres.files import parity_of
from clusters.postgres.history import Fork, History, Stretch, WalFile, fork_of, history_file, wal_files
from clusters.postgres.rejoin_commands import relation_names
from clusters.postgres.rejoin_facts import RejoinFacts
from clusters.postgres.statements import Call
from clusters.postgres.waldump import LostWrites, Relation, WalReader
from tasks.context import Context
from tasks.workflows.observing import Look, instance_observed

#: Relations in the catalogs are what every table's change brings along.
SYSTEM_SCHEMAS = ("pg_catalog.", "information_schema.", "pg_toast.")


def rejoin_facts(ctx: Context) -> RejoinFacts:
    """One look at everything; nothing is changed."""
    target, source = ctx.handle(ctx.instance), ctx.handle(ctx.instance.pair.upstream)
    control = control_of(target)
    running = target.is_running()
    target_history = _target_history(target, control)
    end = wal_end(ctx, target, control, target_history)
    look = _source_look(source)  # after it, so that a target that is level is not taken for one that is ahead
    source_history = history_of(source, look.facts.timeline) if look.facts else None
    writable, streaming = _others(ctx)
    return RejoinFacts(
        target_name=target.spec.name,
        source_name=source.spec.name,
        slot=ctx.instance.pair.slot,
        source=look.facts,
        source_error=look.error,
        source_history=source_history,
        source_is_primary=source.spec.role == "primary",
        source_wal_from=_oldest(source, source_history, control) if source_history else None,
        writable=tuple(writable),
        others_streaming=tuple(streaming),
        control=control,
        target_running=running,
        target_streams=running and _streams(look.facts, target),
        target_history=target_history,
        target_end=end,
        common_redo=_common_redo(target, control, target_history, source_history),
        wal_elsewhere=target.machine.kind(f"{target.spec.data_directory}/pg_wal") == "symlink",
        target_bytes=target.machine.directory_bytes(target.spec.data_directory),
        free_bytes=target.machine.free_bytes(target.spec.data_directory),
        target_version=target.programs_version(),
        target_settings=parity_of(target.spec),
        login_error=_login_error(target),
        system_identifier=ctx.cluster.system_identifier,
        epoch=ctx.cluster.epoch,
        epoch_seen=max((seen for seen in (source.epoch(), target.epoch()) if seen is not None), default=None),
        up_to=ctx.params["up_to"],
    )


def control_of(handle: InstanceHandle, directory: str | None = None) -> ControlData | None:
    """The control file; None where it cannot be read, which is an answer too."""
    try:
        return handle.control(directory) if directory or handle.is_initialised() else None
    except (HostError, Unreadable):
        return None


def history_of(handle: InstanceHandle, timeline: int) -> History | None:
    """The history of a timeline as the instance has it in its pg_wal; None where it has none that can be read."""
    text = handle.read_text(f"{handle.spec.data_directory}/pg_wal/{history_file(timeline)}") if timeline > 1 else None
    try:
        return History.parse(timeline, text)
    except Unreadable:
        return None


def wal_end(ctx: Context, handle: InstanceHandle, control: ControlData | None, history: History | None) -> Lsn | None:
    """Where the WAL of a stopped instance ends: the end of its last whole record."""
    if control is None or history is None:
        return None
    start = control.checkpoint_lsn if control.timeline == history.timeline else history.begin
    reader = WalReader(control.wal_segment_bytes)
    ctx.say(f"Reading the WAL of {handle.spec.name} from {start} on timeline {history.timeline} to its end (pg_waldump).")
    handle.read_lines(rejoin_commands.wal_read(handle.spec, history.timeline, start), reader.take)
    end = reader.end or (start if reader.nothing and not reader.missing else None)
    if end is None:
        ctx.warn(f"That WAL of {handle.spec.name} cannot be read: {reader.complaint or 'pg_waldump said nothing'}.")
    return end


def lost_writes(ctx: Context, stretches: Sequence[Stretch], end: Lsn, segment_bytes: int) -> LostWrites:
    """What the target has past the fork, from the first of the stretches to the end of the last."""
    target, reader, incomplete = ctx.handle(ctx.instance), WalReader(segment_bytes), ""
    for stretch in stretches:
        upto = f"to {stretch.end}" if stretch.end else "to its end"
        ctx.say(f"Reading what {target.spec.name} wrote on timeline {stretch.timeline} from {stretch.begin} {upto} (pg_waldump).")
        reader.end, reader.missing = None, False
        target.read_lines(rejoin_commands.wal_read(target.spec, stretch.timeline, stretch.begin, stretch.end), reader.take)
        if reader.missing and reader.end is None:
            incomplete = reader.complaint
    return LostWrites(
        fork=stretches[0].begin,
        end=end,
        timeline=stretches[0].timeline,
        commits=reader.commits,
        xids=tuple(reader.xids),
        first_commit=reader.first_commit,
        last_commit=reader.last_commit,
        relations=tuple(_named(ctx, sorted(reader.relations))),
        relation_count=reader.relation_count,
        incomplete=incomplete,
    )


def lost_sentence(lost: LostWrites, name: str) -> str:
    """For people."""
    span = (
        f" between {lost.first_commit} and {lost.last_commit}" if lost.commits > 1 else f" at {lost.first_commit}" if lost.commits else ""
    )
    tables = [str(row["relation"]) for row in lost.relations if row["relation"]]
    touched = f", in {', '.join(tables[:5])}{' and others' if len(tables) > 5 else ''}" if tables else ""
    return f"{name} has {lost.commits} commits that the cluster has not{span}{touched}: {lost.bytes} bytes of WAL from {lost.fork} on."


# -- helpers


def _source_look(source: InstanceHandle) -> Look:
    try:
        return Look(source.observe(with_size=True))
    except HostError as error:
        return Look(None, error)


def _target_history(target: InstanceHandle, control: ControlData | None) -> History | None:
    """Of the newest timeline on which it has WAL; right after a promotion its control file still tells the one before."""
    if control is None:
        return None
    newest = max([control.timeline, *(file.timeline for file in _wal(target, control))])
    return history_of(target, newest)


def _wal(handle: InstanceHandle, control: ControlData) -> list[WalFile]:
    names = handle.machine.list_directory(f"{handle.spec.data_directory}/pg_wal") or []
    return wal_files(names, control.wal_segment_bytes)


def _oldest(source: InstanceHandle, history: History, control: ControlData | None) -> Lsn | None:
    if control is None:
        return None
    timelines = {stretch.timeline for stretch in history.stretches}
    return min((file.begin for file in _wal(source, control) if file.timeline in timelines), default=None)


def _common_redo(target: InstanceHandle, control: ControlData | None, mine: History | None, theirs: History | None) -> Lsn | None:
    """From where on the last checkpoint before the fork needs WAL; None where the target has no such checkpoint any more."""
    fork = fork_of(mine, theirs) if mine and theirs else None
    if control is None or mine is None or fork is None or fork.lsn is None:
        return None
    if control.timeline == fork.timeline and control.checkpoint_lsn < fork.lsn:
        return control.redo_lsn
    return _checkpoint_before(target, control, mine, fork)


def _checkpoint_before(target: InstanceHandle, control: ControlData, history: History, fork: Fork) -> Lsn | None:
    """Looks for it in the target's own WAL, the newest timeline first."""
    files = _wal(target, control)
    for stretch in reversed([one for one in history.stretches if one.timeline <= fork.timeline]):
        end = fork.lsn if stretch.timeline == fork.timeline else stretch.end
        begins = [file.begin for file in files if file.timeline == stretch.timeline and end is not None and file.begin < end]
        if not begins:
            return None
        reader = WalReader(control.wal_segment_bytes)
        target.read_lines(rejoin_commands.wal_read(target.spec, stretch.timeline, max(min(begins), stretch.begin), end), reader.take)
        oldest = min(file.begin for file in files if file.timeline <= stretch.timeline)
        if reader.redo is not None:
            return reader.redo if reader.redo >= oldest else None
    return None


def _others(ctx: Context) -> tuple[list[str], list[str]]:
    """The other members: who accepts writes without being the declared primary, and who streams."""
    writable, streaming = [], []
    rows = ctx.cluster.instances.filter(lifecycle=Lifecycle.READY).exclude(pk=ctx.instance.pk).select_related("server", "cluster")
    for row in rows:
        facts = instance_observed(ctx.handle(row)).facts
        if facts and not facts.in_recovery and row.role != Instance.Role.PRIMARY:
            writable.append(row.name)
        if facts and facts.in_recovery and facts.receiver and facts.receiver.status == "streaming":
            streaming.append(row.name)
    return writable, streaming


def _streams(source: InstanceFacts | None, target: InstanceHandle) -> bool:
    sender = source.sender(target.spec.name) if source else None
    if sender is None or sender.state != "streaming":
        return False
    look = instance_observed(target)
    return look.facts is not None and look.facts.in_recovery


def _login_error(target: InstanceHandle) -> str:
    login = target.replication_login()
    return "" if login.ok else (login.stderr.strip() or f"exit status {login.returncode}")[-500:]


def _named(ctx: Context, relations: Iterable[Relation]) -> list[dict[str, object]]:
    """The tables that were touched, by name as the primary knows them; those that it does not know by the numbers of their files."""
    by_database: dict[int, list[Relation]] = {}
    for relation in relations:
        if relation.database and not relation.of_the_system:
            by_database.setdefault(relation.database, []).append(relation)
    primary = ctx.handle(ctx.cluster.instances.select_related("server", "cluster").get(role=Instance.Role.PRIMARY))
    databases = {int(oid): name for oid, name in _pairs(primary.superuser_query(Call(rejoin_commands.DATABASES, {}, {})))}
    found: list[dict[str, object]] = []
    for number, members in sorted(by_database.items()):
        database = databases.get(number)
        rows = primary.superuser_query(relation_names(database, members)) if database else []
        names = dict(_pairs(rows))
        for relation in members:
            name = names.get(f"{relation.tablespace}/{relation.file}")
            entry: dict[str, object] = {"database": database or str(number), "relation": name, "file": "" if name else str(relation)}
            if entry not in found and not (name or "").startswith(SYSTEM_SCHEMAS):
                found.append(entry)
    return found


def _pairs(rows: Iterable[str]) -> list[tuple[str, str]]:
    """Rows of a key, a blank, and a name as JSON."""
    split = (row.partition(" ") for row in rows)
    return [(key, json.loads(name)) for key, _blank, name in split]
