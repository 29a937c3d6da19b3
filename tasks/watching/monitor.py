"""The monitor: goes round all instances, and stores what they said. One at a time watches; a second one waits to take over.

Each instance is asked by a task of its own, at one of twenty moments of the interval, all of a cluster at the same one. So the work is
spread evenly, and one that does not answer costs the others nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection
from psycopg_pool import PoolTimeout

from tasks.schedule import verify_changed
from tasks.threads import started
from tasks.watching import store
from tasks.watching.disk import DISK_SECONDS, Disks, Room
from tasks.watching.look import GOLDEN, Look, Target, following, wal_rate
from tasks.watching.minute import Minute, Point
from tasks.watching.threads import Attempts
from tasks.watching.watcher import Watcher

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

#: So many moments of the interval have questions. To wake up for one question costs more than to ask it.
MOMENTS: Final = 20
#: How often what was heard is stored.
STORE_SECONDS: Final = 0.5
#: How often those who are to be asked are read, and the lease is renewed, where the interval is longer.
ROUND_SECONDS: Final = 20.0
RATES_SECONDS: Final = 60.0
HOUSEKEEPING_SECONDS: Final = 300.0
#: How often it is tried to have a closer look at what has changed, and at how many instances in one go.
VERIFY_SECONDS: Final = 1.0
VERIFIED_AT_ONCE: Final = 20
#: In memory, while the panel's database does not answer.
MINUTES_KEPT: Final = 60
#: For writing what is in memory when it is stopped; who stops it waits for 5 s (launcher.parts).
LAST_SECONDS: Final = 3.0


class Rounds:
    """`run` until it is cancelled. `ready`: a file that is touched after each round, for those who look whether it lives."""

    def __init__(self, interval: float = 5.0, ready: Path | None = None, disk_seconds: float = DISK_SECONDS) -> None:
        self.interval, self.ready = interval, ready
        self._lease_seconds = max(store.LEASE_SECONDS, 3 * interval)
        self._database = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._attempts = Attempts()
        self._disks = Disks(self._attempts, self._hear_rooms, disk_seconds)
        self._watchers: dict[Target, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._latest: dict[int, dict[int, Look]] = {}  # by cluster and instance
        self._heard: dict[int, store.State] = {}  # what is to be stored, by instance
        self._rooms: dict[int, Room] = {}  # the same of the disks
        self._changed: dict[int, datetime] = {}  # whose role is another one, and since when, until somebody looks closer
        self._minutes: list[Minute] = []
        self._ahead = 0.0  # of the database's clock before our monotonic one

    async def run(self) -> None:
        try:
            while True:
                token = await self._lease()
                if token is None:
                    await asyncio.sleep(self.interval)
                    continue
                logger.info("Watching every %s s", self.interval)
                verifying = asyncio.create_task(self._verifying(), name="verify")
                try:
                    await self._watch(token)
                except store.LeaseLost:
                    logger.warning("Another monitor watches now; waiting")
                finally:
                    verifying.cancel()
                    await self._give_back(token)
                    self._end(list(self._watchers))
                    self._disks.watch(set())
                    self._heard.clear()
                    self._rooms.clear()
        finally:
            await asyncio.gather(*self._ending, return_exceptions=True)
            self._database.submit(lambda: connection.close())  # that thread's own
            self._database.shutdown(wait=False)

    async def _lease(self) -> int | None:
        """None: another monitor holds it, or the panel's database does not answer."""
        with contextlib.suppress(_DatabaseSilent):
            token = await self._in_database(store.lease_take, self._lease_seconds)
            self._touch()
            return token
        return None

    async def _give_back(self, token: int) -> None:
        """What is in memory is written, and the next monitor need not wait. Where that cannot be said the lease ends by itself."""
        states = self._states(self._heard)
        minutes, self._minutes = self._minutes, []  # which nobody adds to any more

        def last() -> None:
            try:
                store.states_write(token, states)
                for minute in minutes:
                    store.minute_write(token, minute)
            finally:
                store.lease_give_back(token)

        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._in_database(last)
        except (_DatabaseSilent, store.LeaseLost, TimeoutError):
            self._minutes = minutes + self._minutes  # what is written already is not written again

    async def _watch(self, token: int) -> None:
        round_due, house_due, rates_due = 0.0, 0.0, 0.0
        while True:
            began = time.monotonic()
            with contextlib.suppress(_DatabaseSilent):  # said already; what was heard is kept until it answers again
                if began >= round_due:
                    await self._round(token)
                    round_due = began + min(self.interval, ROUND_SECONDS)
                await self._store(token)
                if began >= rates_due:
                    await self._in_database(store.rates_write, token)
                    rates_due = began + RATES_SECONDS
                if began >= house_due:
                    await self._in_database(store.hours_write, self.interval)
                    await self._in_database(store.prune)
                    house_due = began + HOUSEKEEPING_SECONDS
            await asyncio.sleep(max(0.0, STORE_SECONDS - (time.monotonic() - began)))

    async def _round(self, token: int) -> None:
        targets = await self._in_database(store.targets_read)
        self._ahead = await self._in_database(store.clock) - time.monotonic()
        self._watch_these(targets)
        await self._in_database(store.lease_renew, token, len(targets), self.interval, self._lease_seconds)
        self._touch()

    # -- asking

    def _watch_these(self, targets: list[Target]) -> None:
        wanted = set(targets)
        self._end([target for target in self._watchers if target not in wanted])
        for target in targets:
            if target not in self._watchers:
                self._watchers[target] = asyncio.create_task(self._asking(target), name=f"watch {target.name}")
        self._disks.watch({target.server_id for target in targets})

    def _end(self, targets: list[Target]) -> None:
        """In the background: nobody waits for a server that is gone."""
        for target in targets:
            watcher = self._watchers.pop(target)
            watcher.cancel()
            self._ending.add(watcher)
            watcher.add_done_callback(self._ending.discard)
            self._latest.get(target.cluster_id, {}).pop(target.instance_id, None)
            self._heard.pop(target.instance_id, None)

    async def _asking(self, target: Target) -> None:
        watcher = Watcher(target, self._attempts, self.interval)
        phase = int(target.cluster_id * GOLDEN % 1.0 * MOMENTS) * self.interval / MOMENTS
        try:
            while True:
                await asyncio.sleep(self.interval - (time.monotonic() - phase) % self.interval)
                look = await watcher.look()
                if look is not None:
                    self._hear(look)
        except Exception:
            logger.exception("The watcher of %s has failed; it begins anew with the next round", target.name)
            self._watchers.pop(target, None)
        finally:
            watcher.close()

    # -- what was heard

    def _hear(self, look: Look) -> None:
        target = look.target
        cluster = self._latest.setdefault(target.cluster_id, {})
        follows = following(look, cluster.get(target.upstream_id) if target.upstream_id else None)
        rate = wal_rate(cluster.get(target.instance_id), look)
        cluster[target.instance_id] = look
        sampled = look.sampled
        self._heard[target.instance_id] = store.State(
            instance_id=target.instance_id,
            age=look.at,  # made an age when it is stored
            role=look.role,
            error=look.error,
            sampled=sampled.as_json() if sampled else None,
            lag_bytes=follows.lag_bytes,
            lag_seconds=follows.lag_seconds,
            wal_rate=rate,
            stream=follows.state,
            sync_state=follows.sync_state,
            upstream_id=target.upstream_id,
        )
        moment = look.at + self._ahead
        kept, connections = (sampled.retained_bytes, sampled.connections) if sampled else (None, None)
        point = Point(round(moment % 60, 2), sampled is not None, follows.lag_bytes, follows.lag_seconds, rate, kept, connections)
        self._minute(int(moment // 60)).add(target.instance_id, point)

    def _hear_rooms(self, rooms: Iterable[Room]) -> None:
        for room in rooms:
            self._rooms[room.instance_id] = room
            self._minute(int((room.at + self._ahead) // 60)).add_disk(room.instance_id, room.free_bytes)

    def _minute(self, number: int) -> Minute:
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(Minute(number))
        return self._minutes[-1]

    async def _store(self, token: int) -> None:
        del self._minutes[:-MINUTES_KEPT]
        heard, self._heard = self._heard, {}
        try:
            self._changed.update(await self._in_database(store.states_write, token, self._states(heard)))
        except _DatabaseSilent:
            self._heard = {**heard, **self._heard}  # what is newer counts
            raise
        rooms, self._rooms = self._rooms, {}
        try:
            await self._in_database(store.rooms_write, token, list(rooms.values()))
        except _DatabaseSilent:
            self._rooms = {**rooms, **self._rooms}
            raise
        while len(self._minutes) > 1:
            await self._in_database(store.minute_write, token, self._minutes[0])
            del self._minutes[0]

    def _states(self, heard: Mapping[int, store.State]) -> list[store.State]:
        now = time.monotonic()
        return [state._replace(age=now - state.age) for state in heard.values()]

    async def _verifying(self) -> None:
        """Have a closer look where something has changed, until somebody looks. A broker that hangs keeps only this waiting."""
        while True:
            await asyncio.sleep(VERIFY_SECONDS)
            if some := dict(islice(self._changed.items(), VERIFIED_AT_ONCE)):
                looked_at = await asyncio.wrap_future(started(_looked_closer, some))
                for pk, since in some.items():
                    now = self._changed.pop(pk)
                    if pk not in looked_at or now != since:
                        self._changed[pk] = now  # behind the others

    # -- helpers

    async def _in_database(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the one thread for it. Raises: _DatabaseSilent, and what `act` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._database, lambda: _patient(act, *args, **kwargs))

    def _touch(self) -> None:
        if self.ready is not None:
            self.ready.touch()


class _DatabaseSilent(Exception):
    """The panel's database does not answer. It has been said in the log."""


def _patient(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return act(*args, **kwargs)
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        logger.warning("The panel's database does not answer: %s", str(error).strip().partition("\n")[0])
        connection.close()
        raise _DatabaseSilent from error


def _looked_closer(changed: Mapping[int, datetime]) -> set[int]:
    """Those about whom nothing is left to do."""
    try:
        return verify_changed(changed)
    except Exception:  # of the panel's database or the broker: it is tried again
        logger.exception("No verification could be requested for what has changed")
        return set()
    finally:
        connection.close()
