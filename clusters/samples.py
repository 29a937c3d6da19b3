"""What the monitor has kept, read for pictures: at most `POINTS` buckets for each instance, put together by the database.

One query however many measures (two where the fine samples of the last day are read too), whatever the length of the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from clusters.models import Sample

#: Buckets for each instance at most: about as many as a chart has pixels.
POINTS: Final = 750
#: Lengths of a bucket, in seconds.
STEPS: Final = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800)
MINUTE: Final = Sample.Period.MINUTE.value
HOUR: Final = Sample.Period.HOUR.value
#: How long each kind of row is kept (`tasks.watching.store`), with a margin for what is being pruned.
FINE_AGE: Final = timedelta(hours=23)
MINUTE_AGE: Final = timedelta(days=30, hours=23)
LONGEST: Final = timedelta(days=731)

Points = list[float | None]


@dataclass(frozen=True)
class Measure:
    """`worst`: which end of a bucket matters, "high" or "low". `fine`: whether samples of every few seconds are kept of it for a day."""

    name: str
    unit: str  # bytes, seconds, bytes/s, number, share
    worst: str = "high"
    fine: bool = False
    low: str = ""  # SQL over the rows of a bucket
    high: str = ""

    @property
    def columns(self) -> str:
        return f"{self.low or f'min({self.name})'}::float8, {self.high or f'max({self.name})'}::float8"


_SHARE: Final = "sum(answers)::float8 / nullif(sum(looks), 0)"
MEASURES: Final[Mapping[str, Measure]] = {
    measure.name: measure
    for measure in (
        Measure("lag_bytes", "bytes", fine=True),
        Measure("lag_seconds", "seconds", fine=True),
        Measure("wal_rate", "bytes/s", fine=True),
        Measure("retained_bytes", "bytes", fine=True),
        Measure("disk_free_bytes", "bytes", worst="low"),
        Measure("connections", "number"),
        Measure("answers", "share", worst="low", low=_SHARE, high=_SHARE),
    )
}


@dataclass(frozen=True)
class Range:
    """`count` buckets of `step` seconds from `start` (since 1970, a multiple of `step`). `rows`: seconds of a row; 0: fine samples."""

    start: int
    step: int
    count: int
    rows: int

    @property
    def end(self) -> int:
        return self.start + self.step * self.count


@dataclass
class History:
    """What is known of one instance: measure -> lowest and highest of each bucket, and where nobody asked or nobody answered."""

    low: dict[str, Points] = field(default_factory=dict)
    high: dict[str, Points] = field(default_factory=dict)
    #: One letter a bucket of `Kept.states`: "-" not asked, "x" did not answer at all, "." answered.
    states: str = ""


@dataclass
class Kept:
    range: Range
    #: The buckets of `History.states` and of what has no fine samples; `range` itself where rows of minutes or hours are shown.
    coarse: Range
    of: dict[int, History]  # by instance

    def range_of(self, measure: Measure) -> Range:
        return self.range if measure.fine else self.coarse


def range_of(begin: datetime, end: datetime, now: datetime) -> Range:
    """The buckets that cover the time, and the finest rows that are still there for all of it."""
    seconds = (end - begin).total_seconds()
    fitting = next((step for step in STEPS if seconds / step <= POINTS - 1), STEPS[-1])
    least = 0 if begin > now - FINE_AGE else MINUTE if begin > now - MINUTE_AGE else HOUR
    step = max(fitting, least)
    rows = HOUR if step >= HOUR else MINUTE if step >= MINUTE else 0
    return _aligned(begin.timestamp(), end.timestamp(), step, rows)


def coarser(chosen: Range) -> Range:
    """The same time in buckets at least twice as long: many lines in one picture need fewer points each."""
    step = next((step for step in STEPS if step >= 2 * chosen.step), chosen.step)
    return _aligned(chosen.start, chosen.end, step, chosen.rows)


def kept_of(instances: Iterable[int], chosen: Range, measures: Sequence[Measure]) -> Kept:
    """What is kept of these instances in that time."""
    pks = list(instances)
    coarse = _aligned(chosen.start, chosen.end, max(chosen.step, MINUTE), chosen.rows or MINUTE)
    kept = Kept(chosen, coarse, {pk: History() for pk in pks})
    fine = [measure for measure in measures if measure.fine] if not chosen.rows else []
    _rows_read(kept, [measure for measure in measures if measure not in fine])
    if fine:
        _fine_read(kept, fine)
    return kept


def _aligned(begin: float, end: float, step: int, rows: int) -> Range:
    start = int(begin // step) * step
    return Range(start, step, max(1, min(POINTS, -int(-(end - start) // step))), rows)


#: The hours of which no row is made yet are taken from their minutes.
_HOURS: Final = """
(SELECT * FROM clusters_sample WHERE instance_id = ANY(%(pks)s) AND seconds = 3600 AND at >= %(begin)s AND at < %(end)s
 UNION ALL
 SELECT * FROM clusters_sample AS minute
  WHERE instance_id = ANY(%(pks)s) AND seconds = 60 AND at < %(end)s
    AND at >= greatest(%(begin)s, date_trunc('hour', now()) - interval '3 hours')
    AND NOT EXISTS (SELECT 1 FROM clusters_sample AS made
                     WHERE made.instance_id = minute.instance_id AND made.seconds = 3600 AND made.at = date_trunc('hour', minute.at)))"""
_MINUTES: Final = """
(SELECT * FROM clusters_sample WHERE instance_id = ANY(%(pks)s) AND seconds = 60 AND at >= %(begin)s AND at < %(end)s)"""
_BUCKET: Final = "date_bin(make_interval(secs => %(step)s), {at}, %(begin)s)"


def _rows_read(kept: Kept, measures: Sequence[Measure]) -> None:
    source = _HOURS if kept.coarse.rows == HOUR else _MINUTES
    columns = "".join(f", {measure.columns}" for measure in measures)
    text = f"""
SELECT instance_id, extract(epoch FROM bucket)::bigint, sum(looks), sum(answers){columns}
FROM (SELECT *, {_BUCKET.format(at="at")} AS bucket FROM {source} AS rows) AS binned
GROUP BY instance_id, bucket"""  # noqa: S608  # only this module's own words
    states = {pk: ["-"] * kept.coarse.count for pk in kept.of}
    lists = _lists(kept, measures, kept.coarse.count)
    for pk, number, looks, answers, *values in _asked(text, kept.coarse, kept.of):
        states[pk][number] = "." if answers else "x" if looks else "-"
        _put(lists[pk], number, values)
    for pk, history in kept.of.items():
        history.states = "".join(states[pk])


def _fine_read(kept: Kept, measures: Sequence[Measure]) -> None:
    names = [measure.name for measure in measures]
    columns = "".join(f", {measure.columns}" for measure in measures)
    text = f"""
SELECT instance_id, extract(epoch FROM bucket)::bigint{columns}
FROM (SELECT instance_id, point.*, {_BUCKET.format(at="(fine.at + point.sample_offset * interval '1 second')")} AS bucket
        FROM clusters_finesample AS fine, unnest(fine.offsets, {", ".join(f"fine.{name}" for name in names)})
             AS point (sample_offset, {", ".join(names)})
       WHERE instance_id = ANY(%(pks)s) AND at > %(begin)s - interval '1 minute' AND at < %(end)s) AS binned
GROUP BY instance_id, bucket"""  # noqa: S608  # only this module's own words
    lists = _lists(kept, measures, kept.range.count)
    for pk, number, *values in _asked(text, kept.range, kept.of):
        if 0 <= number < kept.range.count:  # a fine row begins with its minute
            _put(lists[pk], number, values)


def _lists(kept: Kept, measures: Sequence[Measure], count: int) -> dict[int, list[Points]]:
    """Of each instance the lists to fill, lowest and highest of each measure in turn."""
    found: dict[int, list[Points]] = {}
    for pk, history in kept.of.items():
        found[pk] = []
        for measure in measures:
            history.low[measure.name], history.high[measure.name] = [None] * count, [None] * count
            found[pk] += [history.low[measure.name], history.high[measure.name]]
    return found


def _put(lists: list[Points], number: int, values: Sequence[Any]) -> None:
    for points, value in zip(lists, values, strict=True):
        points[number] = value


def _asked(text: str, chosen: Range, instances: Iterable[int]) -> list[tuple[Any, ...]]:
    """Rows whose second column is the number of the bucket."""
    begin, end = (datetime.fromtimestamp(moment).astimezone() for moment in (chosen.start, chosen.end))
    with connection.cursor() as cursor:
        cursor.execute(text, {"pks": list(instances), "begin": begin, "end": end, "step": chosen.step})
        return [(pk, (moment - chosen.start) // chosen.step, *rest) for pk, moment, *rest in cursor.fetchall()]


# -- the last hour of many, in a few points


@dataclass(frozen=True)
class LastHour:
    """The worst lag of the last hour in points of two minutes; None where none is known."""

    lags: tuple[int | None, ...]

    @property
    def highest(self) -> int | None:
        return max((lag for lag in self.lags if lag is not None), default=None)


_PARTS: Final = 30
_LAST_HOUR: Final = """
SELECT {key}, array_agg(part), array_agg(lag) FROM (
    SELECT {key}, least(((extract(epoch FROM now()) - extract(epoch FROM kept.at))::int / 120), 29) AS part, max(kept.lag_bytes) AS lag
    FROM clusters_instance AS instance JOIN clusters_sample AS kept ON kept.instance_id = instance.id
    WHERE {key} = ANY(%s) AND kept.seconds = 60 AND kept.at > now() - interval '1 hour' AND kept.lag_bytes IS NOT NULL
    GROUP BY 1, 2) AS parts
GROUP BY 1"""


def last_hours_of_clusters(clusters: Iterable[int]) -> dict[int, LastHour]:
    """Cluster key -> the worst lag of any of its instances."""
    return _last_hours("instance.cluster_id", clusters)


def last_hours_of_instances(instances: Iterable[int]) -> dict[int, LastHour]:
    return _last_hours("instance.id", instances)


def _last_hours(column: str, keys: Iterable[int]) -> dict[int, LastHour]:
    name = column.partition(".")[2]
    text = _LAST_HOUR.format(key=column).replace(f"SELECT {column}, array_agg", f"SELECT {name}, array_agg")
    found: dict[int, LastHour] = {}
    with connection.cursor() as cursor:
        cursor.execute(text, [list(keys)])
        for key, parts, lags in cursor.fetchall():
            by_part = dict(zip(parts, lags, strict=True))
            found[key] = LastHour(tuple(by_part.get(part) for part in range(_PARTS - 1, -1, -1)))
    return found
