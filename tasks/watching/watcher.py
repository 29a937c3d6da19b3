"""Asks one instance again and again over one kept connection. However it fails, it costs nobody else anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from concurrent.futures import Executor
from typing import Final

import psycopg
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from clusters.hosts.errors import HostError, inert
from clusters.models import Instance
from clusters.postgres.facts import Unreadable
from clusters.postgres.names import SUPERUSER
from clusters.postgres.sampling import SAMPLE, Sampled
from tasks.watching.look import Look, Target
from tasks.watching.reach import Way, way_to

logger = logging.getLogger(__name__)

#: For an answer over a connection that is there, and for making one.
ANSWER_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 5.0
#: A server that cannot be reached is tried again after twice as long each time, up to this.
LONGEST_PAUSE: Final = 15.0


class Watcher:
    def __init__(self, target: Target, threads: Executor, interval: float) -> None:
        self.target = target
        self._threads, self._interval = threads, interval
        self._way: Way | None = None
        self._session: psycopg.AsyncConnection | None = None
        self._pause, self._not_before = 0.0, 0.0

    async def look(self) -> Look | None:
        """None: it is not tried this time, since it could not be reached a moment ago."""
        if self._session is None and time.monotonic() < self._not_before:
            return None
        try:
            if self._session is None:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._session = await self._connected()
            async with asyncio.timeout(ANSWER_SECONDS):
                text = await self._asked(self._session)
            look = self._read(text)
        except (DatabaseError, PoolTimeout):  # the panel's own: nothing is known of the instance
            return None
        except (psycopg.Error, HostError, Unreadable, OSError, TimeoutError, Instance.DoesNotExist) as error:
            await self.close()
            self._pause = min(max(2 * self._pause, self._interval), LONGEST_PAUSE)
            self._not_before = time.monotonic() + self._pause - self._interval / 2
            return Look(self.target, error=_said(error))
        self._pause = 0.0
        return look

    def _read(self, text: str) -> Look:
        """Raises: Unreadable."""
        sampled = Sampled.from_text(text)
        if self.target.system_identifier not in ("", sampled.system_identifier):
            return Look(self.target, error=f"another cluster answers there, with the system identifier {inert(sampled.system_identifier)}")
        return Look(self.target, sampled, text)

    async def close(self) -> None:
        """Safe to repeat."""
        session, self._session = self._session, None
        way, self._way = self._way, None
        if session is not None:
            with contextlib.suppress(psycopg.Error):
                await session.close()
        if way is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, way.close)

    async def _connected(self) -> psycopg.AsyncConnection:
        self._way = await self._found()
        return await psycopg.AsyncConnection.connect(
            host=self._way.host,
            port=self._way.port,
            user=self._way.role,
            password=self._way.password.reveal(),
            dbname=SUPERUSER,
            application_name="pgreplica-monitor",
            options=f"-c statement_timeout={int(ANSWER_SECONDS * 1000)}",
            connect_timeout=int(CONNECT_SECONDS),
            tcp_user_timeout=int(CONNECT_SECONDS * 1000),
            autocommit=True,
        )

    async def _found(self) -> Way:
        finding = asyncio.get_running_loop().run_in_executor(self._threads, way_to, self.target.instance_id)
        try:
            return await asyncio.shield(finding)
        except asyncio.CancelledError:  # too late: what it finds is given back when it does
            finding.add_done_callback(_given_back)
            raise

    async def _asked(self, session: psycopg.AsyncConnection) -> str:
        cursor = await session.execute(SAMPLE, prepare=True)
        row = await cursor.fetchone()
        return str(row[0]) if row else ""


def _given_back(finding: asyncio.Future[Way]) -> None:
    if not finding.cancelled() and finding.exception() is None:
        finding.result().close()


def _said(error: Exception) -> str:
    """In one line, for a person."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return inert((error.what if isinstance(error, HostError) else str(error)).strip().partition("\n")[0])
