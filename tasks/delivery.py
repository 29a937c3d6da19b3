"""Handing jobs to workers. The broker is a doorbell: what it loses, the sweeper sends again."""

from __future__ import annotations

import logging

from celery import current_app
from django.db.models.functions import Now
from kombu.exceptions import OperationalError

from tasks.models import Job

logger = logging.getLogger(__name__)

RUN_JOB = "tasks.run_job"
RESEND_AFTER = "15 seconds"


def enqueue(job_id: int) -> bool:
    """Send the job's number to the workers. Whether the broker took it; where it did not, `sent_at` stays empty for the sweeper."""
    try:
        current_app.send_task(RUN_JOB, [job_id], ignore_result=True, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning(
            "Job #%s could not be sent: the broker does not answer (%s). It is sent again within seconds of its return.", job_id, error
        )
        return False
    Job.objects.filter(pk=job_id).update(sent_at=Now())
    return True
