"""Asks one instance again and again over one kept connection. However it fails, it costs nobody else anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

import psycopg
from django.db import DatabaseError
from psycopg import waiting
from psycopg_pool import PoolTimeout

from clusters.hosts.errors import HostError, inert
from clusters.models import Instance
from clusters.postgres.facts import Unreadable
from clusters.postgres.names import SUPERUSER
from clusters.postgres.sampling import SAMPLE, Sampled
from clusters.postgres.statements import SAFE_PATH
from tasks.watching.look import Look, Target
from tasks.watching.reach import Door, Way
from tasks.watching.threads import Attempts, way_closed

logger = logging.getLogger(__name__)

#: For an answer over a connection that is there, and for making one.
ANSWER_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 5.0
#: What does not answer is tried again at the next moment of its interval: two misses tell. From then on the pause doubles, up to this.
LONGEST_PAUSE: Final = 15.0


class _Session(psycopg.AsyncConnection):
    async def wait(self, gen: Any, interval: float = ANSWER_SECONDS, timeout: float | None = None) -> Any:
        """Who is cancelled goes at once: psycopg would first ask the server, which does not answer, to cancel the question."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


class Watcher:
    def __init__(self, target: Target, attempts: Attempts, interval: float) -> None:
        self.target = target
        self._attempts, self._interval = attempts, interval
        self._way: Way | None = None
        self._session: _Session | None = None
        self._pause, self._not_before = 0.0, 0.0

    async def look(self) -> Look | None:
        """None: it is not tried this time, since it could not be reached a moment ago, or the panel's own database does not answer."""
        if self._session is None and time.monotonic() < self._not_before:
            return None
        try:
            if self._session is None:
                door = await self._attempts.door(self.target.instance_id)
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._session = await self._connected(door)
            async with asyncio.timeout(ANSWER_SECONDS):
                said = await self._asked(self._session)
            look = self._read(said)
        except (DatabaseError, PoolTimeout):  # the panel's own: nothing is known of the instance
            return None
        except (psycopg.Error, HostError, Unreadable, OSError, TimeoutError, Instance.DoesNotExist) as error:
            return await self._failed(_said(error))
        except Exception as error:
            logger.exception("%s could not be asked", self.target.name)
            return await self._failed(f"the monitor failed: {type(error).__name__}")
        self._pause = 0.0
        return look

    async def _failed(self, error: str) -> Look:
        await self.close()
        self._not_before = time.monotonic() + self._pause - self._interval / 2
        self._pause = min(max(2 * self._pause, self._interval), LONGEST_PAUSE)
        return Look(self.target, error=error)

    def _read(self, text: str) -> Look:
        """Raises: Unreadable."""
        sampled = Sampled.from_text(text)
        if self.target.system_identifier not in ("", sampled.system_identifier):
            return Look(self.target, error=f"another cluster answers there, with the system identifier {inert(sampled.system_identifier)}")
        return Look(self.target, sampled)

    async def close(self) -> None:
        """Safe to repeat."""
        session, self._session = self._session, None
        way, self._way = self._way, None
        if session is not None:
            with contextlib.suppress(psycopg.Error):
                await session.close()
        if way is not None:
            way_closed(way)

    async def _connected(self, door: Door) -> _Session:
        self._way = await self._attempts.way(self.target.server_id, door)
        return await _Session.connect(
            host=self._way.host,
            port=self._way.port,
            user=door.role,
            password=door.password.reveal(),
            dbname=SUPERUSER,
            application_name="pgreplica-monitor",
            client_encoding="UTF8",
            options=f"-c statement_timeout={int(ANSWER_SECONDS * 1000)} {SAFE_PATH}",
            connect_timeout=int(CONNECT_SECONDS),
            tcp_user_timeout=int(CONNECT_SECONDS * 1000),
            autocommit=True,
        )

    async def _asked(self, session: _Session) -> str:
        cursor = await session.execute(SAMPLE, prepare=True)
        row = await cursor.fetchone()
        said = row[0] if row else ""
        return said.decode(errors="replace") if isinstance(said, bytes) else str(said)  # bytes: a database in SQL_ASCII


def _said(error: Exception) -> str:
    """In one line, for a person."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return inert((error.what if isinstance(error, HostError) else str(error)).strip().partition("\n")[0])
