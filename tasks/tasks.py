"""What Celery calls: by name, with a job's number and nothing else. Delivered never, late, twice or a hundred times: the same result."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from tasks import appointments, delivery, runner, schedule


@shared_task(name=delivery.RUN_JOB)
def run_job(job_id: int) -> None:
    runner.run(job_id)


@shared_task(name=delivery.SWEEP)
def sweep() -> None:
    appointments.queue_due()
    delivery.sweep()


@shared_task(name=delivery.VERIFY_ALL)
def verify_all() -> None:
    schedule.verify_all()


@worker_ready.connect
def sweep_at_start(sender: Any, **kwargs: Any) -> None:
    """A worker that starts looks for work that others have left; in its pool, so that its main process opens no connection."""
    sender.app.send_task(delivery.SWEEP, ignore_result=True)
