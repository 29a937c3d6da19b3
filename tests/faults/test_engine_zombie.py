"""A worker that was frozen for longer than its lease finds, when it wakes, that it may neither write nor act."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from pgreplica_admin.database import connection_options
from tasks.kinds import Status
from tasks.models import Job
from tests.faults.harness import Worker, assert_sound, drive, texts
from tests.faults.toy import diary
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SHORT = {"JOB_LEASE_SECONDS": 0.6}


def _free(job: Job) -> bool:
    """Whether the lease has run out by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT lease_until < now() FROM tasks_job WHERE id = %s", [job.pk])
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("place", ["one:before", "one:inside", "two:after", "three:inside", "four:before", "five:after"])
def it_refuses_everything_late_of_a_worker_that_wakes_after_its_lease(
    toy: Callable[..., Job], tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    job = toy()
    zombie = Worker(job, f"{place}:STOP", settings=SHORT).start()
    request.addfinalizer(zombie.kill)  # nothing waits at the end for a process that is frozen
    wait_until(zombie.stopped, "the worker is frozen")
    wait_until(lambda: _free(job), "its lease has run out")
    job = drive(job)
    before = (diary(tmp_path), texts(job), list(job.steps.order_by("position").values()), Job.objects.filter(pk=job.pk).values().get())
    zombie.send(signal.SIGCONT)
    assert zombie.end() == 0
    job.refresh_from_db()
    after = (diary(tmp_path), texts(job), list(job.steps.order_by("position").values()), Job.objects.filter(pk=job.pk).values().get())
    assert after == before
    assert_sound(job)
    assert job.status == Status.DONE
    assert len(diary(tmp_path)) == len(set(diary(tmp_path))) == 10


def it_takes_the_job_though_a_frozen_worker_has_left_its_row_locked(toy: Callable[..., Job]) -> None:
    job = toy()
    panel = {name: connection.get_connection_params()[name] for name in ("host", "port", "user", "password", "dbname")}
    with psycopg.connect(**panel, options=connection_options("", SHORT["JOB_LEASE_SECONDS"])) as frozen:
        frozen.execute("SELECT 1 FROM tasks_job WHERE id = %s FOR UPDATE", [job.pk])
        assert drive(job).status == Status.DONE
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            frozen.execute("SELECT 1")


def it_keeps_its_lease_while_it_works_for_longer_than_one(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = toy(fail="two", how="wait")
    worker = Worker(job, settings=SHORT).start()
    wait_until(lambda: job.steps.filter(name="two", state__waiting=True).exists(), "two waits")
    first = Job.objects.values_list("lease_until", flat=True).get(pk=job.pk)
    end = time.monotonic() + 3 * 0.6
    while time.monotonic() < end:
        assert Worker(job).start().end() == 3
        assert not _free(job)
    renewed = Job.objects.values_list("lease_until", flat=True).get(pk=job.pk)
    assert first is not None
    assert renewed is not None
    assert (renewed - first).total_seconds() > 0.6
    (tmp_path / "gate").touch()
    assert worker.end() == 0
    assert_sound(job)
    assert job.status == Status.DONE


def it_goes_on_when_the_database_cuts_its_connections(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = toy(fail="two", how="wait")
    ours = _sessions()
    worker = Worker(job).start()
    wait_until(lambda: job.steps.filter(name="two", state__waiting=True).exists(), "two waits")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(pg_terminate_backend(pid)) FROM unnest(%s) AS pid", [list(_sessions() - ours)])
        assert cursor.fetchone()[0] >= 1
    (tmp_path / "gate").touch()
    assert worker.end() == 0
    job = drive(job) if Job.objects.filter(pk=job.pk, status=Status.RUNNING).exists() else job
    assert_sound(job)
    assert job.status == Status.DONE
    assert len(diary(tmp_path)) == len(set(diary(tmp_path))) == 10


def _sessions() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return {pid for (pid,) in cursor.fetchall()}
