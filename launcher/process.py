"""One supervised process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from launcher.account import Account
from launcher.output import Lines

BACK_OFF_SECONDS = (1.0, 30.0)  # the first pause before a restart, and the longest
STEADY_SECONDS = 60.0  # after this long without an end the next pause is the first again
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Program:
    """What to run, how to see that it is ready, and how to stop it.

    `orphan_signal` is what the system sends it when the runner dies without stopping it (Linux only).
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    directory: Path = Path("/")
    account: Account | None = None
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 10.0
    orphan_signal: int = signal.SIGKILL
    quiet: Sequence[str] = ()  # lines with one of these in them are not shown
    once: bool = False  # it has its work done when it ends with 0, and is not started again
    before: Callable[[], None] = field(default=lambda: None)  # runs before each start


class Child:
    """A program and, while it runs, its process. The supervisor's one thread calls everything here."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.lines = Lines()
        self.start_at: float | None = None  # when to start it again
        self._started_at = 0.0
        self.pause = 0.0  # before its last start

    @property
    def stream(self) -> IO[bytes]:
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout

    def start(self) -> None:
        program = self.program
        program.before()
        options: dict[str, Any] = program.account.popen() if program.account else {}
        self.process = subprocess.Popen(
            program.argv, env=dict(program.environment), cwd=program.directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            start_new_session=True,  # Ctrl-C is for the runner, which stops them in order
            preexec_fn=bind_to_parent(program.orphan_signal), **options,
        )  # fmt: skip
        os.set_blocking(self.stream.fileno(), False)
        self.lines, self.start_at, self._started_at = Lines(), None, time.monotonic()

    def ended(self) -> int | None:
        """The exit code of a process that has ended; negative: the signal that ended it. None while it runs."""
        return None if self.process is None else self.process.poll()

    def has_done_its_work(self) -> bool:
        return self.program.once and self.ended() == 0

    def plan_restart(self) -> float:
        """Decide when it starts again; returns the pause in seconds."""
        first, longest = BACK_OFF_SECONDS
        steady = time.monotonic() - self._started_at > STEADY_SECONDS
        self.pause = first if steady or not self.pause else min(self.pause * 2, longest)
        self.process, self.start_at = None, time.monotonic() + self.pause
        return self.pause

    def read(self) -> list[str] | None:
        """The lines written since the last call; None at the end of the output."""
        try:
            data = os.read(self.stream.fileno(), 65536)
        except BlockingIOError:
            return []
        return self.lines.feed(data) if data else None

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """End what is left of its process group: short commands of a worker that was killed. Detached work is in groups of its own."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return


def bind_to_parent(number: int) -> Callable[[], None]:
    """A function for the new process: the system sends it `number` when its parent dies. The parent's only thread starts it."""
    parent = os.getpid()
    prctl = getattr(_libc, "prctl", None)

    def bind() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # it died before we asked
                os.kill(os.getpid(), number)

    return bind
