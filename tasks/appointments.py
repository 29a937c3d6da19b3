"""Scheduled jobs: they hold nothing until their time; then they are queued if what was decided on is still what would be done."""

from __future__ import annotations

import logging
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from tasks.audit import audit_close
from tasks.delivery import enqueue
from tasks.events import Level, event_append
from tasks.kinds import Status
from tasks.models import Job
from tasks.refusals import holder_of
from tasks.workflows import plan_set

logger = logging.getLogger(__name__)


def queue_due() -> int:
    """Queue the jobs whose time has come, by the database's clock. How many were queued."""
    due = list(Job.objects.filter(status=Status.SCHEDULED, not_before__lte=Now()).order_by("not_before").values_list("pk", flat=True))
    return sum(_queue(job_id) for job_id in due)


def _queue(job_id: int) -> bool:
    """Two sweepers at once: the row's lock lets one go first, and the other sees that it is done."""
    try:
        with transaction.atomic():
            job = Job.objects.select_for_update().filter(pk=job_id, status=Status.SCHEDULED).first()
            if job is None:
                return False
            why = _refusal(job)
            if why:
                _refuse(job, why)
                return False
            job.status = Status.QUEUED
            job.save(update_fields=["status"])
            event_append(job, Level.INFO, "Its time has come.")
            transaction.on_commit(partial(enqueue, job.pk))
    except IntegrityError:  # another job took the cluster between the look and the update: seen at the next sweep, and refused then
        logger.warning("Job #%s: its cluster was taken at the moment it was due", job_id)
        return False
    return True


def _refusal(job: Job) -> str:
    """Why it is not to run now, as a sentence; "" where it is."""
    words = {"cluster": job.cluster_name, "instance": job.instance_name}
    if job.cluster is None or (job.instance_name and job.instance is None):
        return _("What it was to act on (%(cluster)s %(instance)s) is not there any more.") % words
    holder = holder_of(job.cluster)
    if holder:
        return _("Job #%(number)s (%(kind)s) held the cluster when it was due.") % {"number": holder.pk, "kind": holder.get_kind_display()}
    decided = job.plan_hash
    plan_set(job)
    return "" if job.plan_hash == decided else _("The cluster has changed since: its plan is not the one that was decided on.")


def _refuse(job: Job, why: str) -> None:
    hint = _("Look at the cluster, then ask again.")
    event_append(job, Level.WARNING, f"{why} {hint}")
    Job.objects.filter(pk=job.pk).update(status=Status.REFUSED, summary=why, hint=hint, finished_at=timezone.now())
    audit_close(job, Status.REFUSED, summary=why)
