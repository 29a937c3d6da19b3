"""Kill -9 of the worker at every step, before, inside and after it: forward, backward, and again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.kinds import Status, StepStatus
from tasks.models import Job
from tasks.services import job_cancel, job_resume
from tests.faults.fixtures import OLGA
from tests.faults.harness import WHERE, Worker, assert_sound, drive, lease_end, places, run_once, texts
from tests.faults.toy import diary, left, toys
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MADE = [f"{name}.{effect}" for name in ("one", "two", "three", "four", "five") for effect in ("a", "b")]
with toys():
    FORWARD = [place for place in places("toy") if place != "looked:inside"]
    BACK = places("toy", undo=True)


@pytest.mark.parametrize("place", FORWARD)
def it_finishes_after_a_kill_and_does_nothing_twice(toy: Callable[..., Job], tmp_path: Path, place: str) -> None:
    job = toy()
    assert run_once(job, place) == -9
    lease_end(job)
    job = drive(job)
    assert_sound(job)
    if place == "four:inside":  # half of it is there: nobody can tell, so a person is asked
        assert (job.status, job.summary) == (
            Status.NEEDS_OPERATOR,
            "It cannot be told whether “Make four, once” had its effect before the worker lost sight of it. Half of four is there.",
        )
        job = drive(job_resume(job=job, actor=OLGA))
    assert (job.status, job.summary) == (Status.DONE, "Five is made.")
    assert diary(tmp_path) == [f"make {name}" for name in MADE]
    assert left(tmp_path) == sorted(MADE)


@pytest.mark.parametrize("place", BACK)
def it_goes_on_undoing_after_a_kill(toy: Callable[..., Job], tmp_path: Path, place: str) -> None:
    job = drive(toy(fail="three", how="failed"), place)
    assert_sound(job)
    assert (job.status, job.summary, job.hint) == (Status.FAILED, "The toy broke.", "Take another toy.")
    assert job.result == {"failed_step": "three"}
    assert left(tmp_path) == []
    made = [f"{name}.{effect}" for name in ("one", "two", "three") for effect in ("a", "b")]
    assert diary(tmp_path) == [f"make {name}" for name in made] + [f"remove {name}" for name in reversed(made)]
    statuses = dict(job.steps.values_list("name", "status"))
    assert {name: statuses[name] for name in ("looked", "one", "two", "three", "four")} == {
        "looked": StepStatus.DONE,  # it only looked: there is nothing to undo
        "one": StepStatus.UNDONE,
        "two": StepStatus.UNDONE,
        "three": StepStatus.UNDONE,
        "four": StepStatus.PENDING,
    }


def it_survives_a_kill_at_every_place_of_one_run(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = toy(fail="three", how="failed")
    backwards = [f"undo.{name}:{where}" for name in ("three", "two", "one") for where in WHERE]
    for place in FORWARD[: FORWARD.index("three:after")] + backwards:
        assert run_once(job, place) == -9, place
        lease_end(job)
    job = drive(job)
    assert_sound(job)
    assert (job.status, left(tmp_path)) == (Status.FAILED, [])
    assert all(line.split()[1] in MADE for line in diary(tmp_path))
    assert len(diary(tmp_path)) == len(set(diary(tmp_path))) == 12


def it_asks_a_person_where_a_once_step_has_no_proof(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = drive(toy("toy_blind"), "four:before")
    assert_sound(job)
    assert job.status == Status.NEEDS_OPERATOR
    assert job.hint == "Look at the servers. Resume the job to do this step again, or cancel it."
    assert diary(tmp_path) == ["make one.a", "make one.b"]


def it_says_from_whom_it_took_over(toy: Callable[..., Job]) -> None:
    job = drive(toy(), "two:inside")
    taken = [text for text in texts(job, ["warning"]) if text.startswith("Taken over from worker ")]
    assert len(taken) == 1
    assert taken[0].endswith(", which ended or was lost. Looking at what it had done.")
    assert "Make two (again)" in texts(job, ["step"])


def it_asks_a_person_about_a_step_that_kills_every_worker(toy: Callable[..., Job]) -> None:
    job = toy()
    for _ in range(12):
        assert run_once(job, "two:before") == -9
        lease_end(job)
    job = drive(job)
    assert_sound(job)
    assert (job.status, job.summary) == (Status.NEEDS_OPERATOR, "“Make two” was begun 12 times, and each time its worker died.")


@pytest.mark.parametrize("place", ["three:before", "undo.three:before", "undo.one:after"])
def it_rolls_back_a_cancelled_job_though_its_worker_is_killed(toy: Callable[..., Job], tmp_path: Path, place: str) -> None:
    job = toy(fail="three", how="wait")
    worker = Worker(job, place).start()
    if place == "three:before":
        assert worker.end() == -9
        job_cancel(job=job, actor=OLGA)
        lease_end(job)
    else:
        wait_until(lambda: job.steps.filter(name="three", state__waiting=True).exists(), "three waits")
        job_cancel(job=job, actor=OLGA)
        assert worker.end() == -9
        lease_end(job)
    job = drive(job)
    assert_sound(job)
    assert (job.status, job.summary, left(tmp_path)) == (Status.CANCELED, "Canceled by olga.", [])


def it_can_be_resumed_after_it_was_rolled_back_and_runs_from_the_start(toy: Callable[..., Job], tmp_path: Path) -> None:
    job = toy(fail="three", how="wait")
    worker = Worker(job).start()
    wait_until(lambda: job.steps.filter(name="three", state__waiting=True).exists(), "three waits")
    job_cancel(job=job, actor=OLGA)
    assert worker.end() == 0
    job.refresh_from_db()
    assert (job.status, left(tmp_path)) == (Status.CANCELED, [])
    (tmp_path / "gate").touch()
    job = drive(job_resume(job=job, actor=OLGA, reason="the gate is open"), "two:inside")
    assert (job.status, left(tmp_path)) == (Status.DONE, sorted(MADE))
