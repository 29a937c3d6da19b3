"""The page of one cluster."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.copies import kept_copies
from clusters.models import Cluster, Instance, KeptCopy
from clusters.samples import last_hours_of_instances
from clusters.selectors import connection_string, monitor_interval
from clusters.slots import UNKNOWN, slots_of
from tasks.adopted import adopted_reason
from tasks.alerting.changes import SILENCE_ADD
from tasks.alerting.selectors import alerts_of
from tasks.charts import spark_of
from tasks.forecasts import forecasts_of
from tasks.kinds import ACTIVE, KINDS
from tasks.members import Members, members_of
from tasks.models import Job
from tasks.promise import promise_of
from tasks.schedule import is_overdue
from tasks.standing import difference, facts_of, position, proof_of, remarks, slot_words
from tasks.topology import fresh_for, narrow, tree, wide
from tasks.verdicts import VERDICTS, clusters_ranked
from tasks.views.acts import busy_reason, cluster_acts, followers_of, instance_acts, request_url
from tasks.views.alarms import appointments, dead_primary, writable
from tasks.views.frame import page, render
from tasks.views.space import space_rows

JOBS_SHOWN: Final = 10


@page("clusters.view_cluster")
def cluster_page(request: HttpRequest, name: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    members = members_of([cluster])[cluster.pk]
    jobs, holder = jobs_of(cluster) if request.user.has_perm("tasks.view_job") else (None, holder_of(cluster))
    places = tree(members.instances, members.pairs)
    acts = cluster_acts(request.user, cluster, holder)
    interval = monitor_interval()
    fresh = fresh_for(cluster, interval)
    return render(
        request,
        "clusters/cluster.html",
        title=cluster.name,
        crumbs=[(_("Fleet"), reverse("admin:index"))],
        cluster=cluster,
        verdict=VERDICTS[cluster.rank],
        members=members,
        remarks=remarks(members),
        pictures=[("wide", wide(places, fresh)), ("narrow", narrow(places, fresh))],
        unwatched=interval is None and not cluster.is_watched,
        rows=instance_rows(request, cluster, members, holder),
        pairs=pair_rows(members),
        acts=[act for act in acts if not act.kind.confirm],
        rare_acts=[act for act in acts if act.kind.confirm],
        holder=holder,
        jobs=jobs,
        addresses=addresses(cluster, members.instances),
        promise=promise_of(cluster, members),
        space=space_rows(forecasts_of(clusters=[cluster.pk])),
        slots=slot_rows(request, cluster, members, holder),
        copies=copy_rows(request, cluster, holder),
        dead=dead_primary(request, cluster, members, holder),
        writable=writable(members),
        declared=next((row for row in members.instances if row.role == Instance.Role.PRIMARY), None),
        appointments=appointments(request, cluster),
        overdue=is_overdue(cluster),
        alerts=alerts_of(cluster) if request.user.has_perm("tasks.view_alert") else [],
        may_silence=request.user.has_perm(SILENCE_ADD),
    )


def cluster_or_404(name: str) -> Any:
    """The cluster with `rank`, without its secrets."""
    cluster = clusters_ranked().filter(name=name.replace("\0", "")).first()
    if cluster is None:
        raise Http404(_("There is no cluster of this name."))
    return cluster


def holder_of(cluster: Cluster) -> Job | None:
    """The job that holds the cluster, so that no other may change it; at most one, by a constraint of the database."""
    return Job.objects.filter(cluster=cluster, mutating=True, status__in=ACTIVE).defer("plan", "result").first()


def jobs_of(cluster: Cluster) -> tuple[list[Job], Job | None]:
    """The latest jobs that somebody asked for, and the one that holds the cluster."""
    latest = Job.objects.filter(cluster=cluster).exclude(source="schedule").defer("plan", "result").order_by("-pk")
    return list(latest[:JOBS_SHOWN]), holder_of(cluster)


def instance_rows(request: HttpRequest, cluster: Cluster, members: Members, holder: Job | None) -> list[dict[str, Any]]:
    followers, by_standby = followers_of(members.pairs), {pair.standby_id: pair for pair in members.pairs}
    for instance in members.instances:
        instance.cluster = cluster  # loaded once, not once a row
    return [
        {
            "instance": instance,
            "pair": by_standby.get(instance.pk),
            "difference": difference(instance),
            "proof": None if cluster.adopted_at else proof_of(instance),
            "facts": facts_of(instance),
            "position": position(instance),
            "acts": (acts := instance_acts(request.user, instance, followers.get(instance.pk, []), holder)),
            "rejoin": next((act.url for act in acts if act.kind.name == "rejoin" and not act.reason), ""),
        }
        for instance in members.instances
    ]


def pair_rows(members: Members) -> list[dict[str, Any]]:
    hours = last_hours_of_instances(pair.standby_id for pair in members.pairs)
    return [
        {
            "pair": pair,
            "latest": members.latest.get(pair.pk),
            "slot": slot_words(pair),
            "spark": spark_of(hours.get(pair.standby_id), pair.lag_bytes),
        }
        for pair in members.pairs
    ]


def copy_rows(request: HttpRequest, cluster: Cluster, holder: Job | None) -> list[dict[str, Any]]:
    """Each kept copy, with the addresses where it is put back and deleted, where that may be asked for."""
    restore, purge = KINDS["restore_copy"], KINDS["purge_copy"]
    may_restore, may_purge = (request.user.has_perm(kind.permission) and not busy_reason(kind, holder) for kind in (restore, purge))
    rows: list[dict[str, Any]] = []
    for copy in kept_copies(cluster.name):
        query = f"?copy={copy['id']}"
        back = may_restore and copy["origin"] != KeptCopy.Origin.REMOVED
        rows.append(
            {
                **copy,
                "origin_label": KeptCopy.Origin(copy["origin"]).label,
                "restore_url": request_url(restore, cluster=cluster.name, instance=copy["instance"]) + query if back else "",
                "purge_url": request_url(purge, cluster=cluster.name) + query if may_purge else "",
            }
        )
    return rows


def slot_rows(request: HttpRequest, cluster: Cluster, members: Members, holder: Job | None) -> list[dict[str, Any]]:
    """Each slot, with the address where it is dropped: none for one in use, or whose owner is a member."""
    kind = KINDS["drop_slot"]
    may = request.user.has_perm(kind.permission) and not busy_reason(kind, holder) and not adopted_reason(kind, cluster)
    rows = []
    for slot in slots_of(cluster, members.instances, members.pairs):
        free = may and not slot["active"] and slot["owner"] == UNKNOWN
        address = request_url(kind, cluster=cluster.name, instance=slot["instance"])
        rows.append({**slot, "drop_url": f"{address}?{urlencode({'slot': slot['slot']})}" if free else ""})
    return rows


def addresses(cluster: Cluster, instances: list[Instance]) -> list[dict[str, str]]:
    """The addresses to give to applications: each names every instance, so that it stays right after a switchover."""
    ready = [instance for instance in instances if instance.lifecycle == "ready"]
    if not ready:
        return []
    kinds = [("write", _("Reads and writes: the primary, wherever it is"), "read-write")]
    if len(ready) > 1:
        kinds.append(("read", _("Reads only: a standby if there is one"), "prefer-standby"))
    return [
        {"id": f"address-{key}", "label": label, "uri": connection_string(cluster, ready, target_session_attrs=session)}
        for key, label, session in kinds
    ]
