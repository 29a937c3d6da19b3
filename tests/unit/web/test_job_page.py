"""The page of one job, and what can be decided on it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from django.test import Client

from tasks.kinds import ACTIVE, CANCELABLE, RESUMABLE, Status
from tasks.models import Job
from tests.factories import EventFactory, JobFactory, StepFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, post, queries_of, text_of

pytestmark = pytest.mark.django_db
HOSTILE = "<img src=x onerror=alert(1)>{{ 7*7 }}"


def job_with_steps(status: Status = Status.RUNNING, **fields: object) -> Job:
    job = JobFactory(kind="add_standby", status=status, cluster=cluster_with_standbys("orders"), **fields)
    StepFactory(job=job, position=1, title="Look around", status="done", sentence="All is there.")
    StepFactory(job=job, position=2, title="Copy the data", status="running" if status in ACTIVE else "failed", hint="Free some space.")
    StepFactory(job=job, position=3, title="See it stream")
    return job


def offered(page: str) -> set[str]:
    """The dialogs whose buttons the page shows."""
    return {name for name, rest in re.findall(r'data-dialog="(\w[\w-]*)-dialog"([^>]*)>', page) if " hidden" not in rest}


def it_shows_who_asked_why_and_each_step(get: Get) -> None:
    job = job_with_steps(reason="Reports are slow")
    words = text_of(get("vera", f"/jobs/{job.pk}/"))
    for part in (
        "Asked for by olga (web)",
        "Reason: Reports are slow",
        "Look around done",
        "All is there.",
        "Copy the data running",
        "Free some space.",
    ):
        assert part in words


def it_gives_the_live_page_what_it_needs(get: Get) -> None:
    job = job_with_steps()
    page = get("vera", f"/jobs/{job.pk}/")
    assert f'data-stream-url="/jobs/{job.pk}/stream" data-events-url="/jobs/{job.pk}/events"' in page
    assert re.findall(r'<li data-step="(\d*)" data-status="(\w+)"', page) == [
        ("1", "done"),
        ("2", "running"),
        ("3", "pending"),
        ("", "pending"),
    ]
    words = json.loads(re.search(r'<script id="job-words" type="application/json">(.*?)</script>', page)[1])
    assert words["status"]["needs_operator"] == "needs an operator"


def it_is_not_read_out_line_by_line(get: Get) -> None:
    page = get("vera", f"/jobs/{job_with_steps().pk}/")
    assert re.search(r'id="job-log"[^>]*aria-live="off"', page)
    assert re.search(r'class="pg-state-line" role="status"', page)


def it_puts_outcome_hint_and_obstacles_first_when_it_was_refused(get: Get) -> None:
    obstacle = {
        "name": "space",
        "severity": "blocks",
        "sentence": "Too little space.",
        "value": "3 GB",
        "threshold": "5 GB",
        "cure": "Free 2 GB.",
    }
    job = job_with_steps(Status.REFUSED, summary="Refused: 1 obstacle.", hint="Remove it.", result={"obstacles": [obstacle]})
    words = text_of(get("vera", f"/jobs/{job.pk}/"))
    assert "refused Refused: 1 obstacle. Remove it." in words
    assert words.index("Too little space. Found: 3 GB · wanted: 5 GB Free 2 GB.") < words.index("Look around")


@pytest.mark.parametrize("status", list(Status))
def it_offers_the_decisions_that_fit_the_status(get: Get, status: Status) -> None:
    page = get("olga", f"/jobs/{job_with_steps(status).pk}/")
    wanted = {"cancel"} if status in CANCELABLE else set()
    wanted |= {"resume"} if status in RESUMABLE else set()
    wanted |= {"give-up"} if status == Status.NEEDS_OPERATOR else set()
    assert offered(page) == wanted


def it_gives_a_viewer_the_reason_and_no_button(signed_in: Callable[[str], Client]) -> None:
    job = job_with_steps()
    client = signed_in("vera")
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "data-dialog" not in page
    assert "tasks.run_add_standby" in text_of(page)
    for act in ("cancel", "resume"):
        assert post(client, f"/jobs/{job.pk}/{act}/").status_code == 403
    job.refresh_from_db()
    assert (job.status, job.cancel_requested_at) == (Status.RUNNING, None)


def it_cancels(signed_in: Callable[[str], Client]) -> None:
    job = job_with_steps()
    response = post(signed_in("olga"), f"/jobs/{job.pk}/cancel/", {"reason": "Wrong server"})
    assert response["Location"] == f"/jobs/{job.pk}/"
    job.refresh_from_db()
    assert (job.cancel_requested_by_name, job.cancel_requested_at is not None) == ("olga", True)
    assert "olga asked to cancel" in text_of(signed_in("vera").get(f"/jobs/{job.pk}/").content.decode())


def it_resumes(signed_in: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch) -> None:
    job = JobFactory(kind="verify", status=Status.FAILED, cluster=cluster_with_standbys("orders"))
    post(signed_in("olga"), f"/jobs/{job.pk}/resume/")
    job.refresh_from_db()
    assert job.status == Status.QUEUED


def it_says_why_a_decision_was_refused(signed_in: Callable[[str], Client]) -> None:
    job = JobFactory(kind="verify", status=Status.DONE, cluster=cluster_with_standbys("orders"))
    page = post(signed_in("olga"), f"/jobs/{job.pk}/cancel/", follow=True).content.decode()
    assert f"Job #{job.pk} is done: there is nothing to cancel." in text_of(page) or "there is nothing to cancel" in page


def it_gives_up_only_with_a_reason(signed_in: Callable[[str], Client]) -> None:
    job = job_with_steps(Status.NEEDS_OPERATOR)
    post(signed_in("olga"), f"/jobs/{job.pk}/cancel/", {"give_up": "1"})
    job.refresh_from_db()
    assert job.status == Status.NEEDS_OPERATOR
    post(signed_in("olga"), f"/jobs/{job.pk}/cancel/", {"give_up": "1", "reason": "Done by hand"})
    job.refresh_from_db()
    assert job.status == Status.FAILED


def it_shows_the_plan_on_its_tab(get: Get) -> None:
    plan = [{"step": "copy", "title": "Copy the data", "items": [{"type": "command", "server": "beta", "text": "pg_basebackup --help"}]}]
    job = job_with_steps(plan=plan, plan_hash="ab" * 32)
    page = get("vera", f"/jobs/{job.pk}/?view=plan")
    assert "pg_basebackup --help" in page
    assert "ab" * 32 in page
    assert 'id="job-log"' not in page


def it_writes_hostile_text_as_text(get: Get) -> None:
    plan = [
        {
            "step": "x",
            "title": HOSTILE,
            "items": [
                {"type": "sql", "server": HOSTILE, "text": HOSTILE},
                {"type": "file", "server": "a", "path": HOSTILE, "diff": HOSTILE},
            ],
        }
    ]
    job = job_with_steps(Status.FAILED, summary=HOSTILE, hint=HOSTILE, reason=HOSTILE, plan=plan, requested_by_name=HOSTILE)
    job.steps.filter(position=1).update(title=HOSTILE, sentence=HOSTILE, hint=HOSTILE)
    for address in (f"/jobs/{job.pk}/", f"/jobs/{job.pk}/?view=plan", "/admin/tasks/job/", "/clusters/orders/"):
        page = get("olga", address)
        assert "<img src=x" not in page
        assert "}49" not in page


def it_asks_the_database_the_same_number_of_questions_for_40_steps_and_2000_lines(signed_in: Callable[[str], Client]) -> None:
    client = signed_in("olga")
    small, big = JobFactory(), JobFactory(kind="add_standby", status=Status.RUNNING)
    StepFactory(job=small)
    for position in range(1, 41):
        StepFactory(job=big, position=position)
    for seq in range(1, 201):
        EventFactory(job=big, seq=seq)
    assert len(queries_of(client, f"/jobs/{big.pk}/")) == len(queries_of(client, f"/jobs/{small.pk}/")) <= 14


def it_still_tells_its_story_when_the_cluster_is_gone(get: Get) -> None:
    job = JobFactory(kind="remove_cluster", cluster=None, cluster_name="orders", instance_name="node1", summary="It was removed.")
    assert "Remove cluster : orders /node1" in text_of(get("vera", f"/jobs/{job.pk}/")).replace(
        ": orders/node1", ": orders /node1"
    ).replace("cluster:", "cluster :")


@pytest.mark.parametrize("act", ["cancel", "resume"])
def it_changes_nothing_by_looking(signed_in: Callable[[str], Client], act: str) -> None:
    assert signed_in("olga").get(f"/jobs/{job_with_steps().pk}/{act}/").status_code == 405
