"""The schedules of clusters, shown and changed: the same for page, API and command. Each change is an entry of the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from typing_extensions import TypedDict

from clusters.models import Cluster, VerificationRun
from clusters.schedule_forms import ScheduleForm, values_of
from clusters.schedules import Planned, defaults, schedule_set, schedules_of
from tasks.actor import Actor
from tasks.audit import audit_append
from tasks.refusals import RequestRefused, allow
from tasks.schedule import last_runs

CHANGE: Final = "django_celery_beat.change_periodictask"


class ScheduleShown(TypedDict):
    depth: str
    enabled: bool
    every_minutes: int | None  # of standing
    at: str  # of deep and content: the time of day
    day: int | None  # of content: 0 is Sunday
    tables: list[str]
    last_run: datetime | None  # as deep, or deeper
    next_run: datetime | None


def schedules_shown(clusters: Sequence[Cluster]) -> dict[int, list[ScheduleShown]]:
    """Cluster key -> its schedules by depth, with their last runs: two queries, whatever the number of clusters."""
    keys = [cluster.pk for cluster in clusters]
    found, last = schedules_of(keys), last_runs(pk__in=keys)
    return {
        key: [_shown(each.planned, last.get(key, {}).get(depth), each.next_at) for depth, each in _by_depth(found.get(key, {}))]
        for key in keys
    }


def _by_depth(schedules: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(depth, schedules[depth]) for depth in VerificationRun.Depth.values if depth in schedules]


def _shown(planned: Planned, last_run: datetime | None, next_run: datetime | None) -> ScheduleShown:
    return {
        "depth": planned.depth,
        "enabled": planned.enabled,
        "every_minutes": planned.minutes,
        "at": planned.at,
        "day": planned.day,
        "tables": list(planned.tables),
        "last_run": last_run,
        "next_run": next_run,
    }


def schedule_values(cluster: Cluster) -> dict[str, Any]:
    """The cluster's schedules as their form has them."""
    return values_of(_planned(cluster))


def schedule_change(*, actor: Actor, cluster: Cluster, data: Mapping[str, Any]) -> list[str]:
    """Change what is given; the names of the fields whose values are others now.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, CHANGE)
    before = _planned(cluster)
    old = values_of(before)
    form = ScheduleForm(old | dict(data))
    if not form.is_valid():
        raise RequestRefused(form.messages())
    wanted = {planned.depth: planned for planned in form.planned()}
    new = values_of(wanted)
    changed = [field for field in new if new[field] != old[field]]
    if changed:
        with transaction.atomic():
            for planned in wanted.values():
                if planned != before[planned.depth]:
                    schedule_set(cluster, planned)
            details = {field: [old[field], new[field]] for field in changed}
            audit_append(actor=actor.name, source=actor.source, action="schedule_change", cluster_name=cluster.name, details=details)
    return changed


def _planned(cluster: Cluster) -> dict[str, Planned]:
    kept = {depth: each.planned for depth, each in schedules_of([cluster.pk]).get(cluster.pk, {}).items()}
    return {planned.depth: kept.get(planned.depth, planned) for planned in defaults(cluster.pk)}
