"""The nudge: at once where Redis answers, silent and cheap where it does not."""

from __future__ import annotations

import logging
import signal
import time

import pytest
from redis import Redis

from tasks.nudge import Bell, channel
from tests.live import Valkey
from tests.waiting import wait_until


def it_rings_on_the_channel_of_the_job() -> None:
    with Valkey() as valkey:
        listener = Redis.from_url(valkey.url).pubsub()
        listener.subscribe(channel(7))
        wait_until(lambda: (listener.get_message() or {}).get("type") == "subscribe", "subscribed")
        assert Bell(valkey.url).ring(7, 42)
        message = listener.get_message(timeout=5)
        assert message is not None
        assert (message["channel"], message["data"]) == (b"pgreplica:job:7", b"42")


def it_warns_once_and_is_cheap_while_redis_is_dead_and_rings_again_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.nudge.BACK_OFF", 0.2)
    with Valkey() as valkey, caplog.at_level(logging.WARNING):
        bell = Bell(valkey.url)
        valkey.stop(signal.SIGKILL)
        began = time.monotonic()
        assert [bell.ring(1, n) for n in range(1000)] == [False] * 1000
        assert time.monotonic() - began < 2
        wait_until(lambda: len(caplog.records) == 1 and not bell.ring(1, 1), "it still warned only once")
        valkey.start()
        wait_until(lambda: bell.ring(1, 1), "it rings again")


def it_costs_a_frozen_redis_no_more_than_its_timeout() -> None:
    with Valkey() as valkey:
        bell = Bell(valkey.url)
        assert bell.ring(1, 1)
        assert valkey.process is not None
        valkey.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert [bell.ring(1, n) for n in range(100)] == [False] * 100
        assert time.monotonic() - began < 3
        valkey.process.send_signal(signal.SIGCONT)
