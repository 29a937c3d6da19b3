"""A job that waits for its time: it holds nothing until then, and runs only if what was decided on is still what would be done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from tasks.actor import actor_system
from tasks.appointments import queue_due
from tasks.control import job_cancel
from tasks.kinds import Status
from tasks.models import AuditEntry, Job
from tasks.services import RequestRefused, job_request
from tests.factories import JobFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = actor_system("operator", "command")


def scheduled(sent: list[int], **more: Any) -> Job:
    cluster_with_standbys("orders", standbys=2)
    at = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    data = {"cluster": "orders", "to": "orders-2", "reason": "maintenance", "confirm": "orders", "at": at, **more}
    job = job_request(kind="switchover", actor=OPERATOR, data=data)
    assert sent == []  # no worker is called
    return job


def is_due(job: Job) -> Job:
    Job.objects.filter(pk=job.pk).update(not_before=Now())
    return job


def it_waits_and_holds_nothing(sent: list[int]) -> None:
    job = scheduled(sent)
    assert job.status == Status.SCHEDULED
    assert queue_due() == 0
    other = job_request(kind="verify", actor=OPERATOR, data={"cluster": "orders"})
    data = {"cluster": "orders", "instance": "orders-3", "confirm": "orders-3"}
    mutating = job_request(kind="restart_instance", actor=OPERATOR, data=data)
    assert {other.status, mutating.status} == {Status.QUEUED}


def it_is_queued_when_its_time_has_come(sent: list[int]) -> None:
    job = is_due(scheduled(sent))
    assert queue_due() == 1
    assert queue_due() == 0
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    assert sent == [job.pk]


def it_is_refused_when_another_job_holds_the_cluster_then(sent: list[int]) -> None:
    job = is_due(scheduled(sent))
    holder = JobFactory(kind="restart_instance", cluster=job.cluster, status=Status.RUNNING)
    assert queue_due() == 0
    job.refresh_from_db()
    assert job.status == Status.REFUSED
    assert f"#{holder.pk}" in job.summary
    assert AuditEntry.objects.get(job_id=job.pk, phase="closed").details["status"] == "refused"


def it_is_refused_when_its_plan_is_another_one_then(sent: list[int]) -> None:
    job = is_due(scheduled(sent))
    job.cluster.epoch += 1
    job.cluster.save()
    assert queue_due() == 0
    job.refresh_from_db()
    assert job.status == Status.REFUSED
    assert "plan" in job.summary


def it_is_refused_when_its_candidate_is_gone(sent: list[int]) -> None:
    job = is_due(scheduled(sent))
    job.instance.pair.delete()
    job.instance.delete()
    assert queue_due() == 0
    job.refresh_from_db()
    assert job.status == Status.REFUSED


def it_can_be_canceled_before(sent: list[int]) -> None:
    job = is_due(scheduled(sent))
    assert job_cancel(job=job, actor=OPERATOR).status == Status.CANCELED
    assert queue_due() == 0


@pytest.mark.parametrize("at", ["tomorrow", "2026-12-01T03:00", "2001-01-01T00:00+00:00", "2999-01-01T00:00+00:00"])
def it_takes_a_time_with_its_offset_that_is_to_come(sent: list[int], at: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        scheduled(sent, at=at)
    assert list(refused.value.errors) == ["at"]
