"""Alerts as page, API and command show them. A constant number of queries, whatever their number."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db.models import Case, Count, QuerySet, When
from django.utils import timezone
from typing_extensions import TypedDict

from clusters.models import Cluster
from tasks.alerting.conditions import CONDITIONS
from tasks.alerting.rules import rules_read
from tasks.alerting.silences import silenced_until, silences_read, until, window
from tasks.models import Alert, Severity, Silence
from tasks.retold import retold

PAGE: Final = 50
_GRAVEST: Final = Case(When(severity=Severity.CRITICAL, then=0), default=1)


class AlertShow(TypedDict):
    id: int
    condition: str
    label: str
    severity: str
    cluster: str | None  # null: what is wrong with the panel itself
    instance: str | None
    sentence: str
    cure: str
    value: str
    threshold: str
    began_at: datetime
    raised_at: datetime | None
    ended_at: datetime | None
    silenced_until: datetime | None


class SilenceShow(TypedDict):
    id: int
    cluster: str | None  # null: all
    condition: str | None  # null: every one
    starts_at: datetime
    ends_at: datetime
    weekly: bool
    window_begins_at: datetime | None  # the time in force now, else the next one; null: past
    window_ends_at: datetime | None
    in_force_until: datetime | None  # null: not now
    past: bool
    reason: str
    made_by: str


class RuleShow(TypedDict):
    condition: str
    label: str
    says: str
    source: str
    enabled: bool
    severity: str
    hold_seconds: int
    threshold: float | None
    unit: str
    changed: bool


def alerts_raised() -> QuerySet[Alert]:
    """Those that were held long enough to be told; what is still held is nobody's concern yet."""
    return Alert.objects.filter(raised_at__isnull=False)


def alerts_open() -> QuerySet[Alert]:
    """The gravest first, then those that last longest."""
    return alerts_raised().filter(ended_at=None).order_by(_GRAVEST, "raised_at", "pk")


def alerts_of(cluster: Cluster) -> list[AlertShow]:
    """The open ones of a cluster. Two queries; one where nothing is wrong."""
    return alerts_shown(list(alerts_open().filter(cluster=cluster)))


def alerts_past(*, cluster: str = "", severity: str = "") -> QuerySet[Alert]:
    """Open ones and those that are over, the newest first."""
    rows = alerts_raised().order_by("-pk")
    if cluster:
        rows = rows.filter(cluster_name=cluster.replace("\0", ""))
    return rows.filter(severity=severity) if severity else rows


def alert_show(number: int) -> AlertShow:
    """Raises: Alert.DoesNotExist."""
    return alerts_shown([alerts_raised().get(pk=number)])[0]


def alerts_shown(rows: list[Alert]) -> list[AlertShow]:
    """One query, for the silences; none without rows."""
    now, silences = timezone.now(), silences_read() if any(row.ended_at is None for row in rows) else []
    return [_shown(row, silences, now) for row in rows]


def _shown(row: Alert, silences: list[Silence], now: datetime) -> AlertShow:
    condition = CONDITIONS.get(row.condition)
    return {
        "id": row.pk,
        "condition": row.condition,
        "label": str(condition.label) if condition else row.condition,
        "severity": row.severity,
        "cluster": row.cluster_name or None,
        "instance": row.instance_name or None,
        "sentence": retold(row.sentence),
        "cure": retold(row.cure),
        "value": row.value,
        "threshold": row.threshold,
        "began_at": row.began_at,
        "raised_at": row.raised_at,
        "ended_at": row.ended_at,
        "silenced_until": silenced_until(row, silences, now) if row.ended_at is None else None,
    }


def counts_open() -> dict[str, int]:
    """Severity -> how many are open. One query."""
    rows = alerts_raised().filter(ended_at=None).order_by().values_list("severity").annotate(number=Count("pk"))
    return {severity: number for severity, number in rows}  # noqa: C416  # dict() does not know the row's type


def silences_shown() -> list[SilenceShow]:
    """Those that are or will be in force: what is in force now or is so next comes first."""
    now = timezone.now()
    rows = sorted(silences_read(now), key=lambda row: (window(row, now) or (now, now), row.pk))
    return [_silence_shown(row, now) for row in rows]


def silence_shown(silence: Silence) -> SilenceShow:
    return _silence_shown(silence, timezone.now())


def _silence_shown(row: Silence, now: datetime) -> SilenceShow:
    begin, end = window(row, now) or (None, None)
    return {
        "id": row.pk,
        "cluster": row.cluster.name if row.cluster else None,
        "condition": row.condition or None,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "weekly": row.weekly,
        "window_begins_at": begin,
        "window_ends_at": end,
        "in_force_until": until(row, now),
        "past": end is None,
        "reason": row.reason,
        "made_by": row.made_by,
    }


def rules_shown() -> list[RuleShow]:
    """In the order of the table."""
    return [
        {
            "condition": name,
            "label": str(rule.condition.label),
            "says": str(rule.condition.says),
            "source": rule.condition.source,
            "enabled": rule.enabled,
            "severity": rule.severity,
            "hold_seconds": rule.hold_seconds,
            "threshold": rule.threshold,
            "unit": str(rule.condition.unit),
            "changed": rule.changed,
        }
        for name, rule in rules_read().items()
    ]
