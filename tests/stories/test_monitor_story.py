"""The monitor watches real clusters: what is true is on record within two of its intervals."""

from __future__ import annotations

import threading
import time

import psutil
import pytest
from django.utils import timezone

from clusters.models import Instance, InstanceState, Monitor, Sample
from tasks.watching import store
from tasks.watching.monitor import Rounds
from tests.stage import Stage, stage
from tests.waiting import wait_until
from tests.watching import watching

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

INTERVAL = 1.0
#: Two intervals, one write, and what a busy machine needs.
SOON = 2 * INTERVAL + 6.0


def state(name: str) -> InstanceState | None:
    return InstanceState.objects.select_related("instance").filter(instance__name=name).first()


def age(name: str) -> float:
    """Seconds since it answered."""
    found = state(name)
    return (timezone.now() - found.answered_at).total_seconds() if found and found.answered_at else float("inf")


def test_what_is_true_is_on_record_within_two_intervals(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    with watching(Rounds(INTERVAL, disk_seconds=INTERVAL)):
        wait_until(lambda: age("node1") < SOON and age("node2") < SOON, "both have answered", 20)
        wait_until(lambda: all((found := state(name)) and found.disk_at for name in ("node1", "node2")), "their disks are known", SOON)
        disk, real = state("node2"), psutil.disk_usage(str(stage.base))
        assert disk is not None
        assert disk.disk_free_bytes == pytest.approx(real.free, rel=0.2)
        assert disk.disk_total_bytes == pytest.approx(real.total, rel=0.01)
        wait_until(lambda: (found := state("node2")) is not None and found.lag_bytes == 0, "it is known that nothing lags", SOON)
        primary, standby = state("node1"), state("node2")
        assert primary is not None
        assert standby is not None
        assert (primary.role, standby.role) == ("primary", "standby")
        assert (primary.sampled["timeline"], standby.sampled["timeline"]) == (1, 1)
        assert [(sender["name"], sender["state"]) for sender in primary.sampled["senders"]] == [("node2", "streaming")]
        assert primary.sampled["slots"][0]["active"]
        assert standby.sampled["receiver"] == "streaming"
        assert primary.lag_bytes is None

        stage.kill("node2")
        wait_until(lambda: (found := state("node2")) is not None and found.role == "unreachable", "its death is on record", SOON)
        wait_until(lambda: Instance.objects.get(name="node2").observed_role == "unreachable", "the pages show it", SOON)
        assert age("node1") < SOON
        dead = state("node2")
        assert dead is not None
        assert dead.sampled["receiver"] == "streaming"  # what it said last is kept
        assert "onnection refused" in dead.error

        stage.done("start_instance", cluster="orders", instance="node2")
        wait_until(lambda: Instance.objects.get(name="node2").observed_role == "standby", "that it is back is on record", SOON + 10)

        stage.done("stop_instance", cluster="orders", instance="node2", confirm="node2")
        wait_until(lambda: (found := state("node2")) is not None and found.missed > 1, "it is asked in vain", SOON)
        assert Instance.objects.get(name="node2").observed_role == "stopped"  # as the job has left it
        stage.done("start_instance", cluster="orders", instance="node2")
        wait_until(lambda: (found := state("node2")) is not None and found.role == "standby", "it answers again", SOON + 10)

        stage.by_superuser("node2", "SELECT pg_promote()")
        wait_until(lambda: Instance.objects.get(name="node2").observed_role == "primary", "that it accepts writes is on record", SOON)
    monitor = Monitor.objects.get()
    assert (monitor.instances, monitor.lease_until) == (2, None)


def test_a_hung_instance_costs_the_others_nothing_nor_keeps_the_monitor_from_ending(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    pid_file = stage.base / "orders/node2/volumes/postgres/data/postmaster.pid"
    frozen = psutil.Process(int(pid_file.read_text().split()[0]))
    everybody = [frozen]
    try:
        with watching(Rounds(INTERVAL)):
            wait_until(lambda: age("node1") < SOON and age("node2") < SOON, "both have answered", 20)
            everybody += frozen.children(recursive=True)
            for process in everybody:
                process.suspend()
            wait_until(lambda: (found := state("node2")) is not None and found.role == "unreachable", "its silence is on record", 20)
            ages = []
            for _look in range(20):
                ages.append(age("node1"))
                threading.Event().wait(0.1)
            assert max(ages) < INTERVAL + 3
            began = time.monotonic()
        assert time.monotonic() - began < 4.0
        assert Monitor.objects.get().lease_until is None
        assert {sample.looks > 0 for sample in Sample.objects.filter(seconds=60)} == {True}  # the minute that ran
    finally:
        for process in everybody:
            process.resume()
    with watching(Rounds(INTERVAL)):
        wait_until(lambda: (found := state("node2")) is not None and found.role == "standby", "it answers again", 30)


def test_one_monitor_watches_and_the_other_takes_over(stage: Stage) -> None:
    stage.create()
    gone = store.lease_take(3.0)  # by one that is never heard of again
    assert gone is not None
    with watching(Rounds(INTERVAL)):
        wait_until(lambda: age("node1") < SOON, "the other has taken over", 20)
        with pytest.raises(store.LeaseLost):
            store.lease_renew(gone, 1, INTERVAL)
        row = store.State(Instance.objects.get().pk, 0.0, "unreachable", "", None, None, None, None)
        with pytest.raises(store.LeaseLost):
            store.states_write(gone, [row])
        assert store.lease_take() is None
