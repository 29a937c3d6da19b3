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
    earlier(15)
    looked()
    assert not Alert.objects.exists()


def test_time_in_which_nobody_looked_is_not_held(standby: Instance) -> None:
    silent(standby)
    looked()
    Alert.objects.update(began_at=timezone.now() - dt.timedelta(hours=1), seen_at=timezone.now() - dt.timedelta(minutes=59))
    assert looked() == ([], [])
    earlier(15)
    assert looked() == (["standby_down"], [])


def test_a_clock_that_was_set_back_delays_by_the_hold_time_alone(standby: Instance) -> None:
    silent(standby)
    looked()
    Alert.objects.update(began_at=timezone.now() + dt.timedelta(hours=3))
    looked()
    earlier(15)
    assert looked() == (["standby_down"], [])


def test_a_rule_that_is_switched_off_ends_its_alert_though_nobody_sees_the_thing(standby: Instance) -> None:
    silent(standby)
    looked()
    earlier(15)
    assert looked() == (["standby_down"], [])
    AlertRule.objects.create(condition="standby_down", enabled=False, severity="warning", hold_seconds=15)
    looked()
    earlier(15)
    assert looked() == ([], ["standby_down"])


def test_what_is_said_of_a_standby_that_is_removed_ends(orders: Cluster, standby: Instance) -> None:
    VerificationRun.objects.create(cluster=orders, depth="deep", verdict="warning")
    Instance.objects.filter(pk=standby.pk).update(not_promotable="A setting is too low.")
    assert looked() == (["not_promotable"], [])
    Instance.objects.filter(pk=standby.pk).update(lifecycle="planned")
    looked(everything=False)
    earlier(15)
    assert looked(everything=False) == ([], ["not_promotable"])


def test_trouble_of_another_kind_hides_nothing_that_a_verification_finds(orders: Cluster, standby: Instance) -> None:
    heard(orders.instances.get(name="orders-1"), sampled={**SAMPLED, "connections": 95})
    looked()
    earlier(120)
    assert looked() == (["connections_used"], [])
    finding = {"name": "marker_not_read", "severity": "blocks", "sentence": "No row.", "cure": "Look.", "value": 10, "threshold": None}
    VerificationFactory(pair=standby.pair, verdict="failed", findings=[finding])
    VerificationRun.objects.create(cluster=orders, verdict="failed")
    looked()
    earlier(120)
    assert looked() == (["verification_failed"], [])


def test_what_rests_on_verifications_is_not_judged_without_them(orders: Cluster, standby: Instance) -> None:
    Instance.objects.filter(pk=standby.pk).update(not_promotable="It gives no answer.")
    assert looked() == ([], []), "no deep verification has proved that"
    assert looked(everything=False) == ([], [])


@pytest.mark.parametrize("lifecycle", ["planned", "ready", None])
def test_every_job_that_needs_an_operator_is_told(orders: Cluster, lifecycle: str | None) -> None:
    if lifecycle:
        Cluster.objects.update(lifecycle=lifecycle)
    JobFactory(kind="check_server", cluster=orders if lifecycle else None, status="needs_operator", summary="It stopped.", hint="Look.")
    assert looked() == (["job_needs_operator"], [])
    assert Alert.objects.get().cluster_name == ("orders" if lifecycle else "")
    assert looked() == ([], [])
    Job.objects.update(status="done")
    first = looked()[1]
    earlier(15)
    assert [*first, *looked()[1]] == ["job_needs_operator"]


def test_two_that_accept_writes_are_not_said_to_be_over_while_one_may_still(orders: Cluster, standby: Instance) -> None:
    Instance.objects.filter(pk=standby.pk).update(quarantined_at=timezone.now(), observed_role="primary")
    looked()
    assert set(Alert.objects.filter(raised_at__isnull=False).values_list("condition", flat=True)) >= {"several_writable"}
    Instance.objects.filter(pk=standby.pk).update(observed_role="unreachable")
    heard(standby, role="unreachable", missed=3, sampled={**SAMPLED, "in_recovery": False})
    looked()
    earlier(60)
    assert looked()[1] == []
    heard(standby, role="unreachable", missed=3, sampled={**SAMPLED, "in_recovery": True})
    looked()
    earlier(60)
    assert "several_writable" in looked()[1], "its last word was that it does not accept writes"


def test_what_runs_in_quarantine_is_not_said_to_be_over_while_nobody_sees_it(standby: Instance) -> None:
    Instance.objects.filter(pk=standby.pk).update(quarantined_at=timezone.now(), observed_role="standby")
    assert looked() == (["quarantine_running"], [])
    silent(standby)
    looked()
    earlier(60)
    assert looked() == ([], [])
    Instance.objects.filter(pk=standby.pk).update(observed_role="stopped")
    looked()
    earlier(60)
    assert looked() == ([], ["quarantine_running"])


def test_a_monitor_that_was_stopped_in_order_is_given_time_for_its_successor(orders: Cluster) -> None:
    Monitor.objects.update(lease_until=None)
    assert looked() == ([], [])
    Monitor.objects.update(beat_at=timezone.now() - dt.timedelta(seconds=31))
    assert looked() == (["monitor_dead"], [])


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
    with django_assert_max_num_queries(18):
        evaluate(everything=False)
    with django_assert_max_num_queries(23):
        evaluate(everything=True)
