"""The request page, one for every kind of job: what is asked, then the plan, then a confirmation that makes the job.

The page looks, `tasks.services` decides: what the page shows comes from `job_preview`, and the plan's hash that is sent
back with the confirmation makes sure that what was shown is what will run.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from clusters.form_base import RequestForm
from clusters.form_fields import SecretField
from clusters.forms import REQUEST_FORMS
from clusters.models import Instance
from tasks.actor import actor_of
from tasks.kinds import KINDS, Kind
from tasks.models import Job
from tasks.services import Busy, Forbidden, Preview, RequestRefused, job_preview, job_request
from tasks.views.acts import ICONS, consequences, kind_of, request_url
from tasks.views.clusters import cluster_or_404
from tasks.views.frame import Crumb, page, render, require
from tasks.views.servers import server_or_404

METHODS: Final = ("GET", "HEAD", "POST")
#: Asked for beside the plan, not before it.
AT_THE_END: Final = ("reason", "confirm")
#: Choices that the panel makes well by itself; they stand apart, folded.
SELDOM: Final = ("instance", "port", "bindir", "settings")


@page(methods=METHODS)
def cluster_create(request: HttpRequest) -> HttpResponseBase:
    return _answer(request, KINDS["create_cluster"], {}, [])


@page("clusters.view_cluster", METHODS)
def cluster_request(request: HttpRequest, name: str, act: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    return _answer(
        request, _kind(act, "cluster"), {"cluster": cluster.name}, [(cluster.name, reverse("cluster-page", args=[cluster.name]))]
    )


@page("clusters.view_cluster", METHODS)
def instance_request(request: HttpRequest, name: str, instance: str, act: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    row = cluster.instances.filter(name=instance.replace("\0", "")).first()
    if row is None:
        raise Http404(_("This cluster has no instance of this name."))
    crumbs = [(cluster.name, reverse("cluster-page", args=[cluster.name]))]
    return _answer(request, _kind(act, "instance"), {"cluster": cluster.name, "instance": row.name}, crumbs, row)


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
    row: Instance | None = None  # the instance that the address names
    preview: Preview | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)
    busy: Busy | None = None

    @property
    def asked(self) -> list[str]:
        """The fields of the first page; none for most kinds."""
        hidden = {*self.fixed, *AT_THE_END}
        return [name for name, item in self.form.fields.items() if name not in hidden and not isinstance(item, SecretField)]

    @property
    def at_the_end(self) -> list[str]:
        """The fields beside the plan. Secrets are among them, so that they travel once and are never written into a page."""
        return [name for name, item in self.form.fields.items() if name in AT_THE_END or isinstance(item, SecretField)]

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
    request: HttpRequest, kind: Kind, fixed: Mapping[str, str], crumbs: list[Crumb], row: Instance | None = None
) -> HttpResponseBase:
    require(request, kind.permission)
    asking = _asking(request, kind, fixed)
    asking.row = row
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
    values = {name: given[name] for name in form_class.base_fields if name in given}
    values |= fixed
    if request.method == "POST":
        return Asking(kind, fixed, values, form_class(values))
    return Asking(kind, fixed, values, form_class(initial=values))


def _look(request: HttpRequest, asking: Asking) -> None:
    """The plan of what is asked. The confirmation is taken as given: it is asked for beside the plan."""
    data = {**asking.values, "confirm": asking.target} if "confirm" in asking.form.fields else asking.values
    try:
        asking.preview = job_preview(kind=asking.kind.name, actor=actor_of(_user(request), "web"), data=data)
    except RequestRefused as refused:
        asking.errors = {**refused.errors, **asking.errors}
    except Busy as busy:
        asking.busy = busy
    except Forbidden as forbidden:
        raise PermissionDenied(forbidden.sentence) from forbidden


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
    )


def shown(asking: Asking, name: str) -> dict[str, Any]:
    """A field with what the page says about it."""
    bound = asking.form[name]
    return {
        "name": name,
        "field": bound,
        "errors": asking.errors.get(name, []),
        "long": isinstance(bound.field.widget, forms.Textarea),
        "confirm": asking.target if name == "confirm" else "",
    }


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
    if isinstance(value, Mapping):
        return "\n".join(f"{name} = {text}" for name, text in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _user(request: HttpRequest) -> Any:
    return request.user
