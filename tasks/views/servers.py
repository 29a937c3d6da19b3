"""The page of one server."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.models import Instance, Server
from clusters.placement import postgres_installed
from tasks.models import Job
from tasks.standing import difference
from tasks.views.acts import server_acts
from tasks.views.frame import page, render

INSTANCES_SHOWN = 200
JOBS_SHOWN = 10


@page("clusters.view_server")
def server_page(request: HttpRequest, name: str) -> HttpResponseBase:
    server = server_or_404(name)
    instances = Instance.objects.filter(server=server).select_related("cluster").defer(*_CLUSTER_SECRETS).order_by("cluster__name", "name")
    jobs = Job.objects.filter(server=server).defer("plan", "result").order_by("-pk")[:JOBS_SHOWN]
    return render(
        request,
        "clusters/server.html",
        title=server.name,
        crumbs=[(_("Fleet"), reverse("admin:index")), (_("Servers"), reverse("admin:clusters_server_changelist"))],
        server=server,
        facts=server.facts,
        disks=[disk_shown(disk) for disk in server.facts.get("disks", ())],
        installed=postgres_installed(server),
        rows=[(instance, difference(instance)) for instance in instances[:INSTANCES_SHOWN]],
        instances_total=instances.count(),
        acts=server_acts(request.user, server),
        jobs=list(jobs) if request.user.has_perm("tasks.view_job") else None,
    )


_CLUSTER_SECRETS = [f"cluster__{name}" for name in ("superuser_password", "owner_password", "replication_password", "panel_password")]


def server_or_404(name: str) -> Server:
    server = Server.objects.filter(name=name.replace("\0", "")).first()
    if server is None:
        raise Http404(_("There is no server of this name."))
    return server


def disk_shown(disk: dict[str, Any]) -> dict[str, Any]:
    """A disk of `Server.facts` with the share that is used, in per cent; None where the size is not known."""
    total, free = disk.get("total_bytes"), disk.get("free_bytes")
    used = round(100 * (1 - free / total)) if total and free is not None else None
    return {"path": disk.get("path", ""), "total": total, "free": free, "used": used}
