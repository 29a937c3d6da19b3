"""The fleet: every cluster, the worst first; what runs now; the servers. A fixed number of queries, whatever the number of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, F, OuterRef, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from clusters.models import Cluster, Instance, Server
from clusters.samples import last_hours_of_clusters
from tasks.alerting.selectors import counts_open
from tasks.charts import Spark, spark_of
from tasks.kinds import ACTIVE, Status
from tasks.members import Members, members_of
from tasks.models import Job, JobStep
from tasks.pulses import Part, lives
from tasks.standing import Remark, remarks
from tasks.verdicts import RANK, SECRETS, VERDICTS, Verdict, clusters_ranked
from tasks.views.acts import new_cluster_act

CLUSTERS_ON_PAGE: Final = 50
SERVERS_ON_PAGE: Final = 8
JOBS_ON_PAGE: Final = 8
#: Large columns of a job that no list shows.
UNSHOWN: Final = ("plan", "params", "result")


@login_required
def home(request: HttpRequest) -> HttpResponse:
    return redirect("admin:index")


def fleet_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What unfold's dashboard callback adds to the admin's index. Parts that the user may not see are None."""
    user = request.user
    context["title"] = _("Fleet")
    context["crumbs"] = [(_("Fleet"), "")]
    if user.has_perm("clusters.view_cluster"):
        context["fleet"] = Fleet(request.GET.get("q", ""), request.GET.get("verdict", ""), request.GET.get("page", "1"))
    if user.has_perm("clusters.view_server"):
        context["servers"] = servers_summary()
    if user.has_perm("tasks.view_alert"):
        context["alerts"] = counts_open()
        context["nobody_told"] = not lives(Part.ALERTER)
    if user.has_perm("tasks.view_job"):
        context["running"] = jobs_running()
    context["create"] = new_cluster_act(user)
    return context


@dataclass
class Row:
    """One cluster of the fleet."""

    cluster: Cluster
    verdict: Verdict
    members: Members
    last_job: Job | None
    spark: Spark | None = None

    @cached_property
    def remarks(self) -> list[Remark]:
        return remarks(self.members)


class Fleet:
    """One page of clusters, by name and verdict, and how many stand in each way."""

    def __init__(self, search: str, verdict: str, number: str) -> None:
        self.search = search.replace("\0", "")[:41]
        self.verdict = verdict if verdict in RANK else ""
        self.number = number

    @cached_property
    def _ranked(self) -> list[tuple[int, str, int]]:
        """(key, name, rank) of every cluster, the worst first: ranking them is what costs, so it is done once for counts and page."""
        return list(clusters_ranked().values_list("pk", "name", "rank"))

    @cached_property
    def counts(self) -> list[tuple[Verdict, int]]:
        found = Counter(rank for _key, _name, rank in self._ranked)
        return [(VERDICTS[rank], number) for rank, number in sorted(found.items())]

    @cached_property
    def total(self) -> int:
        return len(self._ranked)

    @cached_property
    def page(self) -> Page[Any]:
        return Paginator(self._matching(), CLUSTERS_ON_PAGE).get_page(self.number)

    @cached_property
    def rows(self) -> list[Row]:
        shown = [(key, rank) for key, _name, rank in self.page.object_list]
        known = Cluster.objects.defer(*SECRETS).in_bulk([key for key, _rank in shown])
        clusters = [known[key] for key, _rank in shown if key in known]  # one may be gone since they were ranked
        members, jobs = members_of(clusters), jobs_latest(clusters)
        hours, ranks = last_hours_of_clusters(known), dict(shown)
        rows = [Row(cluster, VERDICTS[ranks[cluster.pk]], members[cluster.pk], jobs.get(cluster.pk)) for cluster in clusters]
        for row in rows:
            row.spark = spark_of(hours.get(row.cluster.pk), row.members.furthest.lag_bytes if row.members.furthest else None)
        return rows

    def _matching(self) -> list[tuple[int, str, int]]:
        search, rank = self.search.lower(), RANK.get(self.verdict)
        return [each for each in self._ranked if search in each[1] and rank in (None, each[2])]


def jobs_latest(clusters: Sequence[Cluster]) -> dict[int, Job]:
    """Cluster key -> the last job that somebody asked for. The schedule's are left out: "observed" tells of them."""
    mine = Job.objects.filter(cluster=OuterRef("pk")).exclude(source="schedule").order_by("-pk").values("pk")[:1]
    keys = Cluster.objects.filter(pk__in=[cluster.pk for cluster in clusters]).annotate(latest=Subquery(mine)).values("latest")
    return {job.cluster_id: job for job in Job.objects.filter(pk__in=keys).defer(*UNSHOWN) if job.cluster_id}


def jobs_running() -> dict[str, Any]:
    """The jobs under way that somebody asked for, those that need a person first, each with the step it is at."""
    active = Job.objects.filter(status__in=ACTIVE).exclude(source="schedule").defer(*UNSHOWN)
    current = JobStep.objects.filter(job=OuterRef("pk"), status__in=("running", "undoing", "failed")).order_by("-position")
    shown = active.annotate(step_title=Subquery(current.values("title")[:1]), step_progress=Subquery(current.values("progress")[:1]))
    waits = Case(When(status=Status.NEEDS_OPERATOR, then=0), default=1)
    return {"jobs": list(shown.order_by(waits, "-pk")[:JOBS_ON_PAGE]), "total": active.count()}


def servers_summary() -> dict[str, Any]:
    """The servers that were longest not looked at first."""
    # Counted for the few that are shown: a join would count all of them, and group by what their last checks found.
    mine = Instance.objects.filter(server=OuterRef("pk")).order_by().values("server").annotate(number=Count("pk")).values("number")
    rows = Server.objects.annotate(number=Coalesce(Subquery(mine), 0)).order_by(F("observed_at").asc(nulls_first=True), "name")
    return {"servers": list(rows[:SERVERS_ON_PAGE]), "total": Server.objects.count()}
