"""What the clock asks for: a verification of every cluster, as an ordinary job."""

from __future__ import annotations

import logging

from clusters.models import Cluster
from clusters.models.cluster import Lifecycle
from tasks.actor import SCHEDULE
from tasks.kinds import ACTIVE
from tasks.models import Job
from tasks.refusals import Refusal
from tasks.services import job_request

logger = logging.getLogger(__name__)


def verify_all() -> list[Job]:
    """Request `verify` for each ready cluster that has none under way."""
    under_way = Job.objects.filter(kind="verify", status__in=ACTIVE, cluster__isnull=False).values("cluster")
    jobs = []
    for cluster in Cluster.objects.filter(lifecycle=Lifecycle.READY).exclude(pk__in=under_way):
        try:
            jobs.append(job_request(kind="verify", actor=SCHEDULE, data={}, cluster=cluster))
        except Refusal as refusal:
            logger.warning("Cluster %s is not verified this time: %s", cluster.name, refusal.sentence)
    return jobs
