"""Waiting for what must come, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(answer: Callable[[], T], what: str, seconds: float = 60) -> T:
    """The first true answer. Fails, naming `what`, when none has come in time."""
    deadline = time.monotonic() + seconds
    while not (given := answer()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.01)
    return given
