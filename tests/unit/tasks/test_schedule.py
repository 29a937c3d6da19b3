"""What the clock asks for."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tasks.kinds import Status
from tasks.models import AuditEntry, Job
from tasks.schedule import CLOSER_LOOK_AFTER, verify_all, verify_changed
from tests.factories import ClusterFactory, InstanceFactory, JobFactory

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


def it_looks_closer_where_a_role_has_changed() -> None:
    changed = [InstanceFactory(cluster=ClusterFactory(name=name)) for name in ("orders", "held", "lately", "looking")]
    InstanceFactory(cluster=ClusterFactory(name="quiet"))
    _orders, held, lately, looking = (row.cluster for row in changed)
    JobFactory(kind="switchover", cluster=held, status=Status.RUNNING)
    JobFactory(kind="verify", cluster=lately, status=Status.DONE)
    JobFactory(kind="verify", cluster=looking, status=Status.RUNNING)
    assert [job.cluster_name for job in verify_changed([row.pk for row in changed])] == ["orders"]
    Job.objects.filter(cluster=lately).update(created_at=timezone.now() - 2 * CLOSER_LOOK_AFTER)
    assert [job.cluster_name for job in verify_changed([row.pk for row in changed])] == ["lately"]
