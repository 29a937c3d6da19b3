"""The broker is a doorbell: a message that comes a hundred times, never, or to a dead Redis gives the same result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings
from redis import Redis

from tasks import delivery, nudge
from tasks.kinds import Status
from tasks.models import Job
from tests.faults.harness import Worker, assert_sound, drive, lease_end, run_once, texts
from tests.faults.toy import diary
from tests.live import Valkey

pytestmark = pytest.mark.django_db(transaction=True)


def it_runs_once_when_its_message_comes_a_hundred_times_at_once(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = toy()
    workers = [Worker(job, deliveries=10).start() for _ in range(10)]
    assert sorted(worker.end() for worker in workers) == [0] + [3] * 9
    assert_sound(job)
    assert job.status == Status.DONE
    assert len(diary(tmp_path)) == len(set(diary(tmp_path))) == 10
    assert texts(job).count("Make one") == 1
    assert list(job.steps.values_list("attempts", flat=True)) == [1, 1, 1, 1, 0, 1, 1]


def it_is_not_run_again_by_a_message_that_comes_after_its_end(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = drive(toy())
    before = (texts(job), diary(tmp_path))
    assert run_once(job) == 3
    assert (texts(job), diary(tmp_path)) == before


class TestBroker:
    """With a real broker, which is then killed and emptied."""

    @pytest.fixture
    def valkey(self) -> Iterator[Valkey]:
        with Valkey() as valkey:
            url = valkey.url.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")
            app = delivery.current_app
            before = app.conf.broker_url
            app.conf.broker_url = url
            with override_settings(REDIS_URL=valkey.url):
                nudge.bell.cache_clear()
                yield valkey
            nudge.bell.cache_clear()
            app.conf.broker_url = before

    def it_sends_the_number_and_nothing_else(self, valkey: Valkey, toy: Callable[..., Job]) -> None:
        job = toy()
        assert delivery.enqueue(job.pk)
        message = Redis.from_url(valkey.url).lindex("celery", 0)
        assert isinstance(message, bytes)
        assert Redis.from_url(valkey.url).llen("celery") == 1
        job.refresh_from_db()
        assert job.sent_at is not None
        assert job.params["directory"].encode() not in message

    def it_sends_again_what_a_dead_broker_did_not_take(self, valkey: Valkey, toy: Callable[..., Job]) -> None:
        job = toy()
        valkey.stop(9)
        assert not delivery.enqueue(job.pk)
        assert delivery.sweep() == 0
        job.refresh_from_db()
        assert job.sent_at is None
        valkey.start()  # it comes back empty
        assert delivery.sweep() == 1
        assert delivery.sweep() == 0  # sent a moment ago
        assert Redis.from_url(valkey.url).llen("celery") == 1

    def it_finds_a_dead_broker_dead_at_once(self, valkey: Valkey, toy: Callable[..., Job]) -> None:
        job = toy()
        assert delivery.enqueue(job.pk)  # everything is loaded
        valkey.stop(9)
        began = time.monotonic()
        assert not delivery.enqueue(job.pk)
        assert time.monotonic() - began < 2

    def it_loses_nothing_when_redis_is_killed_and_emptied_in_mid_job(self, valkey: Valkey, toy: Callable[..., Job], tmp_path: Path) -> None:
        job = toy()
        env = {"REDIS_URL": valkey.url}
        assert run_once(job, "two:inside", env=env, settings=env) == -9
        valkey.stop(9)
        lease_end(job)
        assert delivery.sweep() == 0
        assert run_once(job, "three:after", env=env, settings=env) == -9
        valkey.start()
        lease_end(job)
        assert delivery.sweep() == 1
        job = drive(job, env=env, settings=env)
        assert_sound(job)
        assert job.status == Status.DONE
        assert len(diary(tmp_path)) == len(set(diary(tmp_path))) == 10


def it_sends_again_what_a_dead_worker_left_but_not_what_one_works_on(toy: Callable[..., Job]) -> None:
    working, left, new = toy(), toy(), toy()
    for job in (working, left):
        Job.objects.filter(pk=job.pk).update(sent_at=job.created_at)
        run_once(job, "one:inside")
    lease_end(left)
    assert list(delivery.waiting().values_list("pk", flat=True)) == [left.pk, new.pk]
    assert settings.JOB_LEASE_SECONDS == 30.0
