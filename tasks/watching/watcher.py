"""Asks one instance again and again over one kept connection. However it fails, it costs nobody else anything."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import psycopg
from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from clusters.hosts.errors import HostError, inert
from clusters.models import Instance
from clusters.postgres.facts import Unreadable
from clusters.postgres.names import SUPERUSER
from clusters.postgres.sampling import SAMPLE, Sampled
from clusters.postgres.statements import SAFE_PATH
from tasks.watching.look import Look, Target
from tasks.watching.reach import Door, Way
from tasks.watching.session import Session
from tasks.watching.threads import Attempts, way_closed

logger = logging.getLogger(__name__)

#: For an answer over a connection that is there, and for making one.
ANSWER_SECONDS: Final = 4.0
CONNECT_SECONDS: Final = 5.0
#: What does not answer is tried again at the next moment of its interval: two misses tell. From then on the pause doubles, up to this.
LONGEST_PAUSE: Final = 15.0


class Watcher:
    def __init__(self, target: Target, attempts: Attempts, interval: float) -> None:
        self.target = target
        self._attempts, self._interval = attempts, interval
        self._way: Way | None = None
        self._session: Session | None = None
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
            look = self._read(await self._session.answer(ANSWER_SECONDS))
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
        self.close()
        self._not_before = time.monotonic() + self._pause - self._interval / 2
        self._pause = min(max(2 * self._pause, self._interval), LONGEST_PAUSE)
        return Look(self.target, error=error)

    def _read(self, text: str) -> Look:
        """Raises: Unreadable."""
        sampled = Sampled.from_text(text)
        if self.target.system_identifier not in ("", sampled.system_identifier):
            return Look(self.target, error=f"another cluster answers there, with the system identifier {inert(sampled.system_identifier)}")
        return Look(self.target, sampled)

    def close(self) -> None:
        """Safe to repeat."""
        session, self._session = self._session, None
        way, self._way = self._way, None
        if session is not None:
            session.close()
        if way is not None:
            way_closed(way)

    async def _connected(self, door: Door) -> Session:
        self._way = await self._attempts.way(self.target.server_id, door)
        return await Session.opened(
            SAMPLE,
            ANSWER_SECONDS,
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
        )


def _said(error: Exception) -> str:
    """In one line, for a person."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return inert((error.what if isinstance(error, HostError) else str(error)).strip().partition("\n")[0])
