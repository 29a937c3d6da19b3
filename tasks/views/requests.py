"""The request page, one for every kind of job: what is asked, then the plan, then a confirmation that makes the job.

The page looks, `tasks.services` decides: what the page shows comes from `job_preview`, and the plan's hash that is sent
back with the confirmation makes sure that what was shown is what will run.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import BoundField
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from clusters.form_base import RequestForm
from clusters.form_fields import FlagsField, SecretField
from clusters.forms import REQUEST_FORMS
from clusters.models import Cluster, Instance
from tasks.actor import actor_of
from tasks.board import ACTS
from tasks.kinds import KINDS, Kind
from tasks.models import Job
from tasks.services import Busy, Forbidden, Preview, RequestRefused, job_preview, job_request, job_sheet
from tasks.sheets import sheet_response
from tasks.views.acts import ICONS, consequences, kind_of, request_url
from tasks.views.clusters import cluster_or_404
from tasks.views.eligibility import Eligibility, eligibility_of
from tasks.views.frame import Crumb, page, render, require
from tasks.views.servers import server_or_404

METHODS: Final = ("GET", "HEAD", "POST")
#: Asked for beside the plan, not before it.
AT_THE_END: Final = ("reason", "confirm")
#: Choices that the panel makes well by itself; they stand apart, folded.
SELDOM: Final = ("instance", "port", "bindir", "settings", "canary", "stop_seconds")
#: Stands for a reason that has not been given yet: a plan does not depend on it.
NO_REASON: Final = "-"


@page(methods=METHODS)
def cluster_create(request: HttpRequest) -> HttpResponseBase:
    return _answer(request, KINDS["create_cluster"], {}, [])


@page("clusters.view_discovery", METHODS)
def adopt_request(request: HttpRequest, job_id: int, system_identifier: str) -> HttpResponseBase:
    fixed = {"discovery": str(job_id), "system_identifier": system_identifier}
    crumbs = [(_("PostgreSQL found by job #%(number)s") % {"number": job_id}, reverse("adoption-report", args=[job_id]))]
    return _answer(request, KINDS["adopt_cluster"], fixed, crumbs)


@page("clusters.view_cluster", METHODS)
def cluster_request(request: HttpRequest, name: str, act: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    crumbs = [(cluster.name, reverse("cluster-page", args=[cluster.name]))]
    return _answer(request, _kind(act, "cluster"), {"cluster": cluster.name}, crumbs, cluster)


@page("clusters.view_cluster", METHODS)
def instance_request(request: HttpRequest, name: str, instance: str, act: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    row = cluster.instances.filter(name=instance.replace("\0", "")).first()
    if row is None:
        raise Http404(_("This cluster has no instance of this name."))
    crumbs = [(cluster.name, reverse("cluster-page", args=[cluster.name]))]
    return _answer(request, _kind(act, "instance"), {"cluster": cluster.name, "instance": row.name}, crumbs, cluster, row)


@page("clusters.view_server", METHODS)
def server_request(request: HttpRequest, name: str, act: str) -> HttpResponseBase:
    server = server_or_404(name)
    return _answer(request, _kind(act, "server"), {"server": server.name}, [(server.name, reverse("server-page", args=[server.name]))])


def _kind(act: str, place: str) -> Kind:
    kind = kind_of(act, place)
    if kind is None:
        raise Http404(_("There is no such request."))
    return kind


@dataclass
class Asking:
    """One request on its way: what is asked, what the panel answered so far."""

    kind: Kind
    fixed: Mapping[str, str]  # fields that the address says
    values: dict[str, Any]  # field -> value as the page has it
    form: RequestForm
    cluster: Cluster | None = None  # the cluster that the address names
    row: Instance | None = None  # the instance that the address names
    preview: Preview | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)
    busy: Busy | None = None
    eligibility: Eligibility | None = None  # the board's row of the candidate, once there is one

    @property
    def ends_with(self) -> tuple[str, ...]:
        """Flags are asked for beside the board's row that says which are needed."""
        return ("flags", *AT_THE_END) if self.kind.name in ACTS else AT_THE_END

    @property
    def asked(self) -> list[str]:
        """The fields of the first page; none for most kinds."""
        hidden = {*self.fixed, *self.ends_with}
        return [name for name, item in self.form.fields.items() if name not in hidden and not isinstance(item, SecretField)]

    @property
    def at_the_end(self) -> list[str]:
        """The fields beside the plan. Secrets are among them, so that they travel once and are never written into a page."""
        return [name for name, item in self.form.fields.items() if name in self.ends_with or isinstance(item, SecretField)]

    @property
    def place(self) -> str:
        """What it acts on, as the page's title says it."""
        return "/".join(self.fixed[name] for name in ("cluster", "instance", "server") if name in self.fixed)

    @property
    def target(self) -> str:
        if self.form.confirms:
            return str(self.values.get(self.form.confirms, ""))
        return self.fixed.get("instance") or self.fixed.get("cluster") or self.fixed.get("server") or ""


def _answer(
    request: HttpRequest,
    kind: Kind,
    fixed: Mapping[str, str],
    crumbs: list[Crumb],
    cluster: Cluster | None = None,
    row: Instance | None = None,
) -> HttpResponseBase:
    require(request, kind.permission)
    asking = _asking(request, kind, fixed)
    asking.cluster, asking.row = cluster, row
    if request.method != "POST" and "runbook" in request.GET:
        sheet = _sheet(request, asking)
        if sheet is not None:
            return sheet
    action = request.POST.get("action", "") if request.method == "POST" else ""
    if action == "run" and (request.POST.get("plan_hash") or not kind.mutating):  # what changes something is shown first
        job = _run(request, asking)
        if job:
            messages.success(request, _("Job #%(number)s was requested.") % {"number": job.pk})
            return redirect("job-page", job.pk)
    if action != "edit" and (action or not asking.asked):
        _look(request, asking)
    return _page(request, asking, crumbs)


def _asking(request: HttpRequest, kind: Kind, fixed: Mapping[str, str]) -> Asking:
    form_class = REQUEST_FORMS[kind.name]
    given = request.POST if request.method == "POST" else request.GET
    fields = form_class.base_fields
    values: dict[str, Any] = {name: given[name] for name in fields if name in given}
    values |= {name: given.getlist(name) for name in values if isinstance(fields[name], FlagsField)}
    values |= fixed
    if request.method == "POST":
        return Asking(kind, fixed, values, form_class(values))
    return Asking(kind, fixed, values, form_class(initial=values))


def _look(request: HttpRequest, asking: Asking) -> None:
    """The plan of what is asked, and what the eligibility board says of the candidate."""
    try:
        asking.preview = job_preview(kind=asking.kind.name, actor=actor_of(_user(request), "web"), data=_complete(asking))
    except RequestRefused as refused:
        asking.errors = {**refused.errors, **asking.errors}
    except Busy as busy:
        asking.busy = busy
    except Forbidden as forbidden:
        raise PermissionDenied(forbidden.sentence) from forbidden
    if asking.preview and asking.cluster:
        later = bool(asking.values.get("at"))
        asking.eligibility = eligibility_of(asking.kind.name, asking.cluster, _candidate(asking), later=later)


def _complete(asking: Asking) -> dict[str, Any]:
    """What is asked, with what is asked for beside the plan taken as given: confirmation and reason."""
    beside = {"confirm": asking.target, "reason": asking.values.get("reason") or NO_REASON}
    return {**asking.values, **{name: value for name, value in beside.items() if name in asking.form.fields}}


def _candidate(asking: Asking) -> str:
    return asking.row.name if asking.row else str(asking.values.get("to") or "")


def _sheet(request: HttpRequest, asking: Asking) -> HttpResponseBase | None:
    """The runbook of what the address asks for; None where that is refused, and the page says why."""
    try:
        return sheet_response(*job_sheet(kind=asking.kind.name, actor=actor_of(_user(request), "web"), data=_complete(asking)))
    except RequestRefused as refused:
        asking.errors = refused.errors
    except Busy as busy:
        asking.busy = busy
    except Forbidden as forbidden:
        raise PermissionDenied(forbidden.sentence) from forbidden
    return None


def _run(request: HttpRequest, asking: Asking) -> Job | None:
    """The job; None where the panel refused, and `asking` says why."""
    try:
        return job_request(
            kind=asking.kind.name,
            actor=actor_of(_user(request), "web"),
            data=asking.values,
            idempotency_key=request.POST.get("key") or None,
            plan_hash=request.POST.get("plan_hash") or None,
        )
    except RequestRefused as refused:
        asking.errors = refused.errors
    except Busy as busy:
        asking.busy = busy
    except Forbidden as forbidden:
        raise PermissionDenied(forbidden.sentence) from forbidden
    return None


def _page(request: HttpRequest, asking: Asking, crumbs: list[Crumb]) -> HttpResponseBase:
    label = capfirst(str(asking.kind.label))
    fields = [shown(asking, name) for name in asking.asked]
    return render(
        request,
        "tasks/request.html",
        title=f"{label}: {asking.place}" if asking.place else label,
        crumbs=[(_("Fleet"), reverse("admin:index")), *crumbs],
        asking=asking,
        label=label,
        action_url=request_url(asking.kind, **asking.fixed),
        back_url=crumbs[-1][1] if crumbs else reverse("admin:index"),
        icon_name=ICONS.get(asking.kind.name, "play_arrow"),
        consequences=consequences(asking.kind, asking.row),
        fields=[item for item in fields if item["name"] not in SELDOM],
        seldom=[item for item in fields if item["name"] in SELDOM],
        end_fields=[shown(asking, name) for name in asking.at_the_end],
        general=_general(asking),
        chosen=_chosen(asking),
        key=secrets.token_urlsafe(16),
        runbook_url=_runbook_url(asking),
        **_board_urls(asking),
    )


def _board_urls(asking: Asking) -> dict[str, str]:
    if asking.cluster is None or asking.kind.name not in ACTS:
        return {}
    name = asking.cluster.name
    return {
        "board_url": f"{reverse('cluster-board', args=[name])}?act={asking.kind.name}",
        "look_url": request_url(KINDS["verify"], cluster=name),
    }


def _runbook_url(asking: Asking) -> str:
    """The address of the sheet of this very request; looking at it changes nothing. Secrets are asked for at the end, so none is in it."""
    given = {name: asking.values[name] for name in asking.asked if asking.values.get(name)}
    return f"{request_url(asking.kind, **asking.fixed)}?{urlencode({**given, 'runbook': '1'}, doseq=True)}"


def shown(asking: Asking, name: str) -> dict[str, Any]:
    """A field with what the page says about it."""
    bound = asking.form[name]
    is_flags = isinstance(bound.field, FlagsField)
    return {
        "name": name,
        "flags": flags_shown(bound, asking.eligibility.needs if asking.eligibility else None) if is_flags else None,
        "field": bound,
        "errors": asking.errors.get(name, []),
        "long": isinstance(bound.field.widget, forms.Textarea),
        "confirm": asking.target if name == "confirm" else "",
    }


def flags_shown(bound: BoundField, needs: Mapping[str, str] | None) -> dict[str, Any]:
    """A checkbox for each flag. `needs`: flag -> why the board says it is needed, which sets the others apart; None: no board says."""
    chosen = bound.value() or []
    rows = [
        {"flag": flag, "label": sentence, "id": f"{bound.auto_id}_{flag}", "checked": flag in chosen}
        for flag, sentence in bound.field.flags.items()  # type: ignore[attr-defined]  # a FlagsField
    ]
    first = [row for row in rows if needs is None or row["checked"] or row["flag"] in needs]
    return {"first": first, "rest": [row for row in rows if row not in first], "judged": needs is not None}


def _general(asking: Asking) -> list[str]:
    """The refusals that stand at no field of this page."""
    beside = asking.at_the_end if asking.preview else asking.asked
    return [sentence for name, sentences in asking.errors.items() if name not in beside for sentence in sentences]


def _chosen(asking: Asking) -> list[tuple[Any, Any]]:
    """What the job will use, with every choice the panel made where a field was left empty: (label, value)."""
    params = asking.preview.params if asking.preview else {}
    rows = [(asking.form.fields[name].label, params[name]) for name in asking.asked if params.get(name)]
    return [(label, _value(value)) for label, value in rows]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping):
        return "\n".join(f"{name} = {text}" for name, text in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _user(request: HttpRequest) -> Any:
    return request.user
