"""What the clock asks for, and the monitor when something has changed: verifications, as ordinary jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from clusters.models import Cluster, Instance
from clusters.models.cluster import Lifecycle
from tasks.actor import SCHEDULE
from tasks.kinds import ACTIVE
from tasks.models import Job
from tasks.refusals import Refusal
from tasks.services import job_request

logger = logging.getLogger(__name__)


#: A cluster whose instances come and go is not verified more often than this because of it.
CLOSER_LOOK_AFTER: Final = timedelta(seconds=30)


def verify_all() -> list[Job]:
    """Request `verify` for each ready cluster that has none under way."""
    return _verify(Cluster.objects.all())


def verify_changed(changed: Mapping[int, datetime]) -> set[int]:
    """The same for the clusters of these instances, whose roles are not what they were, each since its moment. Not while a job is at work.

    Returns those that nothing is left to do for: a job has looked after the change, or a verification asked for after it will.
    """
    rows = Instance.objects.filter(pk__in=changed, cluster__lifecycle=Lifecycle.READY)
    cluster_of = dict(rows.values_list("pk", "cluster"))
    looked_at = _looks(set(cluster_of.values()))
    open_ = {pk for pk, cluster in cluster_of.items() if not any(look and look > changed[pk] for look in looked_at[cluster])}
    lately = Job.objects.filter(kind="verify", created_at__gt=timezone.now() - CLOSER_LOOK_AFTER, cluster__isnull=False)
    held = Job.objects.filter(mutating=True, status__in=ACTIVE, cluster__isnull=False)
    clusters = Cluster.objects.filter(pk__in={cluster_of[pk] for pk in open_})
    jobs = _verify(clusters.exclude(pk__in=lately.values("cluster")).exclude(pk__in=held.values("cluster")))
    requested = {job.cluster_id for job in jobs}
    return set(changed) - {pk for pk in open_ if cluster_of[pk] not in requested}


def _looks(clusters: set[int]) -> dict[int, tuple[datetime | None, datetime | None]]:
    """Of each cluster: when the last verification was asked for, and when the instance that was looked at least lately was."""
    verified = Job.objects.filter(kind="verify", cluster__in=clusters).order_by().values("cluster").annotate(at=Max("created_at"))
    seen = (
        Instance.objects.filter(cluster__in=clusters, lifecycle=Lifecycle.READY)
        .order_by()
        .values("cluster")
        .annotate(at=Min("observed_at"))
    )
    asked, looked = ({row["cluster"]: row["at"] for row in rows} for rows in (verified, seen))
    return {cluster: (asked.get(cluster), looked.get(cluster)) for cluster in clusters}


def _verify(clusters: QuerySet[Cluster]) -> list[Job]:
    under_way = Job.objects.filter(kind="verify", status__in=ACTIVE, cluster__isnull=False).values("cluster")
    jobs = []
    for cluster in clusters.filter(lifecycle=Lifecycle.READY).exclude(pk__in=under_way):
        try:
            jobs.append(job_request(kind="verify", actor=SCHEDULE, data={}, cluster=cluster))
        except Refusal as refusal:
            logger.warning("Cluster %s is not verified this time: %s", cluster.name, refusal.sentence)
    return jobs
