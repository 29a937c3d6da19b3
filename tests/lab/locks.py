"""One at a time: a file that the kernel unlocks when its holders have ended, however they end."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tests.lab.commands import LabError
from tests.waiting import wait_until

#: As long as another run of the lab's tests may take.
SECONDS = 1800


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Alone with what `path` stands for. Whoever inherits the descriptor holds it, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        wait_until(lambda: _taken(descriptor), str(path), SECONDS)
    except AssertionError:
        raise LabError(f"another process has held {path} for {SECONDS} s; end it, or wait for it") from None


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
