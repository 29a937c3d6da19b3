"""What the clock asks for."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from clusters import services
from clusters.models import Cluster, Instance, Verification, VerificationRun
from clusters.schedules import STANDING_MINUTES, Planned, defaults, schedule_set, schedules_make, schedules_of
from tasks import schedule
from tasks.kinds import Status
from tasks.models import AuditEntry, Job
from tasks.schedule import CLOSER_LOOK_AFTER, overdue, verify_changed, verify_cluster, verify_late
from tests.factories import ClusterFactory, InstanceFactory, JobFactory, ServerFactory, VerificationFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def ran(cluster: Cluster, ago: timedelta, depth: str = "standing", verdict: str = "ok") -> VerificationRun:
    run = services.verification_run_record(cluster, depth=depth, verdict=verdict, findings=[], job_id=JobFactory(cluster=cluster).pk)
    VerificationRun.objects.filter(pk=run.pk).update(created_at=timezone.now() - ago)
    Job.objects.filter(pk=run.job_id).update(created_at=timezone.now() - ago)
    return run


def scheduled(name: str, ago: timedelta = timedelta(days=1)) -> Cluster:
    """A cluster whose schedules were put down some time ago."""
    cluster: Cluster = ClusterFactory(name=name)
    schedules_make(cluster)
    PeriodicTask.objects.filter(name__endswith=f"-{cluster.pk}").update(start_time=timezone.now() - ago)
    return cluster


def it_verifies_a_ready_cluster_that_is_not_being_verified() -> None:
    orders, busy, planned = ClusterFactory(name="orders"), ClusterFactory(name="busy"), ClusterFactory(name="planned", lifecycle="planned")
    JobFactory(kind="verify", cluster=busy, status=Status.RUNNING, params={"depth": "standing"})
    JobFactory(kind="verify", cluster=orders, status=Status.DONE)
    JobFactory(kind="start_instance", cluster=orders, status=Status.RUNNING)
    (job,) = verify_cluster(orders.pk, "standing")
    assert (job.status, job.mutating, job.requested_by, job.requested_by_name, job.source, job.params["depth"]) == (
        "queued", False, None, "schedule", "schedule", "standing",
    )  # fmt: skip
    assert not AuditEntry.objects.exists()
    assert [verify_cluster(each.pk, "standing") for each in (orders, busy, planned)] == [[], [], []]
    assert verify_cluster(0, "standing") == []
    (job,) = verify_cluster(busy.pk, "content", ["public.orders"])  # the one under way does not look as deep
    assert job.params == {"cluster": "busy", "depth": "content", "tables": ["public.orders"]}
    assert verify_cluster(busy.pk, "deep") == []


def it_lets_only_so_many_wait_and_catches_up_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "QUEUED_AT_ONCE", 2)
    clusters = {name: scheduled(name, timedelta(days=2)) for name in ("aa", "bb", "cc", "quiet")}
    for number, cluster in enumerate(clusters.values()):
        ran(cluster, timedelta(minutes=1 if cluster.name == "quiet" else 10 + number), "content")
    assert sorted(job.cluster_name for job in verify_late()) == ["bb", "cc"]
    assert verify_cluster(clusters["aa"].pk, "standing") == verify_late() == []
    Job.objects.filter(status=Status.QUEUED).update(status=Status.FAILED)
    assert [job.cluster_name for job in verify_late()] == ["aa"], "what has just failed is not asked for again at once"
    Job.objects.filter(status=Status.QUEUED).update(status=Status.DONE)
    assert verify_late() == []
    VerificationRun.objects.filter(cluster=clusters["quiet"]).update(depth="standing")
    assert sorted(job.params["depth"] for job in verify_late()) == ["deep"], "it has had a day for it, and no week"


def it_tells_which_schedules_do_not_run(django_assert_num_queries: Any) -> None:
    late, never, fresh, off = (scheduled(name) for name in ("late", "never", "fresh", "off"))
    ClusterFactory(name="without")
    ran(late, timedelta(minutes=2 * STANDING_MINUTES, seconds=31), "deep")
    ran(fresh, timedelta(minutes=2 * STANDING_MINUTES, seconds=20))
    schedule_set(off, Planned("standing", enabled=False, minutes=5))
    with django_assert_num_queries(2):
        found = overdue()
    assert set(found) == {late.pk, never.pk}
    assert timezone.now() - found[late.pk] > timedelta(minutes=10)
    assert [schedule.is_overdue(each) for each in (late, fresh, off)] == [True, False, False]
    schedule_set(never, Planned("standing", minutes=5))  # changed just now: it has its time again
    assert set(overdue()) == {late.pk}


def it_makes_the_schedules_with_the_cluster_and_removes_them_with_it() -> None:
    server = ServerFactory()
    values = {"name": "made", "server": server, "postgres_major": 18, "database": "shop", "owner_role": "shop"}
    cluster, _primary = services.cluster_declare(**values)
    found = schedules_of([cluster.pk])[cluster.pk]
    assert {depth: each.planned for depth, each in found.items()} == {each.depth: each for each in defaults(cluster.pk)}
    assert all(each.next_at and each.next_at <= timezone.now() + each.planned.period for each in found.values())
    with pytest.raises(ValidationError):
        services.cluster_declare(**values, port=1)
    assert PeriodicTask.objects.filter(task="tasks.verify_cluster").count() == 3
    task = PeriodicTask.objects.get(name=f"verify-content-{cluster.pk}")
    assert json.loads(task.kwargs) == {"cluster_id": cluster.pk, "depth": "content"}
    services.cluster_forget(cluster)
    assert not PeriodicTask.objects.filter(task="tasks.verify_cluster").exists()


def it_spreads_the_clusters() -> None:
    begins = [tuple((each.at, each.day) for each in defaults(key)[1:]) for key in range(1, 1001)]
    for at in (0, 1):
        each = [begin[at] for begin in begins]
        assert max(map(each.count, each)) == 1, "no two of a thousand start in one minute"


def it_prunes_by_age_and_keeps_the_last() -> None:
    cluster = scheduled("orders")
    kept = [ran(cluster, timedelta(days=days), depth) for days, depth in ((9, "deep"), (1, "standing"), (500, "content"))]
    _gone = [ran(cluster, timedelta(days=days), depth) for days, depth in ((401, "deep"), (8, "standing"), (501, "content"))]
    pair = VerificationFactory(at=timezone.now() - timedelta(days=9)).pair
    last = VerificationFactory(pair=pair, at=timezone.now() - timedelta(days=8))
    assert services.verifications_prune() == 4
    assert set(VerificationRun.objects.values_list("pk", flat=True)) == {run.pk for run in kept}
    assert list(Verification.objects.values_list("pk", flat=True)) == [last.pk]


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
