"""Silences and maintenance windows: what keeps an alert from being sent. It is raised and shown all the same."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from tasks.models import Alert, Silence

WEEK: Final = timedelta(days=7)


def silences_read() -> list[Silence]:
    """Those that are in force or may be again."""
    return list(Silence.objects.select_related("cluster").only("cluster__name", *(field.name for field in Silence._meta.concrete_fields)))


def until(silence: Silence, now: datetime) -> datetime | None:
    """When it is over, where it is in force now; a weekly one begins again seven days after it began."""
    begin, end = silence.starts_at, silence.ends_at
    if silence.weekly and now >= begin:
        weeks = (now - begin) // WEEK
        begin, end = begin + weeks * WEEK, end + weeks * WEEK
    return end if begin <= now < end else None


def is_past(silence: Silence, now: datetime) -> bool:
    """It will never be in force again."""
    return not silence.weekly and silence.ends_at <= now


def covers(silence: Silence, alert: Alert) -> bool:
    """Whether it is about such an alert, whenever it is in force."""
    of_cluster = silence.cluster_id is None or silence.cluster_id == alert.cluster_id
    return of_cluster and silence.condition in ("", alert.condition)


def silenced_until(alert: Alert, silences: Iterable[Silence], now: datetime) -> datetime | None:
    """The latest end of those that cover it now; None where none does."""
    ends = [end for silence in silences if covers(silence, alert) and (end := until(silence, now))]
    return max(ends, default=None)
