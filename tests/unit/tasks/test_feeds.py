"""The reader of a job and its viewers, over a log in memory."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import feeds
from tasks.doorbell import CHANNEL_PREFIX
from tasks.feeds import Feed, Hub, watch
from tasks.frames import Ring, done_frame, heartbeat_frame, refused_frame, state_frame
from tasks.nudge import channel


class Log:
    """What the database would hold about job 7."""

    def __init__(self, lines: int = 0, status: str = "running") -> None:
        self.lines, self.status, self.gone = lines, status, False
        self.reads: list[tuple[int, int]] = []
        self.failures = 0

    def events_after(self, job_id: int, after: int, limit: int = 500) -> list[dict[str, Any]]:
        if self.failures:
            self.failures -= 1
            raise OperationalError("the server closed the connection")
        self.reads.append((after, limit))
        return [{"seq": seq, "text": f"line {seq}"} for seq in range(after + 1, min(self.lines, after + limit) + 1)]

    def job_snapshot(self, job_id: int) -> dict[str, Any] | None:
        if self.gone:
            return None
        return {"id": job_id, "status": self.status, "ended": self.status != "running", "last_event": self.lines}


@contextmanager
def over(log: Log, **constants: Any) -> Iterator[None]:
    constants = {"POLL_SECONDS": 0.01, "POLL_SECONDS_WITHOUT_REDIS": 0.01, "STATE_SECONDS": 0.002, **constants}
    with mock.patch.multiple(feeds, events_after=log.events_after, job_snapshot=log.job_snapshot, **constants):
        yield


def run(story: Callable[[Hub], Coroutine[Any, Any, Any]]) -> Any:
    """Run it in an event loop and a thread of its own, at most 20 seconds, with a hub whose doorbell never rings."""

    async def told() -> Any:
        hub = Hub()
        with mock.patch.object(hub, "_doorbell", mock.Mock(up=False, listen=lambda: asyncio.Event().wait())):
            async with asyncio.timeout(20):
                return await story(hub)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, told()).result()


async def allowed() -> bytes:
    return b""


class Viewer:
    """Reads a stream and keeps what a browser would: the numbers of the lines, the states, how it ended."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.states: list[str] = []
        self.events: list[str] = []

    async def watch(self, hub: Hub, after: int, lines: int | None = None, *, slow: int = 0) -> None:
        """Until the stream ends, or until `lines` lines have come (a reload)."""
        feed = hub.join(feeds.job_snapshot(7) or {})
        try:
            async with aclosing(watch(feed, after, allowed)) as parts:
                await self._take(parts, lines, slow)
        finally:
            hub.leave(feed)

    async def _take(self, parts: AsyncIterator[bytes], lines: int | None, slow: int) -> None:
        async for part in parts:
            for frame in part.decode().removesuffix("\n\n").split("\n\n"):
                self._frame(dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":")))
                if lines is not None and len(self.numbers) >= lines:
                    return
            for _ in range(slow):
                await asyncio.sleep(0)

    def _frame(self, frame: dict[str, str]) -> None:
        if "id" in frame:
            self.numbers.append(int(frame["id"]))
        elif frame.get("event") == "state":
            self.states.append(json.loads(frame["data"])["status"])
        elif "event" in frame:
            self.events.append(frame["event"])


def test_the_doorbell_listens_where_the_journal_rings() -> None:
    assert channel(7) == CHANNEL_PREFIX + "7"


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(0, 30),
    batches=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 4), st.booleans()), max_size=12),
    viewers=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 6), st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=5),
    capacity=st.integers(1, 40),
    page=st.integers(1, 20),
    bulk=st.integers(1, 20),
)
def it_gives_every_viewer_every_line_once_and_in_order_from_wherever_he_comes_back(
    before: int,
    batches: list[tuple[int, int, bool]],
    viewers: list[tuple[int, int, int, int]],
    capacity: int,
    page: int,
    bulk: int,
) -> None:
    """Random batches, rung or found by polling; viewers fast and slow, from any line, each reloading once; rings and pages of any size."""
    log = Log(before)

    async def write(hub: Hub) -> None:
        for lines, pause, rung in batches:
            log.lines += lines
            if rung:
                hub._ring(7)
            for _ in range(pause):
                await asyncio.sleep(0.001)
        log.status = "done"

    async def view(hub: Hub, after: int, late: int, slow: int, reload: int) -> tuple[list[int], list[str], list[str]]:
        for _ in range(late):
            await asyncio.sleep(0.001)
        first, second = Viewer(), Viewer()
        await first.watch(hub, after, reload, slow=slow)
        await second.watch(hub, first.numbers[-1] if first.numbers else after, slow=slow)
        return first.numbers + second.numbers, second.states[-1:], second.events

    async def story(hub: Hub) -> tuple[Any, list[Any]]:
        async with asyncio.TaskGroup() as group:
            seen = [group.create_task(view(hub, start % (before + 1), late, slow, reload)) for start, late, slow, reload in viewers]
            group.create_task(write(hub))
        return hub.feeds, [task.result() for task in seen]

    with over(log, PAGE=page, BULK=bulk, Ring=lambda start: Ring(start, capacity)):
        left, seen = run(story)
    assert seen == [(list(range(start % (before + 1) + 1, log.lines + 1)), ["done"], ["done"]) for start, *_ in viewers]
    assert left == {}


def it_reads_once_for_all_viewers() -> None:
    log = Log(3)

    async def story(hub: Hub) -> list[list[int]]:
        viewers = [Viewer() for _ in range(50)]
        async with asyncio.TaskGroup() as group:
            for viewer in viewers:
                group.create_task(viewer.watch(hub, 3))
            await asyncio.sleep(0.005)
            log.lines, log.status = 10, "done"
        return [viewer.numbers for viewer in viewers]

    with over(log):
        assert run(story) == [[4, 5, 6, 7, 8, 9, 10]] * 50
    assert len([after for after, _ in log.reads if after == 3]) < 50
    assert {limit for _, limit in log.reads} == {feeds.BULK}


def it_is_never_held_up_by_a_viewer_who_does_not_read() -> None:
    log = Log()

    async def story(hub: Hub) -> tuple[list[int], list[int]]:
        feed = hub.join(log.job_snapshot(7) or {})
        stuck = watch(feed, 0, allowed)
        await anext(stuck)
        quick, late = Viewer(), Viewer()
        async with asyncio.TaskGroup() as group:
            group.create_task(quick.watch(hub, 0))
            log.lines, log.status = 900, "done"
        await late._take(stuck, None, 0)
        hub.leave(feed)
        return quick.numbers, late.numbers

    with over(log, Ring=lambda start: Ring(start, 10)):
        assert run(story) == (list(range(1, 901)), list(range(1, 901)))


def it_ends_at_once_for_a_job_that_has_ended() -> None:
    log = Log(1200, "failed")
    viewer = Viewer()
    with over(log, PAGE=500):
        assert run(lambda hub: viewer.watch(hub, 1)) is None
    assert (viewer.numbers, viewer.states, viewer.events) == (list(range(2, 1201)), ["failed"], ["done"])
    assert log.reads == [(1, 500), (501, 500), (1001, 500)]


def it_ends_when_the_job_was_deleted() -> None:
    log = Log(2)
    viewer = Viewer()

    async def story(hub: Hub) -> None:
        task = asyncio.create_task(viewer.watch(hub, 2))
        await asyncio.sleep(0)
        log.gone = True
        await task

    with over(log):
        run(story)
    assert (viewer.numbers, viewer.events) == ([], ["done"])


def it_sends_the_state_when_it_changed_and_not_for_every_line() -> None:
    log = Log()
    viewer = Viewer()

    async def story(hub: Hub) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(viewer.watch(hub, 0))
            for _ in range(20):
                log.lines += 1
                await asyncio.sleep(0.003)
            log.status = "done"

    with over(log):
        run(story)
    assert (viewer.numbers, viewer.states) == (list(range(1, 21)), ["running", "done"])


def it_never_ends_a_stream_before_its_last_state() -> None:
    """The viewer is still busy with a state when the job ends."""
    log = Log()

    async def story(hub: Hub) -> list[bytes]:
        feed = hub.join(log.job_snapshot(7) or {})
        parts = watch(feed, 0, allowed)
        await anext(parts), await anext(parts)
        log.status = "done"
        while not feed.over:
            await asyncio.sleep(0.001)
        rest = [part async for part in parts]
        hub.leave(feed)
        return rest

    with over(log):
        assert run(story) == [state_frame(log.job_snapshot(7) or {}), done_frame(0)]


def it_goes_on_when_the_database_was_away(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    viewer = Viewer()

    async def story(hub: Hub) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(viewer.watch(hub, 0))
            await asyncio.sleep(0.005)
            log.failures, log.lines, log.status = 3, 4, "done"

    with over(log):
        run(story)
    assert (viewer.numbers, viewer.events, log.failures) == ([1, 2, 3, 4], ["done"], 0)
    assert "The log of job 7 cannot be read now (the server closed the connection); trying again." in caplog.messages


def it_lets_viewers_come_back_when_its_reader_fails(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    viewer = Viewer()

    async def story(hub: Hub) -> dict[int, Feed]:
        with mock.patch.object(Ring, "add", side_effect=ZeroDivisionError):
            await viewer.watch(hub, 0)
        return hub.feeds

    with over(log), caplog.at_level(logging.ERROR):
        assert run(story) == {}
    assert (viewer.numbers, viewer.events) == ([], [])
    assert caplog.messages == ["The reader of job 7 failed; its viewers come back."]


def it_beats_while_the_log_is_silent_and_stops_when_the_viewer_may_no_longer_look() -> None:
    log = Log(4)
    answers = iter([b"", b"", refused_frame("no")])

    async def refusal() -> bytes:
        return next(answers)

    async def story(hub: Hub) -> list[bytes]:
        feed = hub.join(log.job_snapshot(7) or {})
        parts = [part async for part in watch(feed, 4, refusal)]
        hub.leave(feed)
        return parts[2:]

    with over(log, HEARTBEAT_SECONDS=0.02):
        assert run(story) == [heartbeat_frame(4), heartbeat_frame(4), refused_frame("no")]


def it_asks_for_the_right_to_look_also_while_lines_keep_coming() -> None:
    log = Log()

    async def refusal() -> bytes:
        return refused_frame("no") if log.lines > 50 else b""

    async def write(hub: Hub) -> None:
        while True:
            log.lines += 1
            hub._ring(7)
            await asyncio.sleep(0.001)

    async def story(hub: Hub) -> bytes:
        feed = hub.join(log.job_snapshot(7) or {})
        writer = asyncio.create_task(write(hub))
        parts = [part async for part in watch(feed, 0, refusal)]
        writer.cancel()
        hub.leave(feed)
        return parts[-1]

    with over(log, HEARTBEAT_SECONDS=0.02):
        assert run(story) == refused_frame("no")


def it_stops_reading_when_the_last_viewer_has_left_and_begins_anew_with_the_next() -> None:
    log = Log(5)

    async def story(hub: Hub) -> tuple[bool, dict[int, Feed], bool]:
        snapshot = log.job_snapshot(7) or {}
        first, second = hub.join(snapshot), hub.join(snapshot)
        hub.leave(first)
        hub.leave(second)
        third = hub.join(snapshot)
        hub.leave(third)
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("feed")]
        await asyncio.wait(tasks)
        return first is second, dict(hub.feeds), third is not first

    with over(log):
        assert run(story) == (True, {}, True)


def it_ends_every_stream_when_the_process_stops_also_those_that_come_later() -> None:
    log = Log(5)
    viewers = [Viewer(), Viewer(), Viewer()]

    async def story(hub: Hub) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(viewers[0].watch(hub, 0))
            group.create_task(viewers[1].watch(hub, 5))
            await asyncio.sleep(0.02)
            hub.close()
        await viewers[2].watch(hub, 0)

    with over(log):
        run(story)
    assert [(viewer.numbers, viewer.events) for viewer in viewers] == [([1, 2, 3, 4, 5], []), ([], []), ([], [])]
