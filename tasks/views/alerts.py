"""Alerts: what is wrong now, what was, what is kept quiet, and how strict the rules are."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.models import Instance, Monitor
from clusters.selectors import monitor_watches
from tasks.actor import Actor, actor_of
from tasks.alerting.changes import (
    RULE_CHANGE,
    SILENCE_ADD,
    SILENCE_CHANGE,
    RuleForm,
    SilenceForm,
    rule_change,
    rule_reset,
    rule_values,
    silence_end,
    silence_make,
)
from tasks.alerting.conditions import CONDITIONS
from tasks.alerting.rules import rules_read
from tasks.alerting.selectors import PAGE, alerts_open, alerts_past, alerts_shown, rules_shown, silences_shown
from tasks.models import Severity, Silence
from tasks.pulses import Part, lives
from tasks.refusals import GENERAL, RequestRefused
from tasks.views.frame import page, render
from tasks.views.requests import METHODS

VIEW: Final = "tasks.view_alert"
Crumbs = list[tuple[Any, str]]


def crumbs() -> Crumbs:
    return [(_("Fleet"), reverse("admin:index")), (_("Alerts"), reverse("alerts"))]


def acting(request: HttpRequest) -> Actor:
    if not request.user.is_authenticated:
        raise PermissionDenied
    return actor_of(request.user, "web")


def fields_of(form: Any, errors: dict[str, list[str]], *, long: str = "") -> list[dict[str, Any]]:
    """As `tasks/field.html` wants them."""
    return [{"field": form[name], "errors": errors.get(name, []), "name": name, "long": name == long} for name in form.fields]


def given_of(request: HttpRequest, form: Any) -> dict[str, Any]:
    return {field: request.POST[field] for field in form.base_fields if field in request.POST}


@page(VIEW)
def alerts_page(request: HttpRequest) -> HttpResponseBase:
    monitor = Monitor.objects.first()
    pages = Paginator(alerts_open(), PAGE).get_page(request.GET.get("page", "1"))
    return render(
        request,
        "alerts/open.html",
        title=_("Alerts"),
        crumbs=crumbs()[:1],
        pages=pages,
        alerts=alerts_shown(list(pages.object_list)),
        watched=monitor_watches(),
        nobody_told=not lives(Part.ALERTER),
        beat_at=monitor.beat_at if monitor else None,
        number=Instance.objects.filter(lifecycle="ready").count(),
        may_silence=request.user.has_perm(SILENCE_ADD),
        here="open",
    )


@page(VIEW)
def alerts_history_page(request: HttpRequest) -> HttpResponseBase:
    severity, cluster = request.GET.get("severity", ""), request.GET.get("cluster", "")[:41]
    wanted = {"severity": severity if severity in Severity.values else "", "cluster": cluster}
    pages = Paginator(alerts_past(**wanted), PAGE).get_page(request.GET.get("page", "1"))
    rows = list(pages.object_list)
    return render(
        request,
        "alerts/history.html",
        title=_("History of alerts"),
        crumbs=crumbs(),
        pages=pages,
        alerts=[(alert, row.cluster_id is not None) for alert, row in zip(alerts_shown(rows), rows, strict=True)],
        severities=Severity.choices,
        query=urlencode({key: value for key, value in wanted.items() if value}),
        here="history",
        **wanted,
    )


@page("tasks.view_silence")
def silences_page(request: HttpRequest) -> HttpResponseBase:
    return render(
        request,
        "alerts/silences.html",
        title=_("Silences and maintenance windows"),
        crumbs=crumbs(),
        silences=[(each, CONDITIONS[each["condition"]].label if each["condition"] in CONDITIONS else "") for each in silences_shown()],
        may_add=request.user.has_perm(SILENCE_ADD),
        may_end=request.user.has_perm(SILENCE_CHANGE),
        here="silences",
    )


@page(SILENCE_ADD, METHODS)
def silence_add_page(request: HttpRequest) -> HttpResponseBase:
    given, errors = given_of(request, SilenceForm), {}
    if request.method == "POST":
        try:
            silence_make(actor=acting(request), data=given)
        except RequestRefused as refused:
            errors = dict(refused.errors)
        else:
            messages.success(request, _("It is kept quiet. Alerts are raised and shown all the same."))
            return redirect("silences")
    asked = {field: request.GET[field][:100] for field in ("cluster", "condition") if field in request.GET}
    form = SilenceForm(initial={"weekly": "no", "lasts": "1h"} | asked | given)
    return render(
        request,
        "alerts/form.html",
        title=_("Keep alerts quiet"),
        crumbs=[*crumbs(), (_("Silences"), reverse("silences"))],
        fields=fields_of(form, errors, long="reason"),
        errors=errors,
        general=errors.get(GENERAL, []),
        button=_("Keep quiet"),
        back_url=reverse("silences"),
    )


@page(SILENCE_CHANGE, ("POST",))
def silence_end_view(request: HttpRequest, number: int) -> HttpResponseBase:
    try:
        silence_end(actor=acting(request), silence=get_object_or_404(Silence.objects.select_related("cluster"), pk=number))
    except RequestRefused as refused:
        messages.error(request, refused.sentence)
    else:
        messages.success(request, _("The silence is over: what is still so is told now."))
    return redirect("silences")


@page("tasks.view_alertrule")
def rules_page(request: HttpRequest) -> HttpResponseBase:
    return render(
        request,
        "alerts/rules.html",
        title=_("Alert rules"),
        crumbs=crumbs(),
        rules=rules_shown(),
        may_change=request.user.has_perm(RULE_CHANGE),
        here="rules",
    )


@page(RULE_CHANGE, METHODS)
def rule_page(request: HttpRequest, condition: str) -> HttpResponseBase:
    rule = rules_read().get(condition)
    if rule is None:
        raise Http404(_("There is no such condition."))
    given, errors = given_of(request, RuleForm), {}
    if request.method == "POST":
        if "reset" in request.POST:
            rule_reset(actor=acting(request), name=condition)
            messages.success(request, _("The rule is as it comes."))
            return redirect("alert-rules")
        try:
            changed = rule_change(actor=acting(request), name=condition, data=given)
        except RequestRefused as refused:
            errors = dict(refused.errors)
        else:
            messages.success(request, _("The rule was changed.") if changed else _("The rule is as it was."))
            return redirect("alert-rules")
    form = RuleForm(initial=rule_values(rule) | given, condition=rule.condition)
    return render(
        request,
        "alerts/form.html",
        title=_("Rule: %(name)s") % {"name": rule.condition.label},
        crumbs=[*crumbs(), (_("Rules"), reverse("alert-rules"))],
        says=rule.condition.says,
        fields=fields_of(form, errors),
        errors=errors,
        general=errors.get(GENERAL, []),
        button=_("Change"),
        reset=rule.changed,
        back_url=reverse("alert-rules"),
    )
