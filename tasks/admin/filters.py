"""Filters of the audit trail's list; the export takes the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter, TextFilter
from unfold.utils import parse_date_str

from tasks.models import AuditEntry


class ExactFilter(TextFilter):  # type: ignore[misc]  # unfold has no types
    """A name as it stands in the entry; empty: any."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = (self.value() or "").replace("\0", "").strip()
        return queryset.filter(**{self.field: value}) if value else queryset


class ClusterFilter(ExactFilter):
    title, parameter_name, field = _("cluster"), "cluster", "cluster_name"


class ActorFilter(ExactFilter):
    title, parameter_name, field = _("who"), "actor", "actor"


class ActionFilter(DropdownFilter):  # type: ignore[misc]
    """The actions that there are entries of."""

    title, parameter_name = _("action"), "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class PhaseFilter(DropdownFilter):  # type: ignore[misc]
    title, parameter_name = _("phase"), "phase"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("opened", _("opened")), ("closed", _("closed")), ("single", _("single"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(phase=self.value()) if self.value() else queryset


class DaysFilter(RangeDateFilter):  # type: ignore[misc]
    """From the first day's beginning to the last day's end, in the panel's time zone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.title = _("day")

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        since, until = days_of(self.used_parameters)
        queryset = queryset.filter(at__gte=since) if since else queryset
        return queryset.filter(at__lt=until) if until else queryset


def days_of(params: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    first, last = _day(params.get("at_from")), _day(params.get("at_to"))
    return _begin(first), _begin(last + timedelta(days=1) if last else None)


def _day(text: Any) -> date | None:
    try:
        return parse_date_str(str(text)) if text else None
    except (ValueError, TypeError):
        return None


def _begin(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time())) if day else None


def export_address(params: Mapping[str, str], form: str) -> str:
    """Where the entries that the list shows are given out: its filters go along, its search does not."""
    given = {name: value for name in ("cluster", "actor", "action", "phase") if (value := params.get(name, ""))}
    since, until = days_of(params)
    given |= {name: day.isoformat() for name, day in (("since", since), ("until", until)) if day}
    return f"{reverse('api:export')}?{urlencode({'format': form, **given})}"
