"""Each way in which a real pair can be in trouble is told of once, soon, and once more when it is over."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from clusters.models import Instance, VerificationRun
from tasks.alerting import evaluation, reading
from tasks.alerting.conditions import CONDITIONS
from tasks.alerting.evaluation import evaluate
from tasks.models import Alert, AlertRule, Job
from tasks.watching.monitor import Rounds
from tests.stage import Stage
from tests.waiting import wait_until
from tests.watching import watching

pytestmark = pytest.mark.django_db(transaction=True)

INTERVAL = 1.0
#: Two looks of the monitor, one evaluation, and what a busy machine needs.
SOON = 3 * INTERVAL + 9.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be waited for in minutes is waited for in seconds here."""
    monkeypatch.setattr(evaluation, "ENDS_AFTER", timezone.timedelta(seconds=2))
    monkeypatch.setattr(reading, "REPLACED_WITHIN", timezone.timedelta(seconds=2))


@pytest.fixture
def pair(stage: Stage) -> Stage:
    stage.create()
    stage.standby(name="node2")
    for name, condition in CONDITIONS.items():
        AlertRule.objects.create(
            condition=name, severity=condition.severity, threshold=condition.threshold, hold_seconds=min(condition.hold_seconds, 2)
        )
    stage.done("verify", cluster="orders", depth="deep")
    Job.objects.update(finished_at=timezone.now() - timezone.timedelta(minutes=5))  # the moment after a job is over
    return stage


def raised() -> list[tuple[str, str]]:
    """Open alerts, as an evaluation leaves them."""
    evaluate(everything=True)
    rows = Alert.objects.filter(ended_at=None, raised_at__isnull=False).order_by("pk")
    return [(row.condition, row.subject) for row in rows]


@contextlib.contextmanager
def told_once(condition: str, subject: str, *, within: float = SOON) -> Iterator[None]:
    """It begins within so many seconds of now, alone; and when what is in the block is done, it ends, and nothing else has begun."""
    before = Alert.objects.filter(raised_at__isnull=False).count()
    wait_until(lambda: (condition, subject) in raised(), f"{condition} is told", within + 2)
    wait_until_quiet(4 * INTERVAL)
    assert raised() == [(condition, subject)]
    yield
    wait_until(lambda: not raised(), f"{condition} is over", 60)
    wait_until_quiet(3 * INTERVAL)
    assert raised() == []
    rows = list(Alert.objects.filter(raised_at__isnull=False).order_by("pk").values_list("condition", "subject"))[before:]
    assert rows == [(condition, subject)]


def wait_until_quiet(seconds: float) -> None:
    """Evaluate as the clock does, for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        evaluate(everything=True)
        threading.Event().wait(INTERVAL / 2)


def data(stage: Stage, name: str) -> Path:
    return stage.base / f"orders/{name}/volumes/postgres/data"


def receiver(stage: Stage, name: str) -> psutil.Process:
    pid = int((data(stage, name) / "postmaster.pid").read_text().split()[0])
    return next(child for child in psutil.Process(pid).children() if "walreceiver" in " ".join(child.cmdline()))


def all_well() -> None:
    wait_until(lambda: row("node2").pair.state == "streaming", "node2 streams", 30)
    wait_until(lambda: not raised(), "nothing is told", 30)


def row(name: str) -> Instance:
    return Instance.objects.select_related("server", "cluster").get(name=name)


def test_what_passes_is_told_once_and_its_end_once(pair: Stage) -> None:
    with watching(Rounds(INTERVAL, disk_seconds=INTERVAL)):
        all_well()
        pair.kill("node2")
        with told_once("standby_down", "node2"):
            pair.start_by_hand("node2")

        pair.by_superuser("node2", "SELECT pg_wal_replay_pause()")
        with told_once("replay_paused", "node2"):
            pair.by_superuser("node2", "SELECT pg_wal_replay_resume()")

        frozen = receiver(pair, "node2")
        frozen.suspend()
        try:
            pair.by_superuser("node1", "CREATE TABLE one AS SELECT 1 AS n")
            with told_once("receiver_silent", "node2", within=10 + SOON):
                frozen.resume()
        finally:
            frozen.resume()

        AlertRule.objects.filter(condition="slot_retaining").update(threshold=4)
        pair.by_superuser("node1", "SELECT pg_create_physical_replication_slot('left_behind', true)")
        pair.by_superuser("node1", "CREATE TABLE much AS SELECT n, repeat('x', 500) AS t FROM generate_series(1, 40000) AS n")
        with told_once("slot_retaining", "node1/left_behind"):
            pair.by_superuser("node1", "SELECT pg_drop_replication_slot('left_behind')")

        AlertRule.objects.filter(condition="disk_full").update(threshold=99.99)  # what is free here is less
        wait_until(lambda: len(raised()) == 2, "both disks are told of", SOON)
        assert raised() == [("disk_full", "node1"), ("disk_full", "node2")]
        AlertRule.objects.filter(condition="disk_full").update(threshold=0.01)
        wait_until(lambda: not raised(), "they are over", SOON)


def test_what_verifications_see_is_told_once_and_so_is_who_does_not_look(pair: Stage) -> None:
    hba = pair.base / "orders/node1/conf/pg_hba.conf"
    as_declared = hba.read_text()
    with watching(Rounds(INTERVAL)):
        all_well()
        hba.write_text(as_declared + "host all all 192.0.2.0/24 scram-sha-256\n")
        pair.done("verify", cluster="orders", depth="deep")
        with told_once("verification_warning", "node1/file_drifted"):
            hba.write_text(as_declared)
            pair.done("verify", cluster="orders", depth="deep")

        long_ago = timezone.now() - timezone.timedelta(minutes=20)
        VerificationRun.objects.exclude(pk=VerificationRun.objects.latest("pk").pk).delete()
        VerificationRun.objects.update(created_at=long_ago)
        PeriodicTask.objects.update(start_time=long_ago)
        with told_once("verification_late", ""):
            pair.done("verify", cluster="orders", depth="deep")
    with told_once("monitor_dead", ""):
        again = watching(Rounds(INTERVAL))
        again.__enter__()
    again.__exit__(None, None, None)


def test_a_parameter_that_is_too_low_is_told_once(pair: Stage) -> None:
    """The standby stops replaying when its primary is started with more than it has."""
    pair.by_superuser("node1", "ALTER SYSTEM SET max_connections = 150")
    with watching(Rounds(INTERVAL)):
        all_well()
        pair.stop_by_hand("node1")
        pair.start_by_hand("node1")
        with told_once("replay_paused", "node2", within=60):
            pair.done("verify", cluster="orders", depth="standing")
            wait_until_quiet(4 * INTERVAL)
            assert raised() == [("replay_paused", "node2")]
            pair.by_superuser("node2", "ALTER SYSTEM SET max_connections = 150")
            pair.stop_by_hand("node2")
            pair.start_by_hand("node2")
            wait_until(lambda: pair.answer(row("node2"), "SELECT pg_is_wal_replay_paused()") is False, "node2 replays", 30)
            for name in ("node1", "node2"):
                pair.by_superuser(name, "ALTER SYSTEM RESET max_connections")
            pair.done("verify", cluster="orders", depth="standing")


def test_a_second_primary_and_a_wrong_timeline_are_told_once(pair: Stage) -> None:
    with watching(Rounds(INTERVAL)):
        all_well()
        pair.by_superuser("node2", "SELECT pg_promote()")
        wait_until(lambda: raised() == [("several_writable", "")], "two accept writes", SOON)
        wait_until_quiet(4 * INTERVAL)
        assert raised() == [("several_writable", "")]
        signal = data(pair, "node2") / "standby.signal"
        pair.stop_by_hand("node2")
        signal.touch()
        os.chown(signal, *owner(signal.parent))
        pair.start_by_hand("node2")
        wait_until(lambda: raised() == [("timeline_differs", "node2")], "it is a standby again, on a timeline of its own", 60)
        wait_until_quiet(4 * INTERVAL)
        assert raised() == [("timeline_differs", "node2")]
        pair.done("remove_standby", cluster="orders", instance="node2", confirm="node2", reason="It has WAL of its own.")
        wait_until(lambda: not raised(), "what is gone is no trouble any more", 60)
        every = Alert.objects.filter(raised_at__isnull=False).order_by("pk").values_list("condition", flat=True)
        assert list(every) == ["several_writable", "timeline_differs"]


def owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_a_standby_without_its_signal_is_told_once(pair: Stage) -> None:
    with watching(Rounds(INTERVAL)):
        all_well()
        pair.stop_by_hand("node2")
        (data(pair, "node2") / "standby.signal").unlink()
        pair.start_by_hand("node2")
        wait_until(lambda: ("several_writable", "") in raised(), "two accept writes", SOON)
        wait_until(lambda: raised() == [("several_writable", "")], "and nothing else is told", SOON + 20)


def test_a_promotion_by_hand_while_the_primary_is_dead_is_told(pair: Stage) -> None:
    with watching(Rounds(INTERVAL)):
        all_well()
        pair.kill("node1")
        wait_until(lambda: raised() == [("primary_down", "node1")], "the primary is down", SOON)
        pair.by_superuser("node2", "SELECT pg_promote()")
        wait_until(lambda: ("role_differs", "node2") in raised(), "somebody has promoted", SOON)
        wait_until_quiet(6 * INTERVAL)
        assert raised() == [("primary_down", "node1"), ("role_differs", "node2")]
