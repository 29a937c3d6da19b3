"""Where PostgreSQL that the panel has not made is looked for, and the report on what was found."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.adoption_report import FindingShow, FoundShow, GroupShow, counted, discovery_get, discovery_list, discovery_show
from clusters.models import Discovery, Server
from tasks.actor import actor_of
from tasks.kinds import KINDS
from tasks.services import RequestRefused, job_request
from tasks.standing import Remark
from tasks.views.acts import Act, permission_reason, request_url
from tasks.views.frame import Crumb, page, render
from tasks.views.requests import METHODS

_TONES = {"blocks": "failed", "flag": "operator", "warns": "warning"}


@page("tasks.run_discover", METHODS)
def adopt_page(request: HttpRequest) -> HttpResponseBase:
    kind, errors = KINDS["discover"], {}
    names = list(Server.objects.values_list("name", flat=True))
    given = request.POST if request.method == "POST" else request.GET
    chosen = [name for name in given.getlist("servers") if name in names]
    if request.method == "POST":
        try:
            job = job_request(kind=kind.name, actor=actor_of(_user(request), "web"), data={"servers": chosen})
        except RequestRefused as refused:
            errors = dict(refused.errors)
        else:
            return redirect("job-page", job.pk)
    return render(
        request,
        "clusters/adopt.html",
        title=_("Adopt"),
        crumbs=_crumbs()[:-1],
        boxes=[(name, name in chosen or not chosen) for name in names],
        errors=[sentence for sentences in errors.values() for sentence in sentences],
        discoveries=discovery_list(),
    )


@page("clusters.view_discovery")
def adoption_page(request: HttpRequest, job_id: int) -> HttpResponseBase:
    try:
        shown = discovery_show(discovery_get(job_id))
    except Discovery.DoesNotExist:
        raise Http404(_("No job of this number has looked for PostgreSQL.")) from None
    return render(
        request,
        "clusters/adoption.html",
        title=_("PostgreSQL found by job #%(number)s") % {"number": job_id},
        crumbs=_crumbs(),
        report=shown,
        problems=[(server, sentence) for server, sentences in shown["servers"].items() for sentence in sentences],
        groups=[_group(request, job_id, group) for group in shown["clusters"]],
        again=f"{reverse('adopt')}?{'&'.join(f'servers={name}' for name in shown['servers'])}",
    )


def _group(request: HttpRequest, job_id: int, group: GroupShow) -> dict[str, Any]:
    kind = KINDS["adopt_cluster"]
    findings = [finding for row in group["instances"] for finding in row["findings"]]
    reason = permission_reason(request.user, kind) or ("" if group["adoptable"] else _("Something below keeps the panel from watching it."))
    url = request_url(kind, discovery=str(job_id), system_identifier=group["system_identifier"])
    return {
        **group,
        "act": None if group["managed_as"] else Act(kind, url, reason),
        "counts": counted(findings),
        "rows": [(row, _remarks(row)) for row in group["instances"]],
    }


def _remarks(row: FoundShow) -> list[dict[str, Any]]:
    return [{"remark": _remark(finding), "manual": finding["manual"], "name": finding["name"]} for finding in row["findings"]]


def _remark(finding: FindingShow) -> Remark:
    values = {"value": finding["value"], "threshold": finding["threshold"]}
    return Remark(_TONES[finding["severity"]], "", finding["sentence"], finding["cure"], **values)


def _crumbs() -> list[Crumb]:
    servers = reverse("admin:clusters_server_changelist")
    return [(_("Fleet"), reverse("admin:index")), (_("Servers"), servers), (_("Adopt"), reverse("adopt"))]


def _user(request: HttpRequest) -> Any:
    return request.user
