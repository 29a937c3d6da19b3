"""A job from its request to its end, in one worker that nothing happens to. (What happens to workers: tests/faults.)"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from tenacity import wait_none

from clusters.hosts.errors import HostError, LockBusy, MachineUnreachable, OutcomeUnknown, TokenRefused, VerbFailed
from pgreplica_admin.keys import encryption_keys_ensure
from tasks import patience
from tasks.kinds import Status, StepStatus
from tasks.models import AuditEntry, Job
from tasks.runner import run
from tests.faults import toy as toys
from tests.faults.harness import assert_sound, texts
from tests.faults.toy import diary, left

pytestmark = pytest.mark.django_db(transaction=True)

ToyMaker = Callable[..., Job]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE", wait_none())


def ended(job: Job) -> tuple[str, str, str]:
    assert run(job.pk)
    assert_sound(job)
    return job.status, job.summary, job.hint


def it_does_each_step_and_says_so(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy()
    assert ended(job) == (Status.DONE, "Five is made.", "")
    assert texts(job, ["step"]) == [
        "Look at the toy",
        "The toy is there.",
        "Make one",
        "One is made.",
        "Make two",
        "Two is made.",
        "Make three",
        "Three is made.",
        "Point of no return: from here the job only finishes forward.",
        "Make four, once",
        "Four is made.",
        "Make five",
        "Five is made.",
        "Job done. Five is made.",
    ]
    assert [text for text in texts(job) if "Reason" in text or "Requested" in text] == ["Requested by olga (web)."]
    assert job.started_at is not None
    assert job.finished_at is not None
    assert all(step.started_at and step.finished_at for step in job.steps.all())


def it_is_not_to_be_had_after_its_end(toy: ToyMaker) -> None:
    job = toy()
    assert run(job.pk)
    assert not run(job.pk)
    assert not run(0)


def it_undoes_what_it_did_when_a_step_fails(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="two", how="failed")
    assert ended(job) == (Status.FAILED, "The toy broke.", "Take another toy.")
    assert job.result == {"failed_step": "two"}
    assert left(tmp_path) == []
    assert texts(job, ["error"]) == ["The toy broke. Take another toy.", "Job failed. The toy broke. Take another toy."]
    failed = job.steps.get(name="two")
    assert (failed.status, failed.sentence, failed.hint) == (StepStatus.UNDONE, "The toy broke.", "Take another toy.")


def it_shows_a_person_the_class_of_an_unexpected_error_and_the_server_log_all_of_it(
    toy: ToyMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = toy(fail="one", how="unexpected")
    expected = "Unexpected error (ZeroDivisionError) in “Make one”."
    assert ended(job) == (Status.FAILED, expected, f"The details are in the worker's log, at job #{job.pk}.")
    assert left(tmp_path) == []
    assert "a detail that nobody expected" in caplog.text
    assert not any("detail that nobody" in text for text in texts(job))


def it_refuses_with_obstacles_when_nothing_was_changed(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="looked", how="refused")
    assert ended(job) == (Status.REFUSED, "The disk is full.", "Free some space.")
    obstacle = {"name": "full", "severity": "blocks", "sentence": "The disk is full.", "value": 1, "threshold": 2}
    assert job.result == {"obstacles": [{**obstacle, "cure": "Free some space."}], "failed_step": "looked"}
    assert diary(tmp_path) == []


def it_undoes_what_was_changed_before_an_obstacle_was_found(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="two", how="refused")
    assert ended(job) == (Status.FAILED, "The disk is full.", "Free some space.")
    assert [obstacle["name"] for obstacle in job.result["obstacles"]] == ["full"]
    assert left(tmp_path) == []


@pytest.mark.parametrize("how", ["failed", "refused", "unexpected"])
def it_asks_a_person_when_a_step_fails_after_the_point_of_no_return(toy: ToyMaker, tmp_path: Path, how: str) -> None:
    job = toy(fail="five", how=how)
    assert ended(job)[0] == Status.NEEDS_OPERATOR
    assert job.hint.endswith("Then resume the job: it goes on at this step.")
    assert len(left(tmp_path)) == 10


def it_asks_a_person_when_the_step_says_so(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="two", how="operator")
    assert ended(job) == (Status.NEEDS_OPERATOR, "The toy is odd.", "Look at it.")
    assert left(tmp_path) == ["one.a", "one.b", "two.a", "two.b"]
    assert not AuditEntry.objects.filter(job_id=job.pk, phase="closed").exists()


def it_asks_a_person_when_an_undo_fails(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="two", how="undo")
    what = "“Make two” could not be undone: The undo of the toy broke."
    assert ended(job) == (Status.NEEDS_OPERATOR, what, "Mend it. Then cancel the job to undo the rest, or resume it to go forward.")
    assert left(tmp_path) == ["one.a", "one.b"]


def it_looks_again_when_the_outcome_is_unknown(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="two", how="unknown")
    assert ended(job)[0] == Status.DONE
    assert texts(job, ["warning"]) == ["The connection was lost. Looking again in 0 s."]
    assert len(diary(tmp_path)) == 10


def it_looks_at_what_a_once_step_did_before_it_tries_again(toy: ToyMaker, tmp_path: Path) -> None:
    job = toy(fail="four", how="unknown")
    assert ended(job)[0] == Status.DONE
    assert job.steps.get(name="four").sentence == "Four was made before."
    assert len(diary(tmp_path)) == 10


SILENCE = [MachineUnreachable("It is off.", "Switch it on."), LockBusy("pg_ctl"), OutcomeUnknown("Cut off.", "Look.")]


@pytest.mark.parametrize("error", SILENCE)
def it_gives_up_on_a_machine_that_stays_silent(toy: ToyMaker, monkeypatch: pytest.MonkeyPatch, error: HostError) -> None:
    def silent(context: object, name: str) -> str:
        raise error

    monkeypatch.setattr(toys, "_make", silent)
    job = toy()
    assert ended(job) == (Status.FAILED, error.what, error.hint)
    assert len(texts(job, ["warning"])) == patience.TRIES - 1


def it_fails_with_the_sentence_of_a_machine_that_says_no(toy: ToyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(context: object, name: str) -> str:
        raise VerbFailed("The disk is full.", "Free some space.")

    monkeypatch.setattr(toys, "_make", full)
    assert ended(toy()) == (Status.FAILED, "The disk is full.", "Free some space.")


def it_stops_without_a_trace_when_a_machine_knows_a_newer_worker(toy: ToyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(context: object, name: str) -> str:
        raise TokenRefused(1, "2")

    monkeypatch.setattr(toys, "_make", refused)
    job = toy()
    assert run(job.pk)
    job.refresh_from_db()
    assert job.status == Status.RUNNING
    assert job.steps.get(name="one").status == StepStatus.RUNNING


def it_stops_and_waits_for_the_database_when_a_step_cannot_reach_it(
    toy: ToyMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cut_off(context: object, name: str) -> str:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(toys, "_make", cut_off)
    job = toy()
    with caplog.at_level(logging.WARNING):
        assert run(job.pk)
    job.refresh_from_db()
    assert job.status == Status.RUNNING
    assert "the panel's database does not answer" in caplog.text


def it_hides_every_secret_of_its_cluster(toy: ToyMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    job = toy()
    secrets = [getattr(job.cluster, f"{name}_password").reveal() for name in ("superuser", "owner", "replication", "panel")]

    def loud(context: toys.Context, name: str) -> str:
        for secret in secrets:
            context.say(secret)
            context.output(f"password={secret}".encode())
        context.warn("x" * 8150 + secrets[0])
        raise RuntimeError(secrets[0])

    monkeypatch.setattr(toys, "_make", loud)
    assert ended(job)[0] == Status.FAILED
    stored = "\n".join(texts(job)) + job.summary + job.hint + "".join(step.sentence + step.hint for step in job.steps.all()) + caplog.text
    assert not [secret for secret in secrets if secret in stored]
    assert "RuntimeError" in caplog.text


def it_makes_its_steps_anew_when_the_panel_was_upgraded_before_it_began(toy: ToyMaker) -> None:
    job = toy()
    job.steps.filter(name="two").update(name="two_of_old")
    assert ended(job)[0] == Status.DONE


def it_asks_a_person_when_the_panel_was_upgraded_in_mid_job(toy: ToyMaker) -> None:
    job = toy()
    job.steps.filter(name="looked").update(status=StepStatus.DONE)
    job.steps.filter(name="two").update(name="two_of_old")
    status, summary, _ = ended(job)
    assert (status, summary) == (
        Status.NEEDS_OPERATOR,
        "This job was begun by another version of the panel, whose steps differ from this one's.",
    )


def it_does_not_audit_a_job_that_changes_nothing(toy: ToyMaker) -> None:
    job = toy("toy_reading")
    assert ended(job)[0] == Status.DONE
    assert not AuditEntry.objects.exists()


def it_asks_a_person_when_no_key_opens_the_secrets_of_the_cluster(toy: ToyMaker, settings: Any, tmp_path: Path) -> None:
    job = toy()
    settings.ENCRYPTION_KEY_FILE = encryption_keys_ensure(tmp_path / "other.keys")
    assert run(job.pk)
    job = Job.objects.only("status", "summary", "hint").get(pk=job.pk)
    assert job.status == Status.NEEDS_OPERATOR
    assert job.summary.startswith("A stored secret cannot be decrypted")
    assert "restart the panel" in job.hint
