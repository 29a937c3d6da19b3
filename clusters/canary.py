"""The canary writer: writes a row every few milliseconds as an application would, and knows which ones were acknowledged when.

It connects with a multi-host connection string and target_session_attrs=read-write, so what it measures is what an application
that does the same feels (PostgreSQL manual, libpq, "Specifying Multiple Hosts"). Servers that the panel reaches by SSH it
reaches through that connection: pg_hba.conf admits the panel from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import psycopg

from clusters.postgres.names import SUPERUSER
from clusters.postgres.quoting import conninfo
from clusters.postgres.statements import SAFE_PATH, WRITE_CANARY, Call
from clusters.secrets import Secret

PERIOD_SECONDS: Final = 0.005
AGAIN_SECONDS: Final = 0.01
CONNECT_SECONDS: Final = 2

Way = AbstractContextManager[tuple[str, int]]


@dataclass(frozen=True)
class Gap:
    """What the canary saw: the longest time without an acknowledged write, and the numbers of the rows that were acknowledged."""

    milliseconds: int
    acknowledged: frozenset[int]


class Canary:
    """A thread that writes until it is stopped. It never raises: an error is what it is there to measure."""

    def __init__(self, ways: Sequence[Way], role: str, password: Secret, job_id: int) -> None:
        """`ways`: for each member a context in which it can be reached at the host and port it gives."""
        self._job_id = job_id
        with ExitStack() as stack:
            self._conninfo = canary_conninfo([stack.enter_context(way) for way in ways], role)
            self._ways = stack.pop_all()
        self._password = password
        self._acknowledged: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"canary-{job_id}", daemon=True)
        self._thread.start()

    def wait_for_writes(self, since: float = 0.0, seconds: float = 5.0) -> bool:
        """Whether a write was acknowledged later than `since` (time.monotonic()), within so many seconds."""
        end = time.monotonic() + seconds
        while not (self._acknowledged and self._acknowledged[-1][0] > since):
            if time.monotonic() > end:
                return False
            time.sleep(AGAIN_SECONDS)
        return True

    def close(self) -> None:
        self._ended.set()
        self._thread.join(CONNECT_SECONDS + 10)
        self._ways.close()

    def gap(self) -> Gap:
        """Stops the writing, and tells."""
        self.close()
        moments = [moment for moment, _number in self._acknowledged]
        longest = max((after - before for before, after in pairwise(moments)), default=0.0)
        return Gap(round(longest * 1000), frozenset(number for _moment, number in self._acknowledged))

    def _write(self) -> None:
        number = 0
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._conninfo, password=self._password.reveal(), autocommit=True) as session:
                    while not self._ended.is_set():
                        number += 1
                        session.execute(Call(WRITE_CANARY, {}, {"job": self._job_id, "number": number}).render())
                        self._acknowledged.append((time.monotonic(), number))
                        self._ended.wait(PERIOD_SECONDS)
            except psycopg.Error:  # nobody accepts writes right now: that is the gap it measures
                self._ended.wait(AGAIN_SECONDS)


def canary_conninfo(places: Sequence[tuple[str, int]], role: str) -> str:
    """Every member's place, in one connection string that finds the one that accepts writes. Without password."""
    return conninfo(
        {
            "host": ",".join(host for host, _port in places),
            "port": ",".join(str(port) for _host, port in places),
            "user": role,
            "dbname": SUPERUSER,
            "target_session_attrs": "read-write",
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "pgreplica-canary",
            "options": SAFE_PATH,
        }
    )
