"""How a response that never ends learns that the server stops.

uvicorn tells the application only after every response has ended, so a stream would be waited for until the grace period is over
and then cut. Its signal handler is therefore followed by ours.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

Handler = Callable[[int, FrameType | None], object]


def on_shutdown(callback: Callable[[], None]) -> None:
    """Have `callback` called in the running event loop when uvicorn is told to stop. Under another server nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler) and isinstance(getattr(handler, "__self__", None), uvicorn.Server):
            signal.signal(number, _followed(handler, loop, callback))


def _followed(handler: Handler, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Handler:
    def both(number: int, frame: FrameType | None) -> None:
        handler(number, frame)
        loop.call_soon_threadsafe(callback)

    return both
