"""One reader per job and process, however many people watch.

A feed reads the job's new rows in bulk and keeps their frames in a ring. A viewer is a place in the log: it takes frames from the ring,
or pages from the database while it is older than the ring. So a slow viewer lags, and neither blocks another nor misses a line.
No connection to the database is held between two reads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from tasks.doorbell import Doorbell
from tasks.frames import Ring, done_frame, event_frame, heartbeat_frame, packed, retry_frame, state_frame
from tasks.selectors import events_after, job_snapshot
from tasks.shutdown import on_shutdown

POLL_SECONDS: Final = 1.0
POLL_SECONDS_WITHOUT_REDIS: Final = 0.25
STATE_SECONDS: Final = 0.2  # the state is sent at most this often
BULK: Final = 1000  # rows of one read by the feed
PAGE: Final = 500  # rows of one read by a viewer that is behind
HEARTBEAT_SECONDS: Final[float] = settings.STREAM_HEARTBEAT_SECONDS

#: Few threads on purpose: however many people watch, the streams take at most this many of the pool's connections at once.
READERS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="stream")

log = logging.getLogger(__name__)

Snapshot = dict[str, Any]
Row = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


async def read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a read of the database in a reader thread, which gives its connection back at once."""
    return await sync_to_async(partial(_read, function), thread_sensitive=False, executor=READERS)(*args, **kwargs)


def _read(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        give_back_connections()


def give_back_connections() -> None:
    """Close this thread's connections: to the pool they go. One inside a transaction (of a test) stays."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def look(job_id: int, after: int, limit: int) -> tuple[Snapshot | None, list[Row]]:
    """The state first, then the rows: so the rows reach at least as far as that state's `last_event`, or there are `limit` of them."""
    return job_snapshot(job_id), events_after(job_id, after, limit)


class Feed:
    """The one reader of a job."""

    def __init__(self, snapshot: Snapshot, poll: Callable[[], float]) -> None:
        self.job_id: int = snapshot["id"]
        self.ring = Ring(snapshot["last_event"])
        self.state = state_frame(snapshot)
        self._shown = _shown(snapshot)
        self.over: bool = snapshot["ended"]  # the job has ended and the ring reaches its last line
        self.closed = False  # no more reading: the process stops, or reading failed
        self.viewers = 0
        self.rung = asyncio.Event()
        self.news = asyncio.Event()  # set, and replaced by a new one, whenever something changed
        self._poll = poll
        self._state_due = 0.0

    async def run(self) -> None:
        """Read until the job is over."""
        while not self.over and not self.closed:
            self.rung.clear()
            wait = POLL_SECONDS
            try:
                wait = await self._turn()
            except (DatabaseError, InterfaceError) as error:
                log.warning("The log of job %s cannot be read now (%s); trying again.", self.job_id, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.rung.wait()

    async def _turn(self) -> float:
        """Read what is new and tell the viewers. Returns how long to wait for a ring before the next turn."""
        due = self._state_due - time.monotonic()
        if due > 0:
            rows = await read(events_after, self.job_id, self.ring.last, BULK)
            self._publish(rows)
            return 0 if len(rows) == BULK else min(due, self._poll())
        snapshot, rows = await read(look, self.job_id, self.ring.last, BULK)
        self._state_due = time.monotonic() + STATE_SECONDS
        self.over = snapshot is None or (snapshot["ended"] and len(rows) < BULK)
        self._publish(rows, snapshot)
        return 0 if len(rows) == BULK else self._poll()

    def _publish(self, rows: list[Row], snapshot: Snapshot | None = None) -> None:
        self.ring.add(rows)
        changed = False
        if snapshot and (shown := _shown(snapshot)) != self._shown:
            changed, self._shown, self.state = True, shown, state_frame(snapshot)
        if rows or changed or self.over:
            self.tell()

    def tell(self) -> None:
        """Wake every viewer."""
        self.news.set()
        self.news = asyncio.Event()

    def close(self) -> None:
        self.closed = True
        self.rung.set()
        self.tell()

    async def frames_after(self, number: int) -> tuple[list[bytes], int]:
        """Some frames above `number` and the number they reach to; none when there is nothing newer yet."""
        floor = self.ring.floor
        if number < floor:
            rows = await read(events_after, self.job_id, number, PAGE)
            if rows:
                return [event_frame(row) for row in rows], rows[-1]["seq"]
            number = floor  # those rows are gone for good (an old log that was pruned)
        return self.ring.after(number)


def _shown(snapshot: Snapshot) -> Snapshot:
    """What makes a state worth sending: all but the number of the last line, which the lines say themselves."""
    return {name: value for name, value in snapshot.items() if name != "last_event"}


async def watch(feed: Feed, number: int, refusal: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """One viewer's stream: everything above `number`, the state whenever it changed, a heartbeat, the end.

    `refusal` is asked at each heartbeat; the frame it gives, if not empty, ends the stream: the viewer may no longer look.
    """
    state = b""
    beat = time.monotonic() + HEARTBEAT_SECONDS
    yield retry_frame()
    while not feed.closed:
        news = feed.news  # taken before looking, so that what comes in between is not slept through
        if state is not feed.state:
            state = feed.state
            yield state
        frames, number = await feed.frames_after(number)
        for part in packed(frames):
            yield part
        if not frames and feed.over and number >= feed.ring.last and state is feed.state:
            yield done_frame(number)
            return
        if not frames and not feed.over:
            await _wait(news, beat - time.monotonic())
        if time.monotonic() >= beat:
            beat = time.monotonic() + HEARTBEAT_SECONDS
            refused = await refusal()
            yield refused or heartbeat_frame(number)
            if refused:
                return


async def _wait(news: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()


class Hub:
    """The feeds of this process, and their doorbell while there are any."""

    def __init__(self) -> None:
        self.feeds: dict[int, Feed] = {}
        self.closed = False
        self._doorbell = Doorbell(settings.REDIS_URL, self._ring)
        self._listening: asyncio.Task[None] | None = None
        self._tasks: dict[Feed, asyncio.Task[None]] = {}
        on_shutdown(self.close)

    def join(self, snapshot: Snapshot) -> Feed:
        """The feed of this job, started if nobody else watches. Give it back with `leave`."""
        feed = self.feeds.get(snapshot["id"])
        if feed is None:
            feed = Feed(snapshot, self._poll)
            feed.closed = self.closed
            if not feed.over and not feed.closed:
                self._start(feed)
        feed.viewers += 1
        return feed

    def leave(self, feed: Feed) -> None:
        feed.viewers -= 1
        if not feed.viewers and (task := self._tasks.get(feed)):
            self.feeds.pop(feed.job_id)  # now: who comes before the task has ended gets a feed of his own
            task.cancel()

    def close(self) -> None:
        """End every stream now; the browsers come back to the next process where they were."""
        self.closed = True
        for feed in list(self.feeds.values()):
            feed.close()

    def _start(self, feed: Feed) -> None:
        # An empty context: the reader serves everybody, so it takes no language and no request id from the first who came.
        self.feeds[feed.job_id] = feed
        self._tasks[feed] = asyncio.create_task(feed.run(), name=f"feed of job {feed.job_id}", context=Context())
        self._tasks[feed].add_done_callback(partial(self._ended, feed))
        if self._listening is None:
            self._listening = asyncio.create_task(self._doorbell.listen(), name="doorbell", context=Context())

    def _ended(self, feed: Feed, task: asyncio.Task[None]) -> None:
        del self._tasks[feed]
        if self.feeds.get(feed.job_id) is feed:
            del self.feeds[feed.job_id]
        if not task.cancelled() and (error := task.exception()):
            log.error("The reader of job %s failed; its viewers come back.", feed.job_id, exc_info=error)
        if not feed.over:
            feed.close()
        if not self._tasks and self._listening:
            self._listening.cancel()
            self._listening = None

    def _poll(self) -> float:
        return POLL_SECONDS if self._doorbell.up else POLL_SECONDS_WITHOUT_REDIS

    def _ring(self, job_id: int | None) -> None:
        for feed in [self.feeds.get(job_id)] if job_id else list(self.feeds.values()):
            if feed:
                feed.rung.set()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop: one per server process."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
