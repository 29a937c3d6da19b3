"""The reads of jobs and their logs. Plain values come out, ready for JSON; the page, the stream and the API share them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tasks.kinds import UNENDED
from tasks.models import Job, JobEvent, JobStep

JOB_FIELDS = (
    "kind",
    "status",
    "cancel_requested_at",
    "last_event",
    "log_truncated",
    "summary",
    "hint",
    "started_at",
    "finished_at",
)
STEP_FIELDS = ("position", "name", "title", "status", "attempts", "sentence", "hint", "progress", "started_at", "finished_at")


def events_after(job_id: int, after: int, limit: int = 500) -> list[dict[str, Any]]:
    """At most `limit` events of the job numbered above `after`, in order: `{"seq", "step", "level", "text", "at"}`, `at` in ISO 8601."""
    rows = JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")
    return [row | {"at": row["at"].isoformat()} for row in rows.values("seq", "step", "level", "text", "at")[:limit]]


def job_snapshot(job_id: int) -> dict[str, Any] | None:
    """Where the job stands, or None when there is no such job.

    `{"id", "kind", "status", "ended", "cancel_requested", "last_event", "log_truncated", "summary", "hint", "started_at",
    "finished_at", "steps"}`; a step has the keys STEP_FIELDS. Times in ISO 8601. `ended` says that no worker works on the
    job or will by itself. Events up to `last_event` can be read once this has returned.
    """
    job = Job.objects.filter(pk=job_id).only(*JOB_FIELDS).first()  # not the plan: it is long, and this is read several times a second
    if job is None:
        return None
    return {
        "id": job.pk,
        "kind": job.kind,
        "status": job.status,
        "ended": job.status not in UNENDED,
        "cancel_requested": job.cancel_requested_at is not None,
        "last_event": job.last_event,
        "log_truncated": job.log_truncated,
        "summary": job.summary,
        "hint": job.hint,
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
        "steps": _steps(job_id),
    }


def _steps(job_id: int) -> list[dict[str, Any]]:
    rows = JobStep.objects.filter(job_id=job_id).order_by("position").values(*STEP_FIELDS)
    return [row | {"started_at": _iso(row["started_at"]), "finished_at": _iso(row["finished_at"])} for row in rows]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
