"""The page of one server."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.fingerprints import key_type
from clusters.models import Instance, Server
from clusters.placement import postgres_installed
from clusters.server_findings import server_findings
from clusters.ssh_shown import ssh_shown
from tasks.forecasts import forecasts_of
from tasks.models import Job
from tasks.standing import difference
from tasks.views.acts import server_acts
from tasks.views.frame import page, render
from tasks.views.space import space_rows

INSTANCES_SHOWN = 200
JOBS_SHOWN = 10
SEE_HOST_KEY = "ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub"


@page("clusters.view_server")
def server_page(request: HttpRequest, name: str) -> HttpResponseBase:
    server = server_or_404(name)
    in_containers = server.runtime == Server.Runtime.DOCKER
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
        in_containers=in_containers,
        programs=_("Image") if in_containers else _("PostgreSQL programs"),
        rows=[(instance, difference(instance)) for instance in instances[:INSTANCES_SHOWN]],
        instances_total=instances.count(),
        space=space_rows(forecasts_of(servers=[server.pk])[:INSTANCES_SHOWN]),
        acts=server_acts(request.user, server),
        findings=server_findings(server),
        ssh=ssh_shown(server) if server.connection == Server.Connection.SSH else None,
        host_key_changed=bool(server.ssh_host_key) and server.ssh_host_key_offered not in ("", server.ssh_host_key),
        to_confirm=bool(server.ssh_host_key_offered) and not server.ssh_host_key,  # that is the next thing to do, not another reading
        see_host_key=see_host_key(key_type(server.ssh_host_key_offered)),
        may_change=request.user.has_perm("clusters.change_server"),
        jobs=list(jobs) if request.user.has_perm("tasks.view_job") else None,
    )


def see_host_key(kind: str) -> str:
    """The command that shows the fingerprint on the server itself."""
    return SEE_HOST_KEY % ("rsa" if "rsa" in kind else "ecdsa" if "ecdsa" in kind else "ed25519")


_CLUSTER_SECRETS = [f"cluster__{name}" for name in ("superuser_password", "owner_password", "replication_password", "panel_password")]


def server_or_404(name: str) -> Server:
    server = Server.objects.select_related("jump").filter(name=name.replace("\0", "")).first()
    if server is None:
        raise Http404(_("There is no server of this name."))
    return server


def disk_shown(disk: dict[str, Any]) -> dict[str, Any]:
    """A disk of `Server.facts` with the share that is used, in per cent; None where the size is not known."""
    total, free = disk.get("total_bytes"), disk.get("free_bytes")
    used = round(100 * (1 - free / total)) if total and free is not None else None
    return {"path": disk.get("path", ""), "total": total, "free": free, "used": used}
