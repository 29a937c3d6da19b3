"""The doorbell of the live log: Redis says "look again" and nothing more. It may be dead; then viewers look by themselves."""

from __future__ import annotations

import logging
import time
from functools import lru_cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

TIMEOUT = 0.3  # seconds; what a dead or frozen Redis may cost, once each back-off
BACK_OFF = 5.0


def channel(job_id: int) -> str:
    return f"pgreplica:job:{job_id}"


class Bell:
    """Publishes to a job's channel. Never raises because of Redis: one warning, then silence for a while."""

    def __init__(self, url: str) -> None:
        # redis-py would by itself try again for seconds
        once = Retry(NoBackoff(), 0)
        self._client = redis.Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=once)
        self._quiet_until = 0.0
        self._warned = False

    def ring(self, job_id: int, last_event: int) -> bool:
        """Whether the nudge was sent."""
        if time.monotonic() < self._quiet_until:
            return False
        try:
            self._client.publish(channel(job_id), last_event)
        except redis.RedisError as error:
            self._quiet_until = time.monotonic() + BACK_OFF
            if not self._warned:
                logger.warning("Redis does not answer (%s). Nothing is lost; live logs update more slowly until it is back.", error)
            self._warned = True
            return False
        self._warned = False
        return True

    def close(self) -> None:
        self._client.close()


@lru_cache(maxsize=1)
def bell() -> Bell:
    """The process's one bell; redis-py's client is safe to share between threads and across forks."""
    return Bell(settings.REDIS_URL)


def nudge(job_id: int, last_event: int = 0) -> bool:
    return bell().ring(job_id, last_event)
