"""The charts of a cluster."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from tasks.charts import drawn_range, figures_of
from tasks.ranges import LENGTHS, Chosen, chosen_between, chosen_length
from tasks.refusals import RequestRefused
from tasks.views.clusters import cluster_or_404
from tasks.views.frame import page, render


@page("clusters.view_cluster")
def charts_page(request: HttpRequest, name: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    chosen, errors = _chosen(request)
    instances = list(cluster.instances.only("name", "role", "cluster_id").order_by("role", "name"))
    return render(
        request,
        "clusters/charts.html",
        title=_("Charts"),
        crumbs=[(_("Fleet"), reverse("admin:index")), (cluster.name, reverse("cluster-page", args=[cluster.name]))],
        cluster=cluster,
        chosen=chosen,
        shown=drawn_range(chosen, len(instances)),
        lengths=[(key, words) for key, (_length, words) in LENGTHS.items()],
        fields=_fields(request, chosen, errors),
        figures=figures_of(cluster, instances, chosen, links=request.user.has_perm("tasks.view_job")),
        zone=timezone.get_current_timezone_name(),
    )


def _chosen(request: HttpRequest) -> tuple[Chosen, dict[str, list[str]]]:
    """A range that cannot be read is said to be so, and the default one is shown."""
    begin, end = request.GET.get("from", ""), request.GET.get("to", "")
    if not begin and not end:
        return chosen_length(request.GET.get("range", "")), {}
    try:
        return chosen_between(begin, end), {}
    except RequestRefused as refused:
        return chosen_length(""), refused.errors


def _fields(request: HttpRequest, chosen: Chosen, errors: dict[str, list[str]]) -> list[dict[str, Any]]:
    """What stands in the two fields: what is shown, or what could not be read."""
    shown = {"from": chosen.begin, "to": chosen.end}
    labels = {"from": _("From"), "to": _("To")}
    return [
        {
            "name": name,
            "label": labels[name],
            "value": request.GET.get(name, "")[:40] if errors else timezone.localtime(at).strftime("%Y-%m-%dT%H:%M:%S"),
            "errors": errors.get(name, []),
        }
        for name, at in shown.items()
    ]
