"""The live log on a real web process with a real Valkey: many viewers, reloads, and parts that die."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client

from tasks.models import Job, JobStep
from tasks.tokens import digest
from tests.factories import TokenFactory, UserFactory
from tests.live import Stream, Valkey, Web, Writer, aside, get, numbers, play

pytestmark = pytest.mark.django_db(transaction=True)
POOL = 4


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: Any, valkey: Valkey) -> Iterator[Web]:
    with django_db_blocker.unblock(), Web(valkey.url, PGREPLICA_DATABASE_POOL=str(POOL)) as web:
        yield web


@pytest.fixture
def job(transactional_db: None) -> Job:
    job = Job.objects.create(kind="verify", status="running", mutating=False, source="live")
    JobStep.objects.create(job=job, position=1, name="look", title="Look")
    return job


@pytest.fixture
def writer(job: Job, valkey: Valkey) -> Writer:
    return Writer(job, valkey.url)


@pytest.fixture
def user(transactional_db: None) -> User:
    return UserFactory(permissions=["tasks.view_job"])


@pytest.fixture
def cookie(user: User) -> str:
    return cookie_of(user)


def cookie_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}"


async def writing(writer: Writer, batches: int, *, of: int = 10, pause: float = 0.01) -> None:
    """`batches` batches, then the job's end."""
    for _ in range(batches):
        await aside(writer.lines, ["a line of some length, as machines print them"] * of)
        await asyncio.sleep(pause)
    await aside(writer.end)


def backends(web: Web) -> int:
    """The web process's connections to the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [web.name])
        return int(cursor.fetchone()[0])


def test_200_viewers_hold_no_connection_and_pages_are_still_served(web: Web, job: Job, writer: Writer, cookie: str) -> None:
    """The pool has 4: were a connection held per stream, the fifth viewer would wait ten seconds and fail."""

    async def opened() -> list[Stream]:
        return [await get(web.port, f"/jobs/{job.pk}/stream", cookie) for _ in range(200)]

    async def read_to_the_end(stream: Stream) -> list[int]:
        return [int(frame.id) async for frame in stream.frames() if frame.id]

    async def story() -> tuple[Any, ...]:
        streams = await opened()
        pages = [await get(web.port, f"/jobs/{job.pk}/events", cookie) for _ in range(10)]
        held = await aside(backends, web)
        seen = await asyncio.gather(writing(writer, 20), *map(read_to_the_end, streams))
        return {stream.status for stream in streams}, {page.status for page in pages}, held, seen[1:]

    [(streams, pages, held, seen)] = play(story)
    assert (streams, pages) == ({200}, {200})
    assert 1 <= held <= POOL
    assert seen == [list(range(1, 201))] * 200


def test_a_reload_and_a_second_browser_show_the_same_log(web: Web, job: Job, writer: Writer, cookie: str) -> None:
    async def reloading() -> list[int]:
        seen: list[int] = []
        for until in (7, 40, 133, 134):
            seen += await numbers(web.port, job.pk, cookie, seen[-1] if seen else 0, until=until)
        return seen + await numbers(web.port, job.pk, cookie, seen[-1])

    async def polling() -> list[int]:
        seen: list[int] = []
        while True:
            page = await get(web.port, f"/jobs/{job.pk}/events?limit=13&after={seen[-1] if seen else 0}", cookie)
            answer = json.loads(await page.body())
            seen += [event["seq"] for event in answer["events"]]
            if answer["job"]["ended"] and not answer["more"]:
                return seen

    second = lambda: numbers(web.port, job.pk, cookie)  # noqa: E731
    late = lambda: numbers(web.port, job.pk, cookie, after=150)  # noqa: E731
    seen = play(lambda: writing(writer, 30), reloading, polling, second)[1:]
    assert seen == [list(range(1, 301))] * 3
    assert play(second, late) == [list(range(1, 301)), list(range(151, 301))]


def test_a_dead_redis_delays_and_loses_nothing(job: Job, cookie: str) -> None:
    with Valkey() as valkey, Web(valkey.url) as web:
        writer = Writer(job, valkey.url)

        async def story() -> list[int]:
            watching = asyncio.create_task(numbers(web.port, job.pk, cookie))
            await numbers(web.port, job.pk, cookie, until=10)
            await aside(valkey.stop, signal.SIGKILL)
            await numbers(web.port, job.pk, cookie, until=60)
            await aside(valkey.start)
            return await watching

        seen = play(lambda: writing(writer, 60), story)[1]
    assert seen == list(range(1, 601))


def test_a_log_moves_without_any_redis(job: Job, cookie: str) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    with Web(nowhere) as web:
        seen = play(lambda: writing(Writer(job, nowhere), 10), lambda: numbers(web.port, job.pk, cookie))[1]
    assert seen == list(range(1, 101))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restarted_web_process_goes_on_where_each_viewer_was(valkey: Valkey, job: Job, writer: Writer, cookie: str, number: int) -> None:
    async def story() -> list[list[int]]:
        watching = [asyncio.create_task(numbers(web.port, job.pk, cookie)) for _ in range(5)]
        await numbers(web.port, job.pk, cookie, until=50)
        await aside(web.stop, number)
        await aside(web.start)
        return await asyncio.gather(*watching)

    with Web(valkey.url) as web:
        seen = play(lambda: writing(writer, 100, pause=0.05), story)[1]
    assert seen == [list(range(1, 1001))] * 5


def test_the_web_process_stops_at_once_though_viewers_are_attached(valkey: Valkey, job: Job, cookie: str) -> None:
    async def story() -> tuple[float, list[list[str]]]:
        streams = [await get(web.port, f"/jobs/{job.pk}/stream", cookie) for _ in range(20)]
        stopped = await aside(web.stop)
        return stopped, [[frame.event async for frame in stream.frames()] for stream in streams]

    with Web(valkey.url) as web:
        [(seconds, events)] = play(story)
    assert seconds < 2.5  # the grace period is 3
    assert events == [["state"]] * 20


def test_a_viewer_who_does_not_read_holds_nobody_up_and_loses_nothing(web: Web, job: Job, writer: Writer, cookie: str) -> None:
    """About 6 MB: more than the sockets' buffers and the ring together hold."""
    lines, batches = 250, 80

    async def story() -> tuple[list[int], list[int]]:
        stuck = await get(web.port, f"/jobs/{job.pk}/stream", cookie)
        stuck.reader._transport.pause_reading()  # type: ignore[attr-defined]
        quick = await numbers(web.port, job.pk, cookie)
        stuck.reader._transport.resume_reading()  # type: ignore[attr-defined]
        return quick, [int(frame.id) async for frame in stuck.frames() if frame.id]

    async def write() -> None:
        for _ in range(batches):
            await aside(writer.lines, ["x" * 250] * lines)
        await aside(writer.end)

    [_, (quick, stuck)] = play(write, story)
    assert quick == stuck == list(range(1, lines * batches + 1))


def test_a_stream_ends_when_its_viewer_may_no_longer_look(valkey: Valkey, job: Job) -> None:
    users = [UserFactory(permissions=["tasks.view_job"]) for _ in range(4)]
    cookies = [cookie_of(user) for user in users]

    def revoke() -> None:
        users[0].user_permissions.clear()
        Session.objects.filter(pk=cookies[1].removeprefix("sessionid=")).delete()
        User.objects.filter(pk=users[2].pk).update(is_active=False)

    async def story() -> list[list[str]]:
        streams = [await get(web.port, f"/jobs/{job.pk}/stream", cookie) for cookie in cookies]
        frames = [stream.frames() for stream in streams]
        before = [[(await anext(each)).event for _ in range(3)] for each in frames]
        await aside(revoke)
        after = [[frame.event async for frame in each] for each in frames[:3]]
        await aside(users[3].delete)
        after.append([frame.event async for frame in frames[3]])
        return [[event for event in [*first, *last] if event != "heartbeat"] for first, last in zip(before, after, strict=True)]

    with Web(valkey.url, PGREPLICA_STREAM_HEARTBEAT_SECONDS="0.2") as web:
        [events] = play(story)
    assert events == [["state", "refused"]] * 4


def test_the_api_streams_the_same_log_holds_no_connection_and_ends_with_its_token(valkey: Valkey, job: Job, writer: Writer) -> None:
    text = "pgr_" + "live" * 10
    user = UserFactory(permissions=["tasks.view_job"])
    token = TokenFactory(user=user, digest=digest(text))
    headers = {"Authorization": f"Bearer {text}"}

    async def story() -> tuple[Any, ...]:
        streams = [await get(web.port, f"/api/v1/jobs/{job.pk}/stream", **headers) for _ in range(POOL * 5)]
        held = await aside(backends, web)
        await aside(writer.lines, ["a line"] * 20)
        await asyncio.gather(*(first_lines(stream, 20) for stream in streams))
        await aside(token.delete)
        ends = await asyncio.gather(*(rest(stream) for stream in streams))
        return {stream.status for stream in streams}, 1 <= held <= POOL, {tuple(end) for end in ends}

    async def first_lines(stream: Stream, number: int) -> None:
        async for frame in stream.frames():
            if frame.id == str(number):
                return

    async def rest(stream: Stream) -> list[str]:
        return [frame.event async for frame in stream.frames() if frame.event != "heartbeat"]

    with Web(valkey.url, PGREPLICA_STREAM_HEARTBEAT_SECONDS="0.3", PGREPLICA_DATABASE_POOL=str(POOL)) as web:
        assert play(story) == [({200}, True, {("refused",)})]
