"""Who may work on a job: one conditional UPDATE takes it, by the database's clock, with a token higher than any before it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from tasks.kinds import RUNNABLE, Status

# Of 100 deliveries of one message, 99 wait for the row, see the new lease when they get it, and go home.
CLAIM = """
UPDATE tasks_job AS job
   SET token = nextval('tasks_lease_token'), status = CASE job.status WHEN %(queued)s THEN %(running)s ELSE job.status END,
       lease_until = now() + make_interval(secs => %(seconds)s), worker = %(worker)s, started_at = coalesce(job.started_at, now())
  FROM (SELECT id, status, worker FROM tasks_job WHERE id = %(id)s) AS before
 WHERE job.id = before.id AND job.status = ANY(%(runnable)s) AND (job.lease_until IS NULL OR job.lease_until < now())
RETURNING job.token, job.last_event, before.worker, before.status
"""


@dataclass(frozen=True)
class Lease:
    """The right to work on one job. `until` is on this machine's `clock`, and never later than the database's end of the lease."""

    job_id: int
    token: int
    last_event: int
    until: float
    seconds: float
    taken_from: str  # the worker that had begun it, "" when none had


def clock() -> float:
    """Seconds that also pass while this machine sleeps (where the system has such a clock)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def claim(job_id: int) -> Lease | None:
    """Take the job, or None: it has ended, or another worker's lease still holds."""
    seconds, asked = settings.JOB_LEASE_SECONDS, clock()
    values = {
        "id": job_id,
        "seconds": seconds,
        "worker": worker_name(),
        "runnable": [str(status) for status in RUNNABLE],
        "queued": str(Status.QUEUED),
        "running": str(Status.RUNNING),
    }
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, values)
        row = cursor.fetchone()
    if row is None:
        return None
    token, last_event, worker, status = row
    return Lease(job_id, token, last_event, asked + seconds, seconds, worker if status != Status.QUEUED else "")
