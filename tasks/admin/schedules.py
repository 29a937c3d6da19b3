"""What the panel does by itself for all clusters, and when. It comes from the settings; here it is switched off and on again.

Beat writes interval and task back from the settings at each start, so a page that let one change them would lie.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin

from clusters.schedules import VERIFY_CLUSTER
from tasks.admin.readonly import ReadOnlyAdmin
from tasks.templatetags.panel import age

admin.site.unregister([ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule])


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    actions = None
    list_display = ("name", "task", "schedule_shown", "enabled", "last_run")
    list_select_related = ("interval", "crontab", "solar", "clocked")
    fields = ("name", "task", "schedule_shown", "enabled", "last_run", "total_run_count", "description")
    readonly_fields = ("name", "task", "schedule_shown", "last_run", "total_run_count", "description")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicTask]:
        """Those of single clusters are changed on pages of their own, which write each change into the audit trail."""
        return super().get_queryset(request).exclude(task=VERIFY_CLUSTER)  # type: ignore[no-any-return]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("schedule"))
    def schedule_shown(self, row: PeriodicTask) -> str:
        return str(row.interval or row.crontab or row.solar or row.clocked)

    @admin.display(description=_("last run"), ordering="last_run_at")
    def last_run(self, row: PeriodicTask) -> SafeString:
        return age(row.last_run_at, stale=False)


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(ReadOnlyAdmin):
    list_display = ("every", "period")


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "timezone")
