"""What blocks, in a thread of its own that nobody waits for: not who started it, not the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def started(act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """In a daemon thread: `concurrent.futures` would wait for it when the process ends."""
    future: Future[T] = Future()

    def run() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(act(*args, **kwargs))
            except BaseException as error:  # whoever asked is told
                future.set_exception(error)

    threading.Thread(target=run, name=getattr(act, "__name__", "act"), daemon=True).start()
    return future
