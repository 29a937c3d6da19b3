"""Whether the panel lives (`/healthz`) and whether it can do all of its work (`/readyz`), for probes and load balancers.

They say no more than that, so they need no sign-in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from celery import current_app
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import OperationalError
from psycopg_pool import PoolTimeout
from redis import RedisError

from clusters.selectors import monitor_watches
from tasks.pulses import Part, lives

BROKER_SECONDS = 1
WORKER_SECONDS: Final = 1.0
#: Workers are asked once in so many seconds, whoever asks us how often: a stranger's requests make no work for them.
ASKED_EVERY: Final = 5.0


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the database answers; 503 else. A broker that does not answer is said, but stops nothing: the sweeper sends again."""
    database, broker = _database(), _broker()
    status = "ok" if database and broker else "degraded" if database else "down"
    answer = {"status": status, "database": database, "broker": broker}
    return JsonResponse(answer, status=200 if database else 503, headers={"Cache-Control": "no-store"})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 while the database and the broker answer, a worker too, and monitor and alerter go round; 503 else, and which do."""
    database = _database()
    parts = {
        "database": database,
        "broker": _broker(),
        "workers": _workers.answer(),
        "monitor": database and _true(monitor_watches),
        "alerter": database and _true(lambda: lives(Part.ALERTER)),
    }
    ready = all(parts.values())
    answer = {"status": "ready" if ready else "not ready", **parts}
    return JsonResponse(answer, status=200 if ready else 503, headers={"Cache-Control": "no-store"})


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, PoolTimeout):
        return False
    return True


def _broker() -> bool:
    try:
        with _broker_reached():
            return True
    except (OperationalError, OSError):
        return False


@contextmanager
def _broker_reached() -> Iterator[Connection]:
    """Raises soon: left to itself, kombu tries again and again for seconds."""
    with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=BROKER_SECONDS)
        yield broker


class _Workers:
    """Whether at least one worker answers, as it was found at most `ASKED_EVERY` ago."""

    def __init__(self) -> None:
        self._lock, self._asked_at, self._answered = threading.Lock(), -ASKED_EVERY, False

    def answer(self) -> bool:
        with self._lock:
            if time.monotonic() - self._asked_at >= ASKED_EVERY:
                self._answered, self._asked_at = _worker_answers(), time.monotonic()
            return self._answered


_workers = _Workers()


def _worker_answers() -> bool:
    try:
        with _broker_reached() as broker:
            return bool(current_app.control.ping(timeout=WORKER_SECONDS, limit=1, connection=broker))
    except (OperationalError, OSError, RedisError):
        return False


def _true(question: Callable[[], bool]) -> bool:
    """As the panel's database answers; False where it does not."""
    try:
        return question()
    except (DatabaseError, PoolTimeout):
        return False
