"""Lists of what happened: jobs and the audit trail. For ever read-only."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from tasks.admin.filters import ActionFilter, ActorFilter, ClusterFilter, DaysFilter, PhaseFilter, export_address
from tasks.admin.readonly import PageAdmin, ReadOnlyAdmin, link
from tasks.models import AuditEntry, Job
from tasks.outcome import outcome_of
from tasks.templatetags.panel import age, status_badge, took
from tasks.trail import TYPES


@admin.register(Job)
class JobAdmin(PageAdmin):
    list_display = ("page", "target", "status_shown", "requested_by_name", "requested", "took_shown", "outcome")
    list_filter = (("status", ChoicesDropdownFilter), ("kind", ChoicesDropdownFilter), "source")
    list_before_template = "tasks/jobs_tools.html"
    search_fields = ("cluster_name", "instance_name", "requested_by_name")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).select_related("server").defer("plan", "params", "result", "server__facts")  # type: ignore[no-any-return]

    def address(self, row: Job) -> str:
        return reverse("job-page", args=[row.pk])

    @admin.display(description=_("job"), ordering="pk")
    def page(self, row: Job) -> SafeString:
        return link(self.address(row), f"#{row.pk} {capfirst(str(row.get_kind_display()))}")

    @admin.display(description=_("acts on"), ordering="cluster_name")
    def target(self, row: Job) -> str:
        names = [name for name in (row.cluster_name, row.instance_name) if name]
        return "/".join(names) or (row.server.name if row.server else "–")

    @admin.display(description=_("status"), ordering="status")
    def status_shown(self, row: Job) -> SafeString:
        return status_badge(row.status, row.get_status_display())

    @admin.display(description=_("requested"), ordering="created_at")
    def requested(self, row: Job) -> SafeString:
        return age(row.created_at, stale=False)

    @admin.display(description=_("took"))
    def took_shown(self, row: Job) -> SafeString:
        return format_html('<span class="pg-age">{}</span>', took(row.started_at, row.finished_at) or "–")

    @admin.display(description=_("outcome"))
    def outcome(self, row: Job) -> str:
        return Truncator(row.summary).chars(120)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("number", "at", "actor", "source", "action", "phase", "cluster_name", "target", "job_shown", "reason_shown")
    list_filter = (
        ClusterFilter,
        ActorFilter,
        ActionFilter,
        PhaseFilter,
        "source",
        ("at", DaysFilter),
    )
    list_filter_submit = True
    list_before_template = "tasks/audit_tools.html"
    search_fields = ("actor", "cluster_name", "target", "reason")
    fields = (
        "number", "at", "actor", "source", "action", "phase", "cluster_name", "target", "reason",
        "job_shown", "plan_hash_shown", "outcome_shown", "details_shown", "previous_hash_shown", "hash_shown",
    )  # fmt: skip
    readonly_fields = fields

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        exports = {form: export_address(request.GET.dict(), form) for form in TYPES}
        return super().changelist_view(request, {**(extra_context or {}), "exports": exports})  # type: ignore[no-any-return]

    @admin.display(description=_("job"), ordering="job_id")
    def job_shown(self, row: AuditEntry) -> SafeString | str:
        return link(reverse("job-page", args=[row.job_id]), f"#{row.job_id}") if row.job_id else "–"

    @admin.display(description=_("reason"))
    def reason_shown(self, row: AuditEntry) -> str:
        return Truncator(row.reason).chars(80)

    @admin.display(description=_("plan hash"))
    def plan_hash_shown(self, row: AuditEntry) -> SafeString:
        return _digest(row.plan_hash)

    @admin.display(description=_("hash of the entry before"))
    def previous_hash_shown(self, row: AuditEntry) -> SafeString:
        return _digest(row.previous_hash)

    @admin.display(description=_("hash"))
    def hash_shown(self, row: AuditEntry) -> SafeString:
        return _digest(row.hash)

    @admin.display(description=_("outcome"))
    def outcome_shown(self, row: AuditEntry) -> SafeString | str:
        outcome = outcome_of(row.action, row.details.get("result") or {}) if row.phase == "closed" else None
        if outcome is None:
            return str(row.details.get("summary") or "–")
        rows = format_html_join("", "<dt>{}</dt><dd>{}</dd>", ((fact.label, fact.value) for fact in outcome.facts))
        return format_html('<dl class="pg-facts pg-outcome">{}</dl>', rows)

    @admin.display(description=_("details"))
    def details_shown(self, row: AuditEntry) -> SafeString:
        return format_html('<pre class="pg-details">{}</pre>', json.dumps(row.details, indent=2, ensure_ascii=False, sort_keys=True))


def _digest(text: str) -> SafeString:
    """It breaks where the page is narrow."""
    return format_html('<span class="pg-mono pg-break">{}</span>', text or "–")
