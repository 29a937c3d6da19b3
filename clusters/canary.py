"""The canary writer: writes a row every few milliseconds as an application would, and knows which ones were acknowledged when.

It connects with the cluster's own multi-host connection string and target_session_attrs=read-write, so what it measures is
what an application that does the same feels (PostgreSQL manual, libpq, "Specifying Multiple Hosts").
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import psycopg

from clusters.postgres.names import SUPERUSER
from clusters.postgres.quoting import conninfo
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import WRITE_CANARY, Call
from clusters.secrets import Secret

PERIOD_SECONDS: Final = 0.005
AGAIN_SECONDS: Final = 0.01
CONNECT_SECONDS: Final = 2


@dataclass(frozen=True)
class Gap:
    """What the canary saw: the longest time without an acknowledged write, and the numbers of the rows that were acknowledged."""

    milliseconds: int
    acknowledged: frozenset[int]


class Canary:
    """A thread that writes until it is stopped. It never raises: an error is what it is there to measure."""

    def __init__(self, spec: InstanceSpec, password: Secret, job_id: int) -> None:
        self._job_id = job_id
        self._conninfo = canary_conninfo(spec)
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


def canary_conninfo(spec: InstanceSpec) -> str:
    """Every member's address, in one connection string that finds the one that accepts writes. Without password."""
    return conninfo(
        {
            "host": ",".join(member.address for member in spec.members),
            "port": ",".join(str(member.port) for member in spec.members),
            "user": spec.panel_role,
            "dbname": SUPERUSER,
            "target_session_attrs": "read-write",
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "pgreplica-canary",
        }
    )
