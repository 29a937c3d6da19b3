"""Starts programs in order, each when the one before is ready; starts again what ends; stops all in the reverse order.

One thread: it reads the processes' output, waits for them and for signals. (With several, the function that runs in a new
process before its program could deadlock, and the parent-death signal would follow a thread.)
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

from launcher.complaint import CannotStart
from launcher.output import Output
from launcher.process import Child, Program

TICK_SECONDS = 0.05
START_SECONDS = 90.0


class StopRequested(Exception):
    """A person or the system asked the runner to stop."""


class Supervisor:
    def __init__(self, output: Output) -> None:
        self.output = output
        self.children: list[Child] = []
        self._stops = 0
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._listen_to_signals()

    def start(self, *programs: Program) -> None:
        """Start `programs` together and return when all are ready.

        Raises: CannotStart when one ends, or is not ready in time. StopRequested.
        """
        new = [Child(program) for program in programs]
        for child in new:
            self.children.append(child)
            self._spawn(child)
        self._wait_ready(new, time.monotonic() + START_SECONDS)

    def run(self) -> None:
        """Keep them running until a stop is asked for."""
        while True:
            self.turn()
            self._restart()

    def wait_for(self, done: Callable[[], bool]) -> None:
        """Go on forwarding output until `done`. Raises: StopRequested."""
        while not done():
            self.turn()

    def stop(self) -> None:
        """Stop all, the last started first. A second request to stop kills what is not a database."""
        self._stopping = True
        for child in reversed(self.children):
            self._stop_child(child)
        self._forget_signals()

    def turn(self, seconds: float = TICK_SECONDS) -> None:
        """Forward what has been written, for at most `seconds`. Raises: StopRequested, once."""
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Child):
                self._forward(key.data)
            else:
                self._signals.recv(64)
        if self._stops and not self._stopping:
            raise StopRequested

    def _spawn(self, child: Child) -> None:
        child.start()
        self._selector.register(child.stream, selectors.EVENT_READ, child)

    def _forward(self, child: Child) -> None:
        lines = child.read()
        if lines is None:
            self._forget(child)
            return
        for line in lines:
            if line.strip() and not any(words in line for words in child.program.quiet):
                self.output.line(child.program.name, line)

    def _forget(self, child: Child) -> None:
        if not child.stream.closed:
            self._selector.unregister(child.stream)
            child.stream.close()

    def _wait_ready(self, children: list[Child], deadline: float) -> None:
        waiting = list(children)
        while waiting:
            self.turn()
            waiting = [child for child in waiting if not self._is_ready(child)]
            if waiting and time.monotonic() > deadline:
                name = waiting[0].program.name
                raise CannotStart(f"the {name} process was not ready within {START_SECONDS:.0f} seconds; its last lines are above.")

    def _is_ready(self, child: Child) -> bool:
        code = child.ended()
        if code is None:
            return child.program.ready()
        if not child.has_done_its_work():
            self._drain(child)
            raise CannotStart(f"the {child.program.name} process ended while it was starting; its last lines are above.")
        return True

    def _restart(self) -> None:
        for child in self.children:
            code = child.ended()
            if code is not None:
                self._clean_up(child)
                if child.has_done_its_work():
                    self.children.remove(child)
                    return
                pause = child.plan_restart()
                self.output.say(f"{child.program.name} ended ({_how(code)}); it starts again in {pause:.0f} s")
            elif child.start_at is not None and time.monotonic() >= child.start_at:
                self._spawn(child)

    def _stop_child(self, child: Child) -> None:
        if child.process is None:
            return
        child.signal(child.program.stop_signal)
        deadline = time.monotonic() + child.program.stop_seconds
        while child.ended() is None and time.monotonic() < deadline and not self._in_a_hurry(child):
            self.turn()
        if child.ended() is None:
            child.signal(signal.SIGKILL)
            child.process.wait()
        self._clean_up(child)

    def _in_a_hurry(self, child: Child) -> bool:
        """A second Ctrl-C does not wait, except for programs that would have to recover (stop_seconds says how long they may need)."""
        return self._stops > 1 and child.program.orphan_signal == signal.SIGKILL

    def _drain(self, child: Child) -> None:
        """What it wrote last; not waiting for others that may have inherited its output."""
        deadline = time.monotonic() + 0.2
        while child.process is not None and not child.stream.closed and time.monotonic() < deadline:
            self.turn(0.02)

    def _clean_up(self, child: Child) -> None:
        self._drain(child)
        self._forget(child)
        child.kill_group()

    def _listen_to_signals(self) -> None:
        """A signal wakes the selector through a socket pair, wherever it arrives."""
        self._signals, self._other_end = socket.socketpair()
        self._signals.setblocking(False)
        self._other_end.setblocking(False)
        signal.set_wakeup_fd(self._other_end.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._signals, selectors.EVENT_READ, None)
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means: stay when the terminal goes
            self._handlers[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)
        for number in self._handlers:
            signal.signal(number, self._on_signal)

    def _forget_signals(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._signals.close()
        self._other_end.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"by {signal.Signals(-code).name}"
