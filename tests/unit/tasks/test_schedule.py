"""What the clock asks for."""

from __future__ import annotations

import pytest
from django.utils import timezone

from clusters.models import Cluster, Instance
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
    now = timezone.now()
    names = ("orders", "held", "lately", "looking", "planned")
    changed = {name: InstanceFactory(cluster=ClusterFactory(name=name), observed_at=now - 2 * CLOSER_LOOK_AFTER) for name in names}
    quiet = InstanceFactory(cluster=ClusterFactory(name="quiet"))
    held, lately, looking = (changed[name].cluster for name in ("held", "lately", "looking"))
    Cluster.objects.filter(name="planned").update(lifecycle="planned")
    job = JobFactory(kind="switchover", cluster=held, status=Status.RUNNING)
    JobFactory(kind="verify", cluster=lately, status=Status.DONE)
    JobFactory(kind="verify", cluster=looking, status=Status.RUNNING)
    since = {row.pk: timezone.now() for row in changed.values()}

    def left() -> list[str]:
        """Those for whom something is left to do."""
        done = verify_changed(since)
        return sorted(name for name, row in changed.items() if row.pk not in done)

    assert left() == ["held", "lately", "looking"]
    assert [row.cluster_name for row in Job.objects.filter(kind="verify", status=Status.QUEUED)] == ["orders"]
    assert left() == ["held", "lately", "looking"]
    Job.objects.filter(cluster=lately).update(created_at=now - 2 * CLOSER_LOOK_AFTER)
    Job.objects.filter(cluster=looking).update(created_at=timezone.now())  # asked for after the change
    assert left() == ["held"]
    assert Job.objects.filter(kind="verify", cluster=lately, status=Status.QUEUED).count() == 1
    Job.objects.filter(pk=job.pk).update(status=Status.DONE)
    Instance.objects.filter(cluster=held).update(observed_at=timezone.now())  # the job has looked
    assert left() == []
    assert not Job.objects.filter(kind="verify", cluster__in=(held, quiet.cluster)).exists()
