"""Silences and maintenance windows: what keeps an alert from being sent. It is raised and shown all the same."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from tasks.models import Alert, Silence

WEEK: Final = timedelta(days=7)


def silences_read(now: datetime | None = None) -> list[Silence]:
    """Those that are in force or will be. What is past is left where it lies: this is asked every few seconds, for years."""
    rows = Silence.objects.filter(Q(weekly=True) | Q(ends_at__gt=now or timezone.now())).select_related("cluster")
    return list(rows.only("cluster__name", *(field.name for field in Silence._meta.concrete_fields)))


def window(silence: Silence, now: datetime) -> tuple[datetime, datetime] | None:
    """From when until when: the time in force now, else the next one; None: it is past. A weekly one comes again after seven days."""
    begin, end = silence.starts_at, silence.ends_at
    if silence.weekly and now >= end:
        later = ((now - end) // WEEK + 1) * WEEK
        begin, end = begin + later, end + later
    return (begin, end) if now < end else None


def until(silence: Silence, now: datetime) -> datetime | None:
    """When it is over, where it is in force now."""
    found = window(silence, now)
    return found[1] if found and found[0] <= now else None


def is_past(silence: Silence, now: datetime) -> bool:
    """It will never be in force again."""
    return window(silence, now) is None


def covers(silence: Silence, alert: Alert) -> bool:
    """Whether it is about such an alert, whenever it is in force."""
    of_cluster = silence.cluster_id is None or silence.cluster_id == alert.cluster_id
    return of_cluster and silence.condition in ("", alert.condition)


def silenced_until(alert: Alert, silences: Iterable[Silence], now: datetime) -> datetime | None:
    """The latest end of those that cover it now; None where none does."""
    ends = [end for silence in silences if covers(silence, alert) and (end := until(silence, now))]
    return max(ends, default=None)
