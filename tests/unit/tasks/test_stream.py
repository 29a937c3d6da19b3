"""Who may read a job's log, from which line, and what the answers are. The test client, the real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.urls import reverse

from tasks import feeds
from tasks.models import Job, JobEvent, JobStep
from tasks.stream import StillAllowed, _session_check
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 23, 3, 35, 40, tzinfo=UTC)


@pytest.fixture
def job() -> Job:
    """A job that has ended, with three lines."""
    job = Job.objects.create(
        kind="verify", status="done", mutating=False, requested_by_name="olga", source="web", last_event=3, summary="It is."
    )
    JobStep.objects.create(job=job, position=1, name="look", title="Look", status="done", progress={"done": 1, "total": 1})
    JobEvent.objects.bulk_create(JobEvent(job=job, seq=seq, step=1, level="info", text=f"line {seq}", at=AT) for seq in (1, 2, 3))
    return job


@pytest.fixture(autouse=True)
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reader threads would not see the rows of this test's transaction."""
    monkeypatch.setattr(feeds, "read", lambda function, *args: sync_to_async(function)(*args))


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(UserFactory(permissions=["tasks.view_job"]))
    return client


def paths(job_id: int) -> list[str]:
    return [reverse("job-stream", args=[job_id]), reverse("job-events", args=[job_id])]


def state(job: Job) -> dict[str, Any]:
    step = {"position": 1, "name": "look", "title": "Look", "status": "done", "attempts": 0, "sentence": "", "hint": ""}
    step |= {"progress": {"done": 1, "total": 1}, "started_at": None, "finished_at": None}
    return {
        "id": job.pk,
        "kind": "verify",
        "status": "done",
        "ended": True,
        "cancel_requested": False,
        "last_event": 3,
        "log_truncated": False,
        "summary": "It is.",
        "hint": "",
        "started_at": None,
        "finished_at": None,
        "steps": [step],
    }


def line(seq: int) -> dict[str, Any]:
    return {"seq": seq, "step": 1, "level": "info", "text": f"line {seq}", "at": "2026-11-23T03:35:40+00:00"}


def stream_of(user: User, path: str, **headers: str) -> tuple[int, dict[str, str], list[str]]:
    """Status, headers and frames of a stream that ends."""

    async def answer() -> tuple[int, dict[str, str], list[str]]:
        client = AsyncClient()
        await client.aforce_login(user)
        response = await client.get(path, headers=headers)
        parts: AsyncIterator[bytes] = aiter(response)
        return response.status_code, dict(response.headers), [part.decode() async for part in parts]

    return async_to_sync(answer)()


def it_streams_the_state_the_lines_and_the_end(job: Job) -> None:
    status, headers, parts = stream_of(UserFactory(permissions=["tasks.view_job"]), paths(job.pk)[0])
    assert (status, headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-cache", "no")
    frames = "".join(parts).removesuffix("\n\n").split("\n\n")
    assert [frames[0], frames[-1]] == ["retry: 1000", 'event: done\ndata: {"last_event":3}']
    assert json.loads(frames[1].removeprefix("event: state\ndata: ")) == state(job)
    assert [frame.split("\ndata: ")[0] for frame in frames[2:-1]] == ["id: 1", "id: 2", "id: 3"]
    assert [json.loads(frame.split("\ndata: ")[1]) for frame in frames[2:-1]] == [line(1), line(2), line(3)]


@pytest.mark.parametrize(
    ("query", "header", "first"),
    [("", None, 1), ("?after=0", None, 1), ("?after=2", None, 3), ("", "1", 2), ("?after=0", "2", 3), ("?after=1", "", 2)],
)
def it_goes_on_after_the_line_that_the_client_names_and_the_header_wins(job: Job, query: str, header: str | None, first: int) -> None:
    user = UserFactory(permissions=["tasks.view_job"])
    headers = {} if header is None else {"Last-Event-ID": header}
    _, _, parts = stream_of(user, paths(job.pk)[0] + query, **headers)
    assert "".join(parts).partition("id: ")[2].partition("\n")[0] == str(first)
    client = Client()
    client.force_login(user)
    answer = client.get(paths(job.pk)[1] + query, headers=headers).json()
    assert [event["seq"] for event in answer["events"]] == list(range(first, 4))


def page(viewer: Client, job: Job, query: str) -> dict[str, Any]:
    response = viewer.get(paths(job.pk)[1] + query)
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    return response.json()


def it_answers_the_same_lines_to_those_who_poll(viewer: Client, job: Job) -> None:
    assert page(viewer, job, "?limit=2") == {"job": state(job), "events": [line(1), line(2)], "next": 2, "more": True}
    assert page(viewer, job, "?limit=2&after=2") == {"job": state(job), "events": [line(3)], "next": 3, "more": False}
    assert page(viewer, job, "?after=3") == {"job": state(job), "events": [], "next": 3, "more": False}


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "+1", " 1", "1_0", "٣", "1e3", "9" * 30, "null", "%00", "1%0A"])
def it_refuses_a_place_that_is_no_number_with_a_sentence(viewer: Client, job: Job, value: str) -> None:
    sentence = {"detail": "“after” (or Last-Event-ID) must be the number of an event: 0, 1, 2 and so on."}
    for path in paths(job.pk):
        answers = [viewer.get(f"{path}?after={value}"), viewer.get(path, headers={"Last-Event-ID": value})]
        assert [(answer.status_code, answer.json()) for answer in answers] == [(400, sentence)] * 2


def it_refuses_a_place_that_the_log_has_not_reached(viewer: Client, job: Job) -> None:
    sentence = {"detail": "The log of this job has 3 events so far, so there is no event 4. Load the page again."}
    answers = [viewer.get(path + "?after=4") for path in paths(job.pk)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(400, sentence)] * 2


@pytest.mark.parametrize("value", ["0", "1001", "-1", "many", ""])
def it_refuses_a_page_size_out_of_bounds(viewer: Client, job: Job, value: str) -> None:
    answer = viewer.get(paths(job.pk)[1] + f"?limit={value}")
    assert (answer.status_code, answer.json()) == (400, {"detail": "“limit” must be a whole number from 1 to 1000."})


@pytest.mark.parametrize("number", [0, 4_000_000_000, 10**30])
def it_says_that_there_is_no_such_job(viewer: Client, number: int) -> None:
    answers = [viewer.get(path) for path in paths(number)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, {"detail": f"There is no job {number}."})] * 2


def it_answers_401_to_strangers_and_does_not_send_them_to_the_login_page(client: Client, job: Job) -> None:
    answers = [client.get(path) for path in paths(job.pk)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(401, {"detail": "Sign in to see this job."})] * 2


def it_answers_403_without_the_permission_whether_the_job_exists_or_not(client: Client, job: Job) -> None:
    client.force_login(UserFactory(permissions=["tasks.view_auditentry"]))
    answers = [client.get(path) for path in paths(job.pk) + paths(0)]
    sentence = {"detail": "You may not see jobs. Ask an administrator for the permission “view job”."}
    assert [(answer.status_code, answer.json()) for answer in answers] == [(403, sentence)] * 4


def it_answers_403_to_another_site_that_uses_the_viewers_cookie(viewer: Client, job: Job) -> None:
    answers = [viewer.get(path, headers={"Sec-Fetch-Site": "cross-site"}) for path in paths(job.pk)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert [viewer.get(path, headers={"Sec-Fetch-Site": "same-origin"}).status_code for path in paths(job.pk)] == [200, 200]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def it_only_reads(viewer: Client, job: Job, method: str) -> None:
    assert [getattr(viewer, method)(path).status_code for path in paths(job.pk)] == [405, 405]


def it_looks_the_right_up_again(job: Job) -> None:
    """A disabled user, an ended session, a permission taken away, a changed password: each ends the stream."""

    def check_of(user: User) -> tuple[Client, StillAllowed]:
        client = Client()
        client.force_login(user)
        request = client.get(paths(job.pk)[1]).wsgi_request
        return client, _session_check(request)

    users = [UserFactory(permissions=["tasks.view_job"]) for _ in range(5)]
    clients, checks = zip(*map(check_of, users), strict=True)
    assert [check() for check in checks] == [True] * 5
    User.objects.filter(pk=users[0].pk).update(is_active=False)
    clients[1].logout()
    users[2].user_permissions.clear()
    users[3].set_password("another one")
    users[3].save()
    assert [check() for check in checks] == [False, False, False, False, True]


def it_gives_back_no_connection_that_is_inside_a_transaction(job: Job) -> None:
    feeds.give_back_connections()
    assert Job.objects.filter(pk=job.pk).exists()
