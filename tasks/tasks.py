"""What Celery calls: by name, with a job's number and nothing else. Delivered never, late, twice or a hundred times: the same result."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from clusters.schedules import VERIFY_CLUSTER
from clusters.services import verifications_prune
from tasks import appointments, delivery, runner, schedule
from tasks.alerting.evaluation import alerts_prune
from tasks.alerting.sender import notifications_prune
from tasks.pulses import Part, pulse_felt


@shared_task(name=delivery.RUN_JOB)
def run_job(job_id: int) -> None:
    runner.run(job_id)


@shared_task(name=delivery.SWEEP)
def sweep() -> None:
    pulse_felt(Part.WORKERS)
    appointments.queue_due()
    delivery.sweep()


@shared_task(name=VERIFY_CLUSTER)
def verify_cluster(cluster_id: int, depth: str, tables: list[str] | None = None) -> None:
    schedule.verify_cluster(cluster_id, depth, tables or ())


@shared_task(name=delivery.VERIFY_LATE)
def verify_late() -> None:
    schedule.verify_late()
    verifications_prune()
    alerts_prune()
    notifications_prune()


@worker_ready.connect
def sweep_at_start(sender: Any, **kwargs: Any) -> None:
    """A worker that starts looks for work that others have left; in its pool, so that its main process opens no connection."""
    sender.app.send_task(delivery.SWEEP, ignore_result=True)
