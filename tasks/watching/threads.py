"""What blocks, in threads of their own. Nobody waits for one that hangs: not the loop, not another server, not the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, ParamSpec, TypeVar

from tasks.threads import started
from tasks.watching.reach import Door, Way, door_of, way_through

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

#: Servers that are being reached at the same time; each waits in a thread.
SERVERS_AT_ONCE: Final = 128
#: Questions to the panel's database at the same time; its pool has a few connections more (PGREPLICA_DATABASE_POOL).
DOORS_AT_ONCE: Final = 6


class Attempts:
    """Ways to servers: one attempt per server at a time, however long it hangs. A way that is found too late is given back."""

    def __init__(self) -> None:
        self._servers: dict[int, asyncio.Lock] = {}
        self._free, self._doors = asyncio.Semaphore(SERVERS_AT_ONCE), asyncio.Semaphore(DOORS_AT_ONCE)

    async def door(self, instance_id: int) -> Door:
        """Raises: what `door_of` raises."""
        return await self.rows(door_of, instance_id)

    async def rows(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `act` finds in the panel's database. Raises: what `act` raises."""
        async with self._doors:
            return await asyncio.wrap_future(started(act, *args, **kwargs))

    async def way(self, server_id: int, door: Door) -> Way:
        """Raises: what `way_through` raises."""
        server = self._servers.setdefault(server_id, asyncio.Lock())
        await server.acquire()
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            server.release()
            raise
        finding = started(way_through, door)
        finding.add_done_callback(_in(asyncio.get_running_loop(), server.release, self._free.release))
        try:
            return await asyncio.wrap_future(finding)
        except asyncio.CancelledError:
            finding.add_done_callback(_given_back)
            raise


def way_closed(way: Way) -> None:
    """In the background: a connection to a server that is gone may take its time to end."""
    started(way.close).add_done_callback(_said)


def _in(loop: asyncio.AbstractEventLoop, *acts: Callable[[], None]) -> Callable[[Future[Way]], None]:
    def done(_finding: Future[Way]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            for act in acts:
                loop.call_soon_threadsafe(act)

    return done


def _given_back(finding: Future[Way]) -> None:
    if not finding.cancelled() and finding.exception() is None:
        way_closed(finding.result())


def _said(closing: Future[None]) -> None:
    error = closing.exception()
    if error is not None:
        logger.warning("A connection to a server has not ended well: %s: %s", type(error).__name__, error)
