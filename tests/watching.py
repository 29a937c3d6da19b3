"""A monitor that runs beside a test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tasks.watching.monitor import Rounds
from tests.waiting import wait_until


@contextlib.contextmanager
def watching(rounds: Rounds) -> Iterator[Rounds]:
    """In a thread of its own, ended as by SIGTERM."""
    loops: list[asyncio.AbstractEventLoop] = []
    tasks: list[asyncio.Task[None]] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        tasks.append(asyncio.ensure_future(rounds.run()))
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        wait_until(lambda: bool(tasks), "the monitor runs")
        yield rounds
    finally:
        loops[0].call_soon_threadsafe(tasks[0].cancel)
        thread.join(30)
        assert not thread.is_alive()
