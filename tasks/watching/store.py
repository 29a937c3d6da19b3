"""All that the monitor reads and writes in the panel's database. Blocking: one thread of the monitor runs it.

Each write says "where the token is mine", so that a monitor that was frozen and wakes up beside its successor writes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from django.db import DataError, IntegrityError, connection, transaction

from clusters.models import Instance, Monitor
from clusters.models.cluster import Lifecycle
from tasks.watching.disk import Room
from tasks.watching.look import Target
from tasks.watching.minute import Minute, Point, summary

logger = logging.getLogger(__name__)
T = TypeVar("T")

LEASE_SECONDS: Final = 15.0
FINE_DAYS, MINUTE_DAYS, HOUR_DAYS = 1, 31, 731
#: Rows that one round of pruning deletes at most from each table, so that no lock is held for long.
PRUNED_AT_ONCE: Final = 20_000


class LeaseLost(Exception):
    """Another monitor watches now."""


class State(NamedTuple):
    """What one look says, as a row. `age`: seconds since the look."""

    instance_id: int
    age: float
    role: str
    error: str
    sampled: dict[str, Any] | None  # None without an answer
    lag_bytes: int | None
    lag_seconds: float | None
    wal_rate: float | None
    stream: str | None = None  # pg_stat_replication's state; None: its upstream was not heard
    sync_state: str | None = None
    upstream_id: int | None = None


# -- the lease


def lease_take(seconds: float = LEASE_SECONDS) -> int | None:
    """A token, while no other monitor holds the lease; else None."""
    Monitor.objects.get_or_create(pk=1)
    token: int | None = _one(
        """UPDATE clusters_monitor SET token = token + 1, holder = %s, lease_until = now() + make_interval(secs => %s)
            WHERE id = 1 AND (lease_until IS NULL OR lease_until < now()) RETURNING token""",
        [f"{socket.gethostname()}:{os.getpid()}", seconds],
    )
    return token


def lease_renew(token: int, instances: int, interval: float, seconds: float = LEASE_SECONDS) -> None:
    """Also says that a round has ended. Raises: LeaseLost."""
    held = _one(
        """UPDATE clusters_monitor SET lease_until = now() + make_interval(secs => %s), beat_at = now(), instances = %s, interval = %s
            WHERE id = 1 AND token = %s RETURNING 1""",
        [seconds, instances, interval, token],
    )
    if held is None:
        raise LeaseLost


def lease_give_back(token: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE clusters_monitor SET lease_until = NULL, holder = '' WHERE id = 1 AND token = %s", [token])


# -- whom to ask


def targets_read() -> list[Target]:
    """Every instance that is made and whose panel role exists; those of clusters that are only watched are looked at by verifications."""
    rows = Instance.objects.filter(lifecycle=Lifecycle.READY).exclude(cluster__adopted_at__isnull=False, cluster__taken_over_at=None)
    fields = ("pk", "cluster_id", "name", "server_id", "server__address", "port", "cluster__system_identifier", "pair__upstream_id")
    return [Target(*row) for row in rows.order_by("cluster_id", "name").values_list(*fields)]


# -- what they said

#: A state lasts ("since") as long as the role that it shows. What does not answer keeps what it said last.
_WRITE_STATES: Final = """
INSERT INTO clusters_instancestate AS state
    (instance_id, tried_at, answered_at, since, role, error, missed, sampled, lag_bytes, lag_seconds, wal_rate)
SELECT instance_id, moment, CASE WHEN sampled IS NOT NULL THEN moment END, moment, role, error, (sampled IS NULL)::int,
       coalesce(sampled, '{}'), lag_bytes, lag_seconds, wal_rate
FROM (SELECT *, now() - make_interval(secs => age) AS moment
      FROM json_to_recordset(%s::json) AS said (instance_id bigint, age float8, role text, error text, sampled jsonb,
                                                lag_bytes bigint, lag_seconds float8, wal_rate float8)) AS said
WHERE EXISTS (SELECT 1 FROM clusters_instance AS instance WHERE instance.id = said.instance_id)
  AND EXISTS (SELECT 1 FROM clusters_monitor AS monitor WHERE monitor.token = %s)
ON CONFLICT (instance_id) DO UPDATE SET
    tried_at = excluded.tried_at, answered_at = coalesce(excluded.answered_at, state.answered_at),
    since = CASE WHEN state.role = excluded.role THEN state.since ELSE excluded.since END, role = excluded.role, error = excluded.error,
    missed = CASE WHEN excluded.missed = 0 THEN 0 ELSE state.missed + 1 END,
    sampled = CASE WHEN excluded.missed = 0 THEN excluded.sampled ELSE state.sampled END,
    lag_bytes = excluded.lag_bytes, lag_seconds = excluded.lag_seconds, wal_rate = excluded.wal_rate"""

#: How each answered before, one question without an answer left aside.
_READ_ROLES: Final = """
SELECT instance_id, CASE WHEN missed <> 1 OR sampled->>'in_recovery' IS NULL THEN role
                         WHEN (sampled->>'in_recovery')::bool THEN 'standby' ELSE 'primary' END
FROM clusters_instancestate WHERE instance_id = ANY(%s)"""

#: What the pages show as the observed role. Silence counts from the second time on, where it began after a job's look, and makes nothing of
#: what a job has stopped. An answer counts where it is newer than a job's look.
_WRITE_ROLES: Final = """
UPDATE clusters_instance AS instance SET observed_role = state.role
FROM clusters_instancestate AS state
WHERE state.instance_id = instance.id AND instance.id = ANY(%s) AND instance.observed_role <> state.role
  AND CASE WHEN state.role = 'unreachable'
           THEN state.missed >= 2 AND instance.observed_role <> 'stopped' AND state.since > coalesce(instance.observed_at, '-infinity')
           ELSE state.tried_at > coalesce(instance.observed_at, '-infinity') END
RETURNING instance.id, state.role, state.missed, state.since"""

_OF_PAIRS: Final = ("instance_id", "stream", "sync_state", "upstream_id")

#: What the pages show of a pair. Its slot is looked at by verifications.
_WRITE_PAIRS: Final = """
UPDATE clusters_replicationpair AS pair
SET state = said.stream, sync_state = coalesce(said.sync_state, ''), lag_bytes = state.lag_bytes, lag_seconds = state.lag_seconds,
    observed_at = state.answered_at
FROM json_to_recordset(%s::json) AS said (instance_id bigint, stream text, sync_state text, upstream_id bigint)
JOIN clusters_instancestate AS state USING (instance_id)
WHERE pair.standby_id = said.instance_id AND pair.upstream_id = said.upstream_id AND state.missed = 0
  AND state.tried_at > coalesce(pair.observed_at, '-infinity')"""


def states_write(token: int, states: Sequence[State]) -> dict[int, datetime]:
    """Returns the instances that answer in another role than before, or not any more, and since when. Raises: LeaseLost.

    Only what changed for the monitor itself counts: where a job and the monitor disagree again and again, nothing has changed.
    """
    changed: dict[int, datetime] = {}

    def write(part: Sequence[State]) -> None:
        changed.update(_states_written(token, part))

    def unfit(state: State, error: Exception) -> None:
        """Its instance is on record as one that gave no answer."""
        logger.error("What instance %s said cannot be stored: %s", state.instance_id, error)
        try:
            write([State(state.instance_id, state.age, "unreachable", "what it answers cannot be stored", None, None, None, None)])
        except (DataError, IntegrityError):
            logger.exception("Nor that it cannot")

    _each(write, states, unfit)
    return changed


def _states_written(token: int, states: Sequence[State]) -> dict[int, datetime]:
    instances, rows = [state.instance_id for state in states], [state._asdict() for state in states]
    with transaction.atomic(), connection.cursor() as cursor:
        _held(cursor, token)
        cursor.execute(_READ_ROLES, [instances])
        before = dict(cursor.fetchall())
        cursor.execute(_WRITE_STATES, [json.dumps(rows), token])
        cursor.execute(_WRITE_ROLES, [instances])  # instances before pairs, as everybody locks them
        shown = cursor.fetchall()
        if heard := [{name: row[name] for name in _OF_PAIRS} for row in rows if row["stream"] is not None]:
            cursor.execute(_WRITE_PAIRS, [json.dumps(heard)])
    return {pk: since for pk, role, missed, since in shown if missed == 2 or (missed == 0 and before.get(pk) != role)}


def rooms_write(token: int, rooms: Sequence[Room]) -> None:
    """Of those that have a state: that comes a few seconds after they are asked first. Raises: LeaseLost."""
    if not rooms:
        return
    now = time.monotonic()
    rows = [(room.instance_id, now - room.at, room.free_bytes, room.total_bytes) for room in rooms]
    with transaction.atomic(), connection.cursor() as cursor:
        _held(cursor, token)
        cursor.execute(_WRITE_ROOMS, [list(column) for column in zip(*rows, strict=True)])


_WRITE_ROOMS: Final = """
UPDATE clusters_instancestate AS state
SET disk_free_bytes = said.free, disk_total_bytes = said.total, disk_at = now() - make_interval(secs => said.age)
FROM unnest(%s::bigint[], %s::float8[], %s::bigint[], %s::bigint[]) AS said (instance_id, age, free, total)
WHERE state.instance_id = said.instance_id"""


def rates_write(token: int) -> None:
    """How fast WAL has come in the last quarter of an hour, and the disk has filled in the last hour. Raises: LeaseLost."""
    with transaction.atomic(), connection.cursor() as cursor:
        _held(cursor, token)
        cursor.execute(_WRITE_RATES)


#: The line that fits the minutes best: one that stands out moves it less than if it were the first or the last of two.
_WRITE_RATES: Final = """
UPDATE clusters_instancestate AS state SET wal_rate_mean = known.wal, disk_rate = known.disk
FROM (SELECT each.instance_id, avg(kept.wal_rate) FILTER (WHERE at >= now() - interval '15 minutes') AS wal,
             CASE WHEN max(at) FILTER (WHERE kept.disk_free_bytes IS NOT NULL)
                       - min(at) FILTER (WHERE kept.disk_free_bytes IS NOT NULL) >= interval '5 minutes'
                  THEN -regr_slope(kept.disk_free_bytes, extract(epoch FROM at - now())) END AS disk
      FROM clusters_instancestate AS each
      LEFT JOIN clusters_sample AS kept ON kept.instance_id = each.instance_id AND seconds = 60 AND at >= now() - interval '1 hour'
      GROUP BY each.instance_id) AS known
WHERE state.instance_id = known.instance_id AND (state.wal_rate_mean, state.disk_rate) IS DISTINCT FROM (known.wal, known.disk)"""


# -- the past

_LISTS: Final = ("offset", "lag_bytes", "lag_seconds", "wal_rate", "retained_bytes")


def minute_write(token: int, minute: Minute) -> None:
    """Add to what another monitor has written of it; what was written already is not added again. Raises: LeaseLost."""
    known = set(Instance.objects.filter(pk__in=minute.points).values_list("pk", flat=True))

    def write(part: Sequence[tuple[int, list[Point]]]) -> None:
        fine = [[pk, minute.number, *(_list([getattr(point, name) for point in of]) for name in _LISTS)] for pk, of in part]
        with transaction.atomic(), connection.cursor() as cursor:
            _held(cursor, token)
            cursor.execute(_INSERT_FINE, [list(column) for column in zip(*fine, strict=True)])
            new = {row[0] for row in cursor.fetchall()}
            rows = [[pk, minute.number, *astuple(summary(of)), minute.disk.get(pk)] for pk, of in part if pk in new]
            if rows:
                cursor.execute(_INSERT_MINUTES, [list(column) for column in zip(*rows, strict=True)])

    def unfit(row: tuple[int, list[Point]], error: Exception) -> None:
        logger.error("The minute of instance %s cannot be stored: %s", row[0], error)

    _each(write, [(pk, points) for pk, points in minute.points.items() if pk in known], unfit)


_INSERT_FINE: Final = """
INSERT INTO clusters_finesample AS fine (instance_id, at, offsets, lag_bytes, lag_seconds, wal_rate, retained_bytes)
SELECT instance_id, to_timestamp(minute * 60), offsets::float8[], lag_bytes::bigint[], lag_seconds::float8[], wal_rate::float8[],
       retained_bytes::bigint[]
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
     AS said (instance_id, minute, offsets, lag_bytes, lag_seconds, wal_rate, retained_bytes)
ON CONFLICT (instance_id, at) DO UPDATE SET
    offsets = fine.offsets || excluded.offsets, lag_bytes = fine.lag_bytes || excluded.lag_bytes,
    lag_seconds = fine.lag_seconds || excluded.lag_seconds, wal_rate = fine.wal_rate || excluded.wal_rate,
    retained_bytes = fine.retained_bytes || excluded.retained_bytes
WHERE NOT fine.offsets && excluded.offsets
RETURNING instance_id"""
_INSERT_MINUTES: Final = """
INSERT INTO clusters_sample AS kept
    (instance_id, seconds, at, looks, answers, lag_bytes, lag_seconds, wal_rate, retained_bytes, connections, disk_free_bytes)
SELECT instance_id, 60, to_timestamp(minute * 60), looks, answers, lag_bytes, lag_seconds, wal_rate, retained_bytes, connections, disk
FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::int[], %s::bigint[], %s::float8[], %s::float8[], %s::bigint[], %s::int[],
            %s::bigint[])
     AS said (instance_id, minute, looks, answers, lag_bytes, lag_seconds, wal_rate, retained_bytes, connections, disk)
ON CONFLICT (instance_id, seconds, at) DO UPDATE SET
    looks = kept.looks + excluded.looks, answers = kept.answers + excluded.answers,
    lag_bytes = greatest(kept.lag_bytes, excluded.lag_bytes), lag_seconds = greatest(kept.lag_seconds, excluded.lag_seconds),
    wal_rate = coalesce((kept.wal_rate * kept.answers + excluded.wal_rate * excluded.answers) / nullif(kept.answers + excluded.answers, 0),
                        kept.wal_rate, excluded.wal_rate),
    retained_bytes = greatest(kept.retained_bytes, excluded.retained_bytes),
    connections = greatest(kept.connections, excluded.connections),
    disk_free_bytes = least(kept.disk_free_bytes, excluded.disk_free_bytes)"""


def hours_write(interval: float = 5.0) -> int:
    """Make the hours of the minutes of the last two days that have none yet, once their last minute must have been written. How many."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO clusters_sample
                (instance_id, seconds, at, looks, answers, lag_bytes, lag_seconds, wal_rate, retained_bytes, connections,
                 disk_free_bytes)
            SELECT instance_id, 3600, date_trunc('hour', at), sum(looks), sum(answers), max(lag_bytes), max(lag_seconds),
                   avg(wal_rate), max(retained_bytes), max(connections), min(disk_free_bytes)
            FROM clusters_sample
            WHERE seconds = 60 AND at < date_trunc('hour', now() - make_interval(secs => %s))
              AND at >= date_trunc('hour', now()) - interval '2 days'
              AND NOT EXISTS (SELECT 1 FROM clusters_sample AS made WHERE made.instance_id = clusters_sample.instance_id
                              AND made.seconds = 3600 AND made.at = date_trunc('hour', clusters_sample.at))
            GROUP BY instance_id, date_trunc('hour', at)
            ON CONFLICT DO NOTHING""",
            [2 * max(interval, 60.0)],
        )
        return int(cursor.rowcount)


def prune() -> int:
    """Delete what is too old, a bounded number of rows at a time. How many."""
    deleted = 0
    with connection.cursor() as cursor:
        for text, days in ((_PRUNE_FINE, FINE_DAYS), (_PRUNE_MINUTES, MINUTE_DAYS), (_PRUNE_HOURS, HOUR_DAYS)):
            cursor.execute(text, [days, PRUNED_AT_ONCE])
            deleted += int(cursor.rowcount)
    return deleted


_PRUNE_FINE: Final = """
DELETE FROM clusters_finesample WHERE id IN (
    SELECT id FROM clusters_finesample WHERE at < now() - make_interval(days => %s) LIMIT %s)"""
_PRUNE_MINUTES: Final = """
DELETE FROM clusters_sample WHERE id IN (
    SELECT id FROM clusters_sample WHERE seconds = 60 AND at < now() - make_interval(days => %s) LIMIT %s)"""
_PRUNE_HOURS: Final = """
DELETE FROM clusters_sample WHERE id IN (
    SELECT id FROM clusters_sample WHERE seconds = 3600 AND at < now() - make_interval(days => %s) LIMIT %s)"""


def clock() -> float:
    """Seconds since 1970 by the database's clock."""
    value: float = _one("SELECT extract(epoch FROM clock_timestamp())::float8", [])
    return value


# -- helpers


def _one(text: str, values: Sequence[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        row = cursor.fetchone()
    return row[0] if row else None


def _held(cursor: Any, token: int) -> None:
    cursor.execute("SELECT 1 FROM clusters_monitor WHERE id = 1 AND token = %s FOR SHARE", [token])
    if cursor.fetchone() is None:
        raise LeaseLost


def _each(write: Callable[[Sequence[T]], None], rows: Sequence[T], unfit: Callable[[T, Exception], None]) -> None:
    """Write all at once; where PostgreSQL does not take some of it, all but that. `unfit` is told of each such row."""
    if not rows:
        return
    try:
        write(rows)
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            unfit(rows[0], error)
            return
        half = len(rows) // 2
        _each(write, rows[:half], unfit)
        _each(write, rows[half:], unfit)


def _list(values: Sequence[Any]) -> str:
    """A PostgreSQL array, as text: unnest would take lists of lists apart."""
    return "{" + ",".join("NULL" if value is None else json.dumps(value) for value in values) + "}"
