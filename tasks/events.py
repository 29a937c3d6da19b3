"""An event of a job that no worker holds. While one does, its journal alone writes."""

from __future__ import annotations

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from tasks.lines import Masker, clean_line
from tasks.models import Job, JobEvent

Level = JobEvent.Level


def event_append(job: Job, level: str, text: str) -> None:
    """One event of one line, in the caller's transaction. The counter's row lock keeps the numbers without gap."""
    text = clean_line(text, Masker(), settings.JOB_LINE_MAX_BYTES)
    Job.objects.filter(pk=job.pk).update(last_event=F("last_event") + 1)
    job.refresh_from_db(fields=["last_event"])
    JobEvent.objects.create(job=job, seq=job.last_event, level=level, text=text, at=timezone.now())
