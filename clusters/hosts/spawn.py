"""Run one process of this machine with its streams, bounded in time and in memory."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from clusters.hosts.shell import Sink, TimedOut

_CHUNK: Final = 1 << 16
#: How long a process group may take to end after TERM, before KILL; and after KILL before it is left to the system.
_GRACE_SECONDS: Final = 2.0
#: A pipe holds no more than this (Linux, pipe-max-size): what lies in it when the process has ended is still read.
_PIPE_BYTES: Final = 1 << 20
_POLL_SECONDS: Final = 0.02


class NotStarted(Exception):
    """The process could not be started; `number` is the errno."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(os.strerror(number))


def spawn(argv: Sequence[str], *, stdin: bytes | None, timeout: float, out: Sink, err: Sink, **options: Any) -> int:
    """Run `argv` in a session of its own until it ends; gives subprocess's return code. `options` go to Popen.

    Descendants that keep its pipes open (a server it started) do not hold it up. Raises NotStarted, TimedOut, or what `out`
    and `err` raise; whatever is raised after the start, its process group is killed first.
    """
    deadline = time.monotonic() + timeout
    process = _started(argv, subprocess.DEVNULL if stdin is None else subprocess.PIPE, options)
    try:
        with _Conversation(process, stdin, out, err) as conversation:
            conversation.hold(deadline)
    except BaseException:
        _kill_group(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
    return process.wait()


def _started(argv: Sequence[str], stdin: int, options: dict[str, Any]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0, **options
        )
    except OSError as error:
        raise NotStarted(error.errno or 0) from error


class _Conversation:
    """Feeds and reads the streams of a process until it ends."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None, out: Sink, err: Sink) -> None:
        assert process.stdout
        assert process.stderr
        self._process, self._rest = process, memoryview(stdin or b"")
        self._sinks = {process.stdout.fileno(): out, process.stderr.fileno(): err}
        self._selector = selectors.DefaultSelector()
        self._pidfd = _pidfd(process.pid)
        self._ended = False

    def __enter__(self) -> _Conversation:
        for fd in self._sinks:
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, self._read)
        if self._process.stdin:
            os.set_blocking(self._process.stdin.fileno(), False)
            self._selector.register(self._process.stdin.fileno(), selectors.EVENT_WRITE, self._write)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, self._end)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._selector.close()
        if self._pidfd is not None:
            os.close(self._pidfd)

    def hold(self, deadline: float) -> None:
        while not self._ended:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut
            for key, _events in self._selector.select(left if self._pidfd is not None else min(left, _POLL_SECONDS)):
                key.data(key.fd)
            if self._pidfd is None:
                self._ended = self._process.poll() is not None
        self._drain()

    def _end(self, _fd: int) -> None:
        self._ended = True

    def _read(self, fd: int) -> int:
        """Pass one chunk on; gives its length, 0 when there is none now. An ended stream is not looked at again."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return 0
        if chunk:
            self._sinks[fd](chunk)
        else:
            self._selector.unregister(fd)
        return len(chunk)

    def _write(self, fd: int) -> None:
        try:
            self._rest = self._rest[os.write(fd, self._rest[:_CHUNK]) :]
        except BrokenPipeError:
            # The command does not want to know the rest; how it ended says whether that was right.
            self._rest = self._rest[:0]
        if not self._rest:
            self._selector.unregister(fd)
            assert self._process.stdin
            self._process.stdin.close()

    def _drain(self) -> None:
        """Read what the process left in its pipes, though others may hold them open and write on."""
        for fd in self._sinks:
            taken = 0
            while fd in self._selector.get_map() and taken < _PIPE_BYTES and (read := self._read(fd)):
                taken += read


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none (then it is polled)."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL to the process group. Its number cannot have been given to others while the leader is not waited for."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        _await_end(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
    # A process that hangs in the kernel (a dead disk) outlives even KILL; the caller must not hang with it.
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    _await_empty(process.pid)


def _await_empty(group: int) -> None:
    """KILL is carried out a moment after it was sent: the caller may count on that nothing of the group runs any more."""
    deadline = time.monotonic() + _GRACE_SECONDS
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(_POLL_SECONDS / 10)


def _await_end(pid: int) -> None:
    """Wait until the process has ended, at most the grace, without reaping it."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and not _has_ended(pid):
        time.sleep(_POLL_SECONDS)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, without reaping it. Where the system cannot say (macOS), it counts as still there."""
    return hasattr(os, "waitid") and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
