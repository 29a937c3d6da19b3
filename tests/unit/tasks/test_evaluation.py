"""From rows of the monitor and of verifications to alerts: begun, held, raised once, kept while nobody can see, ended once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from clusters.models import Cluster, Instance, InstanceState, Monitor, VerificationRun
from clusters.schedules import schedules_make
from tasks.alerting.evaluation import alerts_prune, evaluate
from tasks.models import Alert, AlertRule, Job
from tests.factories import JobFactory, VerificationFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db

SAMPLED = {
    "timeline": 1, "position": 500, "replay_paused": False, "connections": 3, "max_connections": 100, "checksum_failures": 0, "slots": [],
    "senders": [],
}  # fmt: skip
SOON = dt.timedelta(seconds=20)


def heard(instance: Instance, **values: Any) -> None:
    now = timezone.now()
    row = {"tried_at": now, "answered_at": now, "since": now, "role": instance.role, "missed": 0, "sampled": SAMPLED, "lag_seconds": None}
    InstanceState.objects.update_or_create(instance=instance, defaults=row | values)


def silent(instance: Instance) -> None:
    Instance.objects.filter(pk=instance.pk).update(observed_role="unreachable")
    heard(instance, role="unreachable", missed=3, error="timed out")


def well(instance: Instance) -> None:
    Instance.objects.filter(pk=instance.pk).update(observed_role=instance.role)
    heard(instance)


def monitor(*, seconds: int = 3600) -> None:
    now = timezone.now()
    Monitor.objects.update_or_create(pk=1, defaults={"lease_until": now + dt.timedelta(seconds=seconds), "beat_at": now, "interval": 5.0})


@pytest.fixture
def orders() -> Cluster:
    """Well and watched: orders-1 and its standby orders-2, which was verified just now."""
    cluster = cluster_with_standbys("orders")
    for row in cluster.instances.all():
        heard(row)
    monitor()
    schedules_make(cluster)
    VerificationRun.objects.create(cluster=cluster, verdict="ok")
    return cluster


@pytest.fixture
def standby(orders: Cluster) -> Instance:
    return orders.instances.get(name="orders-2")


def looked(everything: bool = True) -> tuple[list[str], list[str]]:
    """What was raised and what ended."""
    outcome = evaluate(everything=everything)
    return [row.condition for row in outcome.raised], [row.condition for row in outcome.ended]


def earlier(seconds: int, **of: Any) -> None:
    """As if the open alerts had begun, and been over, so much longer ago."""
    for row in Alert.objects.filter(ended_at=None, **of):
        row.began_at -= dt.timedelta(seconds=seconds)
        row.cleared_at = row.cleared_at and row.cleared_at - dt.timedelta(seconds=seconds)
        row.save()


def test_nothing_is_told_of_what_is_well(orders: Cluster) -> None:
    assert looked() == ([], [])
    assert not Alert.objects.exists()


def test_an_alert_is_held_then_raised_once_then_ends_once(standby: Instance) -> None:
    silent(standby)
    assert looked() == ([], [])
    row = Alert.objects.get()
    assert (row.condition, row.raised_at, row.cluster_name, row.instance_name) == ("standby_down", None, "orders", "orders-2")
    assert (row.sentence, row.severity) == ("orders-2 gives no answer: timed out", "warning")
    earlier(15)
    assert looked() == (["standby_down"], [])
    assert looked() == ([], [])
    well(standby)
    assert looked() == ([], [])
    silent(standby)
    assert looked() == ([], []), "it came back within the time that an end takes"
    assert Alert.objects.get().cleared_at is None
    well(standby)
    looked()
    earlier(15)
    assert looked() == ([], ["standby_down"])
    assert looked() == ([], [])
    assert Alert.objects.get().ended_at is not None
    silent(standby)
    looked()
    assert Alert.objects.count() == 2, "it is another alert when it comes again"


def test_what_goes_away_while_it_is_held_leaves_nothing(standby: Instance) -> None:
    silent(standby)
    looked()
    well(standby)
    looked()
    assert not Alert.objects.exists()


def test_a_second_primary_is_raised_at_once_even_while_a_job_works_for_long(orders: Cluster, standby: Instance) -> None:
    Instance.objects.filter(pk=standby.pk).update(observed_role="primary")
    assert looked() == (["several_writable"], [])
    assert Alert.objects.get().sentence == "orders-1, orders-2 all accept writes."


def test_while_a_job_changes_the_cluster_trouble_must_last_longer(orders: Cluster, standby: Instance) -> None:
    job = JobFactory(kind="restart_instance", cluster=orders, status="running")
    silent(standby)
    looked()
    earlier(100)
    assert looked() == ([], [])
    earlier(40)
    assert looked() == (["standby_down"], [])
    Job.objects.filter(pk=job.pk).update(status="done", finished_at=timezone.now())
    Instance.objects.filter(name="orders-1").update(observed_role="standby")
    assert looked() == ([], []), "a moment ago it still changed the cluster"
    Job.objects.filter(pk=job.pk).update(finished_at=timezone.now() - SOON)
    assert looked() == (["role_differs"], [])


def test_what_nobody_can_see_now_stays_open(orders: Cluster, standby: Instance) -> None:
    heard(standby, sampled={**SAMPLED, "replay_paused": True})
    assert looked() == (["replay_paused"], [])
    silent(standby)
    looked()
    earlier(60)
    assert looked() == (["standby_down"], [])
    monitor(seconds=-1)
    well(standby)
    assert looked() == (["monitor_dead"], [])
    earlier(60)
    assert looked() == ([], [])
    assert set(Alert.objects.filter(ended_at=None).values_list("condition", flat=True)) == {"replay_paused", "standby_down", "monitor_dead"}
    monitor()
    looked()
    earlier(60)
    assert sorted(looked()[1]) == ["monitor_dead", "replay_paused", "standby_down"]


def test_a_consequence_neither_begins_nor_ends_an_alert(standby: Instance) -> None:
    heard(standby, lag_seconds=500.0)
    looked()
    earlier(60)
    assert looked() == (["lag_seconds"], [])
    heard(standby, lag_seconds=500.0, sampled={**SAMPLED, "replay_paused": True})
    assert looked() == (["replay_paused"], [])
    earlier(60)
    assert looked() == ([], [])
    well(standby)
    looked()
    earlier(60)
    assert sorted(looked()[1]) == ["lag_seconds", "replay_paused"]


DRIFT = {
    "name": "file_drifted", "severity": "warns", "sentence": "A file differs.", "cure": "Look.", "value": 1, "threshold": None,
    "instance": "orders-2", "depth": "deep", "act": "",
}  # fmt: skip


def test_findings_hold_until_the_next_look_as_deep(orders: Cluster) -> None:
    run = VerificationRun.objects.create(cluster=orders, depth="deep", verdict="warning", findings=[DRIFT, {**DRIFT, "act": "promotion"}])
    looked()
    earlier(60)
    assert looked() == (["verification_warning"], [])
    row = Alert.objects.get()
    assert (row.subject, row.sentence, row.cure, row.value, row.threshold) == ("orders-2/file_drifted", "A file differs.", "Look.", "1", "")
    VerificationRun.objects.create(cluster=orders, verdict="ok")  # a standing one does not look at files
    earlier(60)
    looked()
    earlier(60)
    assert looked(everything=False) == ([], [])
    assert looked() == ([], [])
    VerificationRun.objects.create(cluster=orders, depth="deep", verdict="ok")
    looked()
    earlier(60)
    assert looked(everything=False) == ([], []), "what was not read is not over"
    assert looked() == ([], ["verification_warning"])
    assert run.findings


def test_findings_of_a_pair_count_while_its_verification_is_young_and_of_after_the_trouble(orders: Cluster, standby: Instance) -> None:
    finding = {"name": "marker_not_read", "severity": "blocks", "sentence": "No row.", "cure": "Look.", "value": 10, "threshold": None}
    VerificationFactory(pair=standby.pair, verdict="failed", findings=[finding])
    VerificationRun.objects.create(cluster=orders, verdict="failed")
    looked()
    earlier(60)
    assert looked() == (["verification_failed"], [])
    long_ago = timezone.now() - dt.timedelta(minutes=17)
    VerificationRun.objects.update(created_at=long_ago)
    PeriodicTask.objects.update(start_time=long_ago)
    assert looked() == (["verification_late"], [])
    earlier(60)
    assert looked() == ([], []), "too old to say that it is over"
    VerificationFactory(pair=standby.pair)
    VerificationRun.objects.create(cluster=orders, verdict="ok")
    looked()
    earlier(60)
    assert sorted(looked()[1]) == ["verification_failed", "verification_late"]


def test_what_was_verified_during_other_trouble_is_not_told_after_it(orders: Cluster, standby: Instance) -> None:
    silent(standby)
    looked()
    earlier(60)
    looked()
    Instance.objects.filter(pk=standby.pk).update(not_promotable="It gives no answer.")
    VerificationRun.objects.create(cluster=orders, depth="deep", verdict="warning")
    looked()
    well(standby)
    looked()
    earlier(60)
    assert looked() == ([], ["standby_down"])
    assert looked() == ([], [])
    VerificationRun.objects.create(cluster=orders, depth="deep", verdict="warning")
    assert looked() == (["not_promotable"], [])


def test_rules_change_what_is_told(orders: Cluster, standby: Instance) -> None:
    heard(standby, lag_seconds=40.0)
    assert looked() == ([], [])
    AlertRule.objects.create(condition="lag_seconds", severity="critical", hold_seconds=0, threshold=30.0)
    assert looked() == (["lag_seconds"], [])
    assert Alert.objects.get().severity == "critical"
    AlertRule.objects.update(enabled=False)
    looked()
    earlier(60)
    assert looked() == ([], ["lag_seconds"])


def test_alerts_of_a_cluster_that_is_gone_end_and_old_ones_are_forgotten(orders: Cluster, standby: Instance) -> None:
    heard(standby, sampled={**SAMPLED, "replay_paused": True})
    looked()
    Cluster.objects.update(lifecycle="removing")
    assert looked() == ([], ["replay_paused"])
    assert alerts_prune() == 0
    assert alerts_prune(timezone.now() + dt.timedelta(days=367)) == 1


def test_the_number_of_queries_does_not_grow_with_clusters(orders: Cluster, django_assert_max_num_queries: Any) -> None:
    for number in range(5):
        for row in cluster_with_standbys(f"more-{number}", standbys=2).instances.all():
            heard(row, disk_free_bytes=10, disk_total_bytes=1000, disk_rate=1.0, disk_at=timezone.now())
    with django_assert_max_num_queries(17):
        evaluate(everything=False)
    with django_assert_max_num_queries(22):
        evaluate(everything=True)
