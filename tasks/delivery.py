"""Handing jobs to workers. The broker is a doorbell: what it loses, the sweeper sends again."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from celery import current_app
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from tasks.kinds import RUNNABLE
from tasks.models import Job

logger = logging.getLogger(__name__)

RUN_JOB: Final = "tasks.run_job"
SWEEP: Final = "tasks.sweep"
VERIFY_LATE: Final = "tasks.verify_late"
RESEND_AFTER: Final = timedelta(seconds=15)
#: A dead broker is found dead in milliseconds; else kombu would try to reach it for seconds while a page waits.
AT_ONCE: Final = {"max_retries": 1, "interval_start": 0, "socket_timeout": 1, "socket_connect_timeout": 1}


def enqueue(job_id: int) -> bool:
    """Send the job's number to the workers. Whether the broker took it; where it did not, `sent_at` stays empty for the sweeper."""
    try:
        with current_app.connection_for_write(transport_options=AT_ONCE) as connection:
            current_app.send_task(RUN_JOB, [job_id], ignore_result=True, retry=False, connection=connection)
    except (OperationalError, OSError) as error:
        logger.warning("Job #%s waits: the broker does not answer (%s). It is sent again within seconds of its return.", job_id, error)
        return False
    Job.objects.filter(pk=job_id).update(sent_at=Now())
    return True


def waiting() -> QuerySet[Job]:
    """Jobs that a worker should have and none has: never sent, sent a while ago in vain, or left by a worker whose lease is over."""
    nobody = Q(lease_until=None) | Q(lease_until__lt=Now())
    unheard = Q(sent_at=None) | Q(sent_at__lt=Now() - RESEND_AFTER) | Q(sent_at__lt=F("lease_until"))
    return Job.objects.filter(nobody, unheard, status__in=RUNNABLE).order_by("pk")


def sweep() -> int:
    """Send what waits. How many the broker took; it stops at the first one that the broker does not take."""
    sent = 0
    for job_id in list(waiting().values_list("pk", flat=True)):
        if not enqueue(job_id):
            break
        sent += 1
    return sent
