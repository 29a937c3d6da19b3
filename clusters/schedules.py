"""When each cluster is verified by itself: three rows of django-celery-beat, made and removed with the cluster.

A row's message carries the cluster's key and the depth and only knocks; `tasks.schedule` decides whether a job is made. The
clusters are spread over the interval, the day and the week, so that a thousand of them do not start at one moment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from clusters.models import Cluster, VerificationRun

Depth = VerificationRun.Depth
VERIFY_CLUSTER: Final = "tasks.verify_cluster"
STANDING_MINUTES: Final = 5
WEEK_DAYS: Final = 7
#: A content comparison reads much: it starts in one of the first hours of a day.
QUIET_HOURS: Final = 6


@dataclass(frozen=True)
class Planned:
    """One schedule of a cluster, as it is edited. Standing: `minutes`; deep: `at`; content: `at` on `day` (0 is Sunday)."""

    depth: str
    enabled: bool = True
    minutes: int | None = None
    at: str = ""
    day: int | None = None
    tables: tuple[str, ...] = ()

    @property
    def period(self) -> timedelta:
        """From one run to the next."""
        return timedelta(minutes=self.minutes) if self.minutes else timedelta(days=1 if self.day is None else WEEK_DAYS)


@dataclass(frozen=True)
class Schedule:
    """A schedule and when it knocks."""

    cluster_id: int
    planned: Planned
    since: datetime  # from when on it is in force
    next_at: datetime | None  # None: switched off


def defaults(key: int) -> list[Planned]:
    """What a cluster begins with; its key spreads it."""
    minute, slot = key * 613 % 1440, key * 163 % (WEEK_DAYS * QUIET_HOURS * 60)
    day, early = divmod(slot, QUIET_HOURS * 60)
    return [
        Planned(Depth.STANDING, minutes=STANDING_MINUTES),
        Planned(Depth.DEEP, at=f"{minute // 60:02d}:{minute % 60:02d}"),
        Planned(Depth.CONTENT, at=f"{early // 60:02d}:{early % 60:02d}", day=day),
    ]


def schedules_make(cluster: Cluster) -> None:
    """The schedules of a new cluster, in the caller's transaction."""
    for planned in defaults(cluster.pk):
        schedule_set(cluster, planned)


def schedules_forget(cluster: Cluster) -> None:
    PeriodicTask.objects.filter(name__in=_names([cluster.pk])).delete()


def schedule_set(cluster: Cluster, planned: Planned) -> None:
    """Put down a schedule of the cluster, in the place of the one of its depth that there was."""
    now = timezone.now()
    arguments: dict[str, Any] = {"cluster_id": cluster.pk, "depth": planned.depth}
    values = {
        "task": VERIFY_CLUSTER,
        "kwargs": json.dumps(arguments | ({"tables": list(planned.tables)} if planned.tables else {})),
        "enabled": planned.enabled,
        "description": f"Verify {cluster.name}: {planned.depth}",
        "start_time": now,
        "last_run_at": now,
        "interval": None,
        "crontab": None,
        # A message that nobody took for so long is worthless: the next one comes.
        "expire_seconds": min(3600, int(planned.period.total_seconds())),
    }
    if planned.minutes:
        values["interval"] = IntervalSchedule.objects.get_or_create(every=planned.minutes, period=IntervalSchedule.MINUTES)[0]
        values["last_run_at"] = now - timedelta(seconds=cluster.pk * 37 % (planned.minutes * 60))
    else:
        values["crontab"] = _crontab(planned)
    row = PeriodicTask.objects.filter(name=_name(cluster.pk, planned.depth)).first() or PeriodicTask(name=_name(cluster.pk, planned.depth))
    for field, value in values.items():
        setattr(row, field, value)
    row.save()
    PeriodicTasks.update_changed()


def _crontab(planned: Planned) -> CrontabSchedule:
    hour, _colon, minute = planned.at.partition(":")
    fields = {
        "minute": str(int(minute)),
        "hour": str(int(hour)),
        "day_of_week": "*" if planned.day is None else str(planned.day),
        "day_of_month": "*",
        "month_of_year": "*",
        "timezone": timezone.get_default_timezone_name(),
    }
    return CrontabSchedule.objects.filter(**fields).first() or CrontabSchedule.objects.create(**fields)


def schedules_of(clusters: Iterable[int]) -> dict[int, dict[str, Schedule]]:
    """Cluster key -> depth -> its schedule: one query, whatever their number."""
    rows = PeriodicTask.objects.filter(name__in=_names(clusters)).select_related("interval", "crontab")
    found: dict[int, dict[str, Schedule]] = {}
    for row in rows:
        schedule = _read(row)
        found.setdefault(schedule.cluster_id, {})[schedule.planned.depth] = schedule
    return found


def schedules_enabled() -> list[Schedule]:
    """Those of all clusters that are switched on, without the moment of the next knock."""
    rows = PeriodicTask.objects.filter(task=VERIFY_CLUSTER, enabled=True).select_related("interval", "crontab")
    return [_read(row, told=False) for row in rows]


def _read(row: PeriodicTask, *, told: bool = True) -> Schedule:
    arguments: Mapping[str, Any] = json.loads(row.kwargs)
    at = f"{int(row.crontab.hour):02d}:{int(row.crontab.minute):02d}" if row.crontab else ""
    planned = Planned(
        depth=arguments["depth"],
        enabled=row.enabled,
        minutes=row.interval.every if row.interval else None,
        at=at,
        day=int(row.crontab.day_of_week) if row.crontab and row.crontab.day_of_week != "*" else None,
        tables=tuple(arguments.get("tables", ())),
    )
    return Schedule(arguments["cluster_id"], planned, row.start_time, _next(row) if told and row.enabled else None)


def _next(row: PeriodicTask) -> datetime:
    schedule = row.interval.schedule if row.interval else row.crontab.schedule
    left: timedelta = schedule.remaining_estimate(row.last_run_at)
    return timezone.now() + max(left, timedelta(0))


def _name(key: int, depth: str) -> str:
    return f"verify-{depth}-{key}"


def _names(keys: Iterable[int]) -> list[str]:
    return [_name(key, depth) for key in keys for depth in Depth.values]
