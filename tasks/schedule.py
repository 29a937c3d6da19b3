"""What the clock asks for, and the monitor when something has changed: verifications, as ordinary jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from clusters.models import Cluster
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


def verify_changed(instance_ids: Iterable[int]) -> list[Job]:
    """The same for the clusters of these instances: a role is not what it was. Not where a job is at work that looks itself."""
    clusters = Cluster.objects.filter(instances__in=list(instance_ids)).distinct()
    lately = Job.objects.filter(kind="verify", created_at__gt=timezone.now() - CLOSER_LOOK_AFTER, cluster__isnull=False)
    held = Job.objects.filter(mutating=True, status__in=ACTIVE, cluster__isnull=False)
    return _verify(clusters.exclude(pk__in=lately.values("cluster")).exclude(pk__in=held.values("cluster")))


def _verify(clusters: QuerySet[Cluster]) -> list[Job]:
    under_way = Job.objects.filter(kind="verify", status__in=ACTIVE, cluster__isnull=False).values("cluster")
    jobs = []
    for cluster in clusters.filter(lifecycle=Lifecycle.READY).exclude(pk__in=under_way):
        try:
            jobs.append(job_request(kind="verify", actor=SCHEDULE, data={}, cluster=cluster))
        except Refusal as refusal:
            logger.warning("Cluster %s is not verified this time: %s", cluster.name, refusal.sentence)
    return jobs
