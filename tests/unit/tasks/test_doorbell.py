"""The doorbell on a real Valkey that dies, comes back, and freezes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from unittest import mock

import pytest
from redis import Redis

from tasks import doorbell
from tasks.doorbell import Doorbell
from tasks.nudge import Bell
from tests.live import Valkey, play


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Doorbell, list[int | None]]]:
    rings: list[int | None] = []
    bell = Doorbell(url, rings.append)
    task = asyncio.create_task(bell.listen())
    try:
        yield bell, rings
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


def it_hears_each_job_that_the_journal_rings_for_and_no_other_channel() -> None:
    async def story() -> list[int | None]:
        async with listening(valkey.url) as (bell, rings):
            await until(lambda: bell.up)
            client = Redis.from_url(valkey.url)
            for channel in ("pgreplica:job:x", "pgreplica:job:", "pgreplica:job:-1", "pgreplica:other:5"):
                client.publish(channel, "")
            client.close()
            journal = Bell(valkey.url)
            assert [journal.ring(7, 1), journal.ring(12, 3)] == [True, True]
            journal.close()
            await until(lambda: 12 in rings)
            return rings

    with Valkey() as valkey:
        assert play(story) == [[None, 7, 12]]


def it_comes_back_after_a_restart_and_says_that_any_job_may_have_been_missed(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> tuple[bool, list[int | None]]:
        async with listening(valkey.url) as (bell, rings):
            await until(lambda: bell.up)
            await asyncio.to_thread(valkey.stop, signal.SIGKILL)
            await until(lambda: not bell.up)
            await asyncio.to_thread(valkey.start)
            await until(lambda: bell.up)
            return bell.up, rings

    with Valkey() as valkey:
        assert play(story) == [(True, [None, None])]
    assert [message.split(" (")[0] for message in caplog.messages] == ["Redis does not answer"]


def it_notices_a_redis_that_froze_with_its_socket_open() -> None:
    async def story() -> list[int | None]:
        async with listening(valkey.url) as (bell, rings):
            await until(lambda: bell.up)
            valkey.process.send_signal(signal.SIGSTOP)
            await until(lambda: not bell.up)
            valkey.process.send_signal(signal.SIGCONT)
            await until(lambda: bell.up)
            return rings

    with mock.patch.object(doorbell, "SILENCE_SECONDS", 0.1), Valkey() as valkey:
        assert play(story)[0][:2] == [None, None]


def it_stays_up_through_a_long_silence_of_a_redis_that_answers() -> None:
    async def story() -> list[int | None]:
        async with listening(valkey.url) as (bell, rings):
            await until(lambda: bell.up)
            await asyncio.sleep(1.5)
            assert bell.up
            return rings

    with mock.patch.object(doorbell, "SILENCE_SECONDS", 1), Valkey() as valkey:
        assert play(story) == [[None]]
