"""The same through a real Celery worker and a real broker."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from tasks import delivery, nudge
from tasks.kinds import Status
from tasks.models import Job
from tests.faults.harness import assert_sound
from tests.faults.toy import diary
from tests.live import Process, Valkey, database_url
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class CeleryWorker(Process):
    """A worker as `up` runs it, with short leases."""

    def __init__(self, redis_url: str) -> None:
        argv = [sys.executable, "-m", "celery", "-A", "tests.faults.celery_app", "worker", "--concurrency", "2", "--loglevel", "WARNING"]
        argv += ["--without-gossip", "--without-mingle"]
        super().__init__(argv, {"DATABASE_URL": database_url(), "REDIS_URL": redis_url, "PGREPLICA_LEASE_SECONDS": "1.5"})

    def ready(self) -> bool:
        return True  # its first sweep tells


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    app = delivery.current_app
    before = app.conf.broker_url
    with Valkey() as valkey, override_settings(REDIS_URL=valkey.url):
        app.conf.broker_url = valkey.url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
        nudge.bell.cache_clear()
        yield valkey
    app.conf.broker_url = before
    nudge.bell.cache_clear()


def it_finds_at_its_start_what_was_never_sent_and_finishes_what_a_killed_child_left(
    toy: Callable[..., Job], tmp_path: Path, valkey: Valkey
) -> None:
    job = toy(fail="two", how="wait")
    with CeleryWorker(valkey.url):
        wait_until(lambda: job.steps.filter(name="two", state__waiting=True).exists(), "a worker has the job")
        child = job.steps.get(name="two").state["worker"]
        assert Job.objects.values_list("worker", flat=True).get(pk=job.pk).endswith(f":{child}")
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: list(delivery.waiting()) == [job], "its lease has run out")
        (tmp_path / "gate").touch()
        for _ in range(100):
            delivery.enqueue(job.pk)
        wait_until(lambda: Job.objects.filter(pk=job.pk, status=Status.DONE).exists(), "another child has finished it")
    assert_sound(job)
    assert len(diary(tmp_path)) == len(set(diary(tmp_path))) == 10
    assert list(job.steps.values_list("attempts", flat=True)) == [1, 1, 2, 1, 0, 1, 1]
