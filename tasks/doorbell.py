"""The doorbell: Redis says "look again" about a job. It carries no data, and nothing is lost while it is silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: The journal publishes on this plus the job's number.
CHANNEL_PREFIX: Final = "pgreplica:job:"

SILENCE_SECONDS: Final = 5.0  # after this long without a word Redis is asked for one; after as long again it is dead
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Doorbell:
    """One Redis connection for all jobs of this process. While `up` is false a ring would not be heard: poll faster."""

    def __init__(self, url: str, ring: Callable[[int | None], None]) -> None:
        """`ring(job_id)` is called for each ring, `ring(None)` when the connection is back: any job may have been missed."""
        self.up = False
        self._url, self._ring = url, ring

    async def listen(self) -> None:
        """Listen until cancelled; come back after every failure."""
        pause = 0.0
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                if self.up or not pause:
                    log.warning("Redis does not answer (%s): live logs ask the database until it does.", error)
                pause = FIRST_PAUSE_SECONDS if self.up else min(pause * 2 or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            finally:
                self.up = False
            await asyncio.sleep(pause)

    async def _listen_once(self) -> None:
        client = Redis.from_url(self._url, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))
        async with client, client.pubsub() as pubsub:
            await pubsub.psubscribe(CHANNEL_PREFIX + "*")
            while True:
                self._heard(await _next_word(pubsub))

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] == "psubscribe":
            self.up = True
            self._ring(None)
        elif message["type"] == "pmessage":
            number = message["channel"].decode("ascii", "replace").removeprefix(CHANNEL_PREFIX)
            if number.isdecimal():
                self._ring(int(number))


async def _next_word(pubsub: PubSub) -> dict[str, Any]:
    """The next message of any type. Raises TimeoutError when Redis has stopped talking (a hung server keeps its socket open)."""
    message: dict[str, Any] | None = await pubsub.get_message(timeout=SILENCE_SECONDS)
    if message is None:
        await pubsub.ping()
        message = await pubsub.get_message(timeout=SILENCE_SECONDS)
    if message is None:
        raise TimeoutError("no word from Redis")
    return message
