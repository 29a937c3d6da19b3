"""What goes wrong in the middle of a switchover (safety.md section 2, by its numbers), on real PostgreSQL with applications writing.

The worker is frozen at a chosen place, the fault is made, and it goes on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from django.db import connections

from clusters.models import Instance
from tasks.kinds import Status
from tasks.models import AuditEntry, Job
from tasks.refusals import Busy
from tasks.services import job_cancel, job_request
from tests.faults.harness import Worker, assert_sound, drive, frozen_at, lease_end, run_once, texts
from tests.rounds import rounds
from tests.stage import OPERATOR, Stage, stage
from tests.waiting import wait_until
from tests.writers import Writers

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def writers(stage: Stage) -> Iterator[Writers]:
    stage.create()
    stage.standby(name="node2")
    with Writers(stage.dsn("orders"), count=2) as running:
        yield running


def request_switchover(**more: object) -> Job:
    data = {"cluster": "orders", "to": "node2", "confirm": "orders", "reason": "test", **more}
    return job_request(kind="switchover", actor=OPERATOR, data=data)


def wal_receiver(stage: Stage, name: str) -> psutil.Process:
    pid = int((stage.base / f"orders/{name}/volumes/postgres/data/postmaster.pid").read_text().split()[0])

    def found() -> psutil.Process | None:
        return next((child for child in psutil.Process(pid).children() if "walreceiver" in " ".join(child.cmdline())), None)

    return wait_until(found, f"{name} receives")


def assert_untouched(stage: Stage, writers: Writers) -> None:
    """The old primary accepts writes again, and nothing is lost."""
    writers.go_on()
    assert writers.lost() == set()
    assert stage.writable() == ["node1"]
    assert Instance.objects.get(role="primary").name == "node1"
    assert not (stage.base / "orders/node1/state/fenced").exists()


def test_16_a_frozen_wal_receiver_makes_the_switchover_give_up(stage: Stage, writers: Writers) -> None:
    frozen: list[psutil.Process] = []

    def freeze() -> None:
        frozen.append(wal_receiver(stage, "node2"))
        frozen[0].suspend()

    job = frozen_at(request_switchover(stop_seconds=5), "primary_fenced:after", freeze)
    frozen[0].resume()
    assert job.status == Status.FAILED, texts(job)
    assert "had not stopped after 5 s" in job.summary
    assert_untouched(stage, writers)


def test_17_a_primary_whose_data_is_gone_before_the_proof_is_a_question_for_a_person(stage: Stage, writers: Writers) -> None:
    job = request_switchover()
    assert run_once(job, "primary_stopped:after") == -signal.SIGKILL
    lease_end(job)
    data = stage.base / "orders/node1/volumes/postgres/data"
    data.rename(data.with_name("lost"))
    job = drive(job)
    assert_sound(job)
    assert job.status == Status.NEEDS_OPERATOR, texts(job)
    assert stage.writable() == []  # nobody was promoted without the proof
    data.with_name("lost").rename(data)
    job_cancel(job=job, actor=OPERATOR)
    job = drive(job)
    assert job.status == Status.CANCELED, texts(job)
    assert_untouched(stage, writers)


def test_17_a_primary_whose_data_is_gone_after_the_proof_is_succeeded(stage: Stage, writers: Writers) -> None:
    data = stage.base / "orders/node1/volumes/postgres/data"
    job = frozen_at(request_switchover(), "candidate_promoted:before", lambda: data.rename(data.with_name("lost")))
    assert job.status == Status.DONE, texts(job)
    writers.go_on()
    assert writers.lost() == set()
    assert stage.writable() == ["node2"]
    assert Instance.objects.get(name="node1").quarantined_at is not None


def test_18_a_candidate_that_dies_before_the_promotion_leaves_the_old_primary(stage: Stage, writers: Writers) -> None:
    job = frozen_at(request_switchover(), "primary_fenced:after", lambda: stage.kill("node2"))
    assert job.status in (Status.FAILED, Status.NEEDS_OPERATOR), texts(job)
    assert_untouched(stage, writers)


def test_19_a_candidate_that_dies_after_the_promotion_is_the_primary_all_the_same(stage: Stage, writers: Writers) -> None:
    job = frozen_at(request_switchover(), "roles_recorded:after", lambda: stage.kill("node2"))
    assert job.status == Status.NEEDS_OPERATOR, texts(job)
    assert job.hint
    assert Instance.objects.get(role="primary").name == "node2"
    assert stage.writable() == []  # the old primary is never brought back on its own


def test_12_an_unknown_outcome_of_the_stop_is_looked_at_again(stage: Stage, writers: Writers) -> None:
    """The shell that stops the primary is killed while it waits: the worker looks, and goes on from what it sees."""
    job = request_switchover()
    worker = Worker(job, "primary_fenced:after:STOP", settings={"JOB_LEASE_SECONDS": 120}).start()
    wait_until(worker.stopped, "the worker is frozen")
    receiver = wal_receiver(stage, "node2")
    receiver.suspend()  # so that the stop takes its time
    worker.send(signal.SIGCONT)
    shell = wait_until(lambda: _stopping_shell(stage), "the stop is under way")
    os.killpg(os.getpgid(shell), signal.SIGKILL)
    receiver.resume()
    worker.end(180)
    job.refresh_from_db()
    assert_sound(job)
    assert job.status == Status.DONE, texts(job)
    writers.go_on()
    assert writers.lost() == set()
    assert stage.writable() == ["node2"]


def _stopping_shell(stage: Stage) -> int | None:
    wanted = str(stage.base / "orders/node1/volumes/postgres/data")
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[:2] == ["sh", "-c"] and len(words) > 3 and "pg_controldata" in words[2] and wanted in words:
            return int(process.pid)
    return None


def test_27_of_fifty_operators_at_once_one_gets_the_cluster_each_time(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    for _round in range(rounds(3, 20)):
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(_ask, range(50)))
        jobs = [answer for answer in answers if isinstance(answer, Job)]
        told = [answer for answer in answers if isinstance(answer, Busy)]
        assert len(jobs) == 1
        assert len(told) == 49
        assert {busy.job.pk for busy in told} == {jobs[0].pk}
        job_cancel(job=jobs[0], actor=OPERATOR)


def _ask(number: int) -> Job | Busy:
    kind = "failover" if number % 2 else "switchover"
    data = {"cluster": "orders", "to": "node2", "confirm": "orders", "reason": f"operator {number}"}
    try:
        return job_request(kind=kind, actor=OPERATOR, data=data)
    except Busy as busy:
        return busy
    finally:
        connections.close_all()


def test_28_a_standby_promoted_by_hand_is_seen_and_no_switchover_is_made(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.by_superuser("node2", "SELECT pg_promote()")
    verified = stage.run("verify", cluster="orders")
    assert any("both accept writes" in line for line in texts(verified)), texts(verified)
    job = stage.run("switchover", cluster="orders", to="node2", confirm="orders", reason="test")
    assert job.status == Status.REFUSED
    assert Path(stage.base / "orders/node1/volumes/postgres/data/postmaster.pid").exists()


def test_a_hung_primary_is_ended_before_anybody_is_promoted(stage: Stage, writers: Writers) -> None:
    """The server heeds nothing any more, its sessions neither: they must not acknowledge anything once somebody else is promoted."""
    pid = int((stage.base / "orders/node1/volumes/postgres/data/postmaster.pid").read_text().split()[0])
    server = psutil.Process(pid)
    hung = [server, *server.children(recursive=True)]
    for process in hung:
        process.suspend()
    # The standby has heard of it a moment ago, so it must be said that it is given up all the same.
    flags = ["possible_data_loss", "primary_seen_alive"]
    job = stage.run("failover", cluster="orders", to="node2", confirm="orders", reason="test", flags=flags)
    assert job.status == Status.DONE, texts(job)
    wait_until(lambda: not any(process.is_running() for process in hung), "its processes are gone")
    assert job.result["fence"] == "stopped"
    writers.go_on()
    assert len(writers.lost()) <= job.result["loss_bound"]["commits"]
    assert stage.writable() == ["node2"]


def test_24_an_old_primary_that_is_started_again_does_not_accept_writes(stage: Stage, writers: Writers) -> None:
    """By hand, with the panel's mark and standby.signal deleted: the next look stops it, says so, and puts it on record."""
    stage.kill("node1")
    stage.done("failover", cluster="orders", confirm="orders", reason="test", flags=["possible_data_loss"])
    stage.start_by_hand("node1")
    assert stage.writable() == ["node2"]  # standby.signal keeps it read-only
    stage.stop_by_hand("node1")
    (stage.base / "orders/node1/volumes/postgres/data/standby.signal").unlink()
    (stage.base / "orders/node1/state/fenced").unlink()
    stage.start_by_hand("node1")
    assert stage.writable() == ["node1", "node2"]
    verified = stage.run("verify", cluster="orders")
    assert verified.result["stopped_in_quarantine"] == ["node1"]
    assert stage.writable() == ["node2"]
    entry = AuditEntry.objects.get(action="quarantine_stop")
    assert entry.details == {"instance": "node1", "accepted_writes": True}
    (stage.base / "orders/node1/state/fenced").unlink()  # as if its server had been out of reach of the failover
    stage.done("verify", cluster="orders")
    assert "in quarantine" in (stage.base / "orders/node1/state/fenced").read_text()
