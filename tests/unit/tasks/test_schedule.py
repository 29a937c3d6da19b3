"""What the clock asks for."""

from __future__ import annotations

import pytest

from tasks.kinds import Status
from tasks.models import AuditEntry, Job
from tasks.schedule import verify_all
from tests.factories import ClusterFactory, JobFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def it_verifies_each_ready_cluster_that_is_not_being_verified() -> None:
    orders, busy, verified = ClusterFactory(name="orders"), ClusterFactory(name="busy"), ClusterFactory(name="verified")
    ClusterFactory(name="planned", lifecycle="planned")
    JobFactory(kind="verify", cluster=busy, status=Status.RUNNING)
    JobFactory(kind="verify", cluster=verified, status=Status.DONE)
    JobFactory(kind="start_instance", cluster=orders, status=Status.RUNNING)
    assert sorted(job.cluster_name for job in verify_all()) == ["orders", "verified"]
    job = Job.objects.get(cluster=orders, kind="verify")
    assert (job.status, job.mutating, job.requested_by, job.requested_by_name, job.source) == (
        "queued",
        False,
        None,
        "schedule",
        "schedule",
    )
    assert not AuditEntry.objects.exists()
    assert verify_all() == []
