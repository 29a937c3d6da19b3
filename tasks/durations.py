"""How long jobs take: of each kind the median and the 95th percentile, of one kind over time and job by job, of one job step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Max
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from tasks.charts import Row, time_ticks
from tasks.kinds import KINDS
from tasks.models import Job, JobStep
from tasks.pictures.chart import HEIGHT, Plot, Series, plot
from tasks.pictures.scale import ticks
from tasks.templatetags.panel import duration

#: The newest jobs that are counted: so many rows are read, however many there are.
COUNTED: Final = 20_000
SHOWN: Final = 100
PERIODS: Final = 60


@dataclass(frozen=True)
class KindTimes:
    kind: str
    label: str
    number: int
    median: float
    most: float  # 95 % took no longer


@dataclass(frozen=True)
class Dot:
    """One job of the strip, in percent of the width and the height. `shape`: of its end."""

    job: int
    x: float
    y: float
    shape: str
    status: str
    label: str
    seconds: float
    at: datetime | None
    cluster: str


@dataclass
class OverTime:
    """The median and the 95th percentile of one kind, period by period."""

    plot: Plot
    rows: list[Row] = field(default_factory=list)
    sentence: str = ""


@dataclass(frozen=True)
class Bar:
    """One step of a job: where it lies between the job's begin and end, in percent."""

    title: str
    left: float
    width: float
    seconds: float
    tone: str


# -- of all kinds

_ENDED: Final = """
FROM tasks_job WHERE id > %(after)s AND finished_at IS NOT NULL AND started_at IS NOT NULL AND status NOT IN ('refused', 'canceled')"""
_KINDS: Final = f"""
SELECT kind, count(*), percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)::float8)
{_ENDED} GROUP BY kind ORDER BY count(*) DESC, kind"""  # noqa: S608  # only this module's own words
_PERIODS: Final = f"""
WITH took AS (SELECT finished_at, extract(epoch FROM finished_at - started_at)::float8 AS seconds {_ENDED} AND kind = %(kind)s),
     span AS (SELECT min(finished_at) AS first, greatest(max(finished_at) - min(finished_at), interval '1 minute') AS length FROM took)
SELECT extract(epoch FROM first)::float8, extract(epoch FROM length)::float8,
       least(floor(%(periods)s * extract(epoch FROM finished_at - first) / extract(epoch FROM length)), %(periods)s - 1)::int AS period,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds)
FROM took, span GROUP BY 1, 2, 3 ORDER BY 3"""  # noqa: S608  # only this module's own words


def counted_after() -> int:
    """The number of the job after which the newest `COUNTED` begin."""
    return max(0, (Job.objects.aggregate(last=Max("pk"))["last"] or 0) - COUNTED)


def kinds_times(after: int) -> list[KindTimes]:
    rows = _asked(_KINDS, {"after": after})
    return [KindTimes(kind, label_of(kind), number, median, most) for kind, number, (median, most) in rows]


def label_of(kind: str) -> str:
    return capfirst(str(KINDS[kind].label)) if kind in KINDS else kind


# -- of one kind


def over_time(after: int, kind: str) -> OverTime | None:
    rows = _asked(_PERIODS, {"after": after, "kind": kind, "periods": PERIODS})
    if not rows:
        return None
    start, length = rows[0][0], rows[0][1]
    found: Mapping[int, Sequence[float]] = {number: times for _start, _length, number, times in rows}
    lists = [[found[number][which] if number in found else None for number in range(PERIODS)] for which in (0, 1)]
    names = (_("median"), _("95 %"))
    series = [
        Series(name, points, points, points, style, letter) for name, points, style, letter in zip(names, lists, (1, 2), "AB", strict=True)
    ]
    highest = max(times[1] for times in found.values())
    picture = plot(series, ticks(highest, "seconds"), duration, count=PERIODS, join=PERIODS)
    picture.x_ticks = time_ticks(start, start + length)
    table = [
        Row(datetime.fromtimestamp(start + number * length / PERIODS, timezone.get_current_timezone()), [duration(each) for each in times])
        for number, times in found.items()
    ]
    words = _("The highest 95 %% of a period was %(most)s, the last median %(last)s.")
    last = found[max(found)][0]
    return OverTime(picture, table[::-1], words % {"most": duration(highest), "last": duration(last)})


def strip_of(after: int, kind: str) -> tuple[list[Dot], Plot]:
    """The last jobs of a kind that have ended, the oldest first, and the axis they stand on."""
    rows = Job.objects.filter(pk__gt=after, kind=kind, finished_at__isnull=False, started_at__isnull=False)
    jobs = list(rows.only("status", "kind", "cluster_name", "started_at", "finished_at").order_by("-pk")[:SHOWN])[::-1]
    seconds = [_seconds(job.started_at, job.finished_at) for job in jobs]
    axis = ticks(max(seconds, default=0.0), "seconds")
    dots = [_dot(job, took, number, len(jobs), axis[-1]) for number, (job, took) in enumerate(zip(jobs, seconds, strict=True))]
    return dots, plot([], axis, duration, count=SHOWN)


def _dot(job: Job, took: float, number: int, count: int, top: float) -> Dot:
    return Dot(
        job=job.pk,
        x=round(100 * (number + 0.5) / count, 2),
        y=round(HEIGHT * (1 - took / top)),
        shape={"done": "done", "failed": "failed", "needs_operator": "failed"}.get(job.status, "other"),
        status=job.status,
        label=str(job.get_status_display()),
        seconds=took,
        at=job.finished_at,
        cluster=job.cluster_name,
    )


# -- of one job


def step_bars(job: Job, steps: Sequence[JobStep]) -> list[Bar]:
    """The steps that were begun, of a job that has ended; nothing for one that is under way."""
    begun = [step for step in steps if step.started_at and step.finished_at]
    if not job.finished_at or len(begun) < 2:
        return []
    first = min(step.started_at for step in begun if step.started_at)
    whole = max(_seconds(first, max(step.finished_at for step in begun if step.finished_at)), 0.001)
    return [
        Bar(
            title=step.title,
            left=round(100 * _seconds(first, step.started_at) / whole, 2),
            width=round(100 * _seconds(step.started_at, step.finished_at) / whole, 2),
            seconds=_seconds(step.started_at, step.finished_at),
            tone={"done": "ok", "failed": "failed", "undone": "warning"}.get(step.status, "unknown"),
        )
        for step in begun
    ]


def _seconds(start: datetime | None, end: datetime | None) -> float:
    return max((end - start).total_seconds(), 0.0) if start and end else 0.0


def _asked(text: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        return list(cursor.fetchall())
