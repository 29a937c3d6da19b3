"""One command over an SSH channel: its text as any login shell takes it, its streams, how it ends."""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from clusters.hosts.shell import Lost, Sink, TimedOut
from clusters.hosts.ssh_connection import Broken
from clusters.hosts.ssh_transport import OPEN_SECONDS
from clusters.hosts.wrapper import BEGIN

_CHUNK: Final = 1 << 15
#: What a login shell may print before the command begins; more is not kept.
_BEFORE_BYTES: Final = 1 << 16
#: When a command has ended, what it left in its pipes is read until they are closed, or nothing came for so long.
_QUIET_SECONDS: Final = 0.4
_REST_BYTES: Final = 1 << 20
#: How often a full send window is looked at again: paramiko has no event for it.
_WINDOW_SECONDS: Final = 0.02
#: What does not stand as it is in single quotes for sh, csh and fish alike.
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9 _./:=,@%+\"$(){}\[\]<>|&;*#?~^-]")


class NotBegun(Exception):
    """The command did not begin: the shell, or what was to become another user, ended with `code` and `said` why."""

    def __init__(self, code: int, said: str) -> None:
        self.code, self.said = code, said
        super().__init__(said)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A process on the server, as it named itself: its number, its process group, and the mark that proves it."""

    pid: str
    group: str
    mark: str


def for_any_shell(argv: Sequence[str]) -> str:
    """`argv` as one line that the user's login shell, whatever it is, hands to sh unharmed.

    Between single quotes stand only characters that no shell changes there; printf makes the others.
    """
    text = shlex.join(argv).encode("utf-8", "surrogateescape")
    safe = _UNSAFE.sub(lambda match: b"\\0%03o" % match[0][0], text).decode("ascii")
    return f"""exec sh -c 'eval "exec $(printf %b "$1")"' pgreplica '{safe}'"""


def environment(env: Mapping[str, str]) -> bytes:
    """The lines that `begin.sh` reads before the command's own input."""
    code = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
    return b"".join(b"x" + line + b"\n" for line in code.encode("utf-8", "surrogateescape").split(b"\n")[:-1]) + b".\n"


def begun(argv: Sequence[str], prefix: Sequence[str]) -> tuple[list[str], str]:
    """`argv` behind `begin.sh`, and the word by which its beginning is known."""
    word = secrets.token_hex(8)
    return [*prefix, "sh", "-c", BEGIN, "pgreplica", word, *argv], word


def _executed(channel: paramiko.Channel, text: str) -> bool:
    """As paramiko's exec_command, which would wait for ever; whether the server answered in time. `event_ready`: it said yes."""
    request = paramiko.Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("exec")
    request.add_boolean(True)
    request.add_string(text.encode())
    channel._event_pending()  # type: ignore[attr-defined]
    channel.get_transport()._send_user_message(request)  # type: ignore[attr-defined]
    return channel.event.wait(OPEN_SECONDS)


class _Bell:
    """What a paramiko buffer takes for an event: it rings when there is something, and never falls silent by itself."""

    def __init__(self, wake: threading.Event) -> None:
        self.set = wake.set

    def clear(self) -> None:
        pass


class _Ended(threading.Event):
    """A channel's status event, which rings too."""

    def __init__(self, wake: threading.Event) -> None:
        super().__init__()
        self._wake = wake

    def set(self) -> None:
        super().set()
        self._wake.set()


class _Stream:
    """Passes on what comes after the line with the word; keeps the end of what came before it."""

    def __init__(self, word: str, sink: Sink) -> None:
        self._start, self._sink = f"pgreplica {word}".encode(), sink
        self.before = bytearray()
        self.line: list[str] | None = None

    def feed(self, chunk: bytes) -> None:
        if self.line is not None:
            self._sink(chunk)
            return
        self.before += chunk
        at = self.before.find(self._start)
        end = self.before.find(b"\n", at) if at >= 0 else -1
        if end >= 0:
            self.line = self.before[at:end].decode("ascii", "replace").split(" ")
            rest = bytes(self.before[end + 1 :])
            del self.before[at:]
            if rest:
                self._sink(rest)
        elif len(self.before) > _BEFORE_BYTES:
            del self.before[: len(self.before) - _BEFORE_BYTES]


class Conversation:
    """Feeds and reads the streams of a command until it ends."""

    def __init__(self, channel: paramiko.Channel, word: str, stdin: bytes, out: Sink, err: Sink) -> None:
        self._channel, self._rest, self._shut = channel, memoryview(stdin), False
        self._out, self._err = _Stream(word, out), _Stream(word, err)
        self._wake = threading.Event()
        self._taken = 0

    @property
    def receipt(self) -> Receipt | None:
        """Who the command is; None while it has not begun."""
        line = self._out.line
        return Receipt(*line[2:5]) if line and len(line) == 5 else None

    def start(self, text: str) -> None:
        """Send the command, and hear that the server took it. Raises: Lost (it may have been sent), NotBegun."""
        channel, bell = self._channel, _Bell(self._wake)
        channel.in_buffer.set_event(bell)  # type: ignore[arg-type]  # it uses no more of an event than set and clear
        channel.in_stderr_buffer.set_event(bell)  # type: ignore[arg-type]
        channel.status_event = _Ended(self._wake)
        channel.settimeout(0)
        try:
            answered = _executed(channel, text)
        except Broken as error:
            raise Lost from error
        if not answered or not channel.get_transport().is_active():
            raise Lost
        if not channel.event_ready:
            raise NotBegun(-1, "the request was refused")

    def hold(self, deadline: float) -> int:
        """The exit code, negative for a signal. Raises: TimedOut, Lost, NotBegun, or what the takers of the streams raise."""
        while not self._ended():
            over = self._channel.closed or not self._channel.get_transport().is_active()
            moved = self._feed() + self._drain()
            left = deadline - time.monotonic()
            if self._ended():
                break
            if left <= 0:
                raise TimedOut
            if moved:
                continue
            if over:  # looked at before: how a command ended comes before the end of its channel
                raise Lost
            self._wake.wait(min(left, 1.0 if self._shut else _WINDOW_SECONDS))
            self._wake.clear()
        self._drain_rest()
        if self._out.line is None:
            raise NotBegun(self._channel.exit_status, (self._err.before or self._out.before).decode("utf-8", "replace"))
        return self._channel.exit_status

    def _ended(self) -> bool:
        return self._channel.exit_status != -1

    def _feed(self) -> int:
        """Send one piece of the input; its length, 0 when none could be sent now."""
        if self._shut:
            return 0
        sent = 0
        with contextlib.suppress(TimeoutError):  # the window is full
            try:
                sent = self._channel.send(bytes(self._rest[:_CHUNK])) if self._rest else 0
            except Broken as error:
                if isinstance(error, TimeoutError):
                    raise
                # The command does not want to know the rest, or the connection broke: how it ended says which.
                self._rest = self._rest[:0]
            self._rest = self._rest[sent:]
            if not self._rest:
                self._shut = True
                with contextlib.suppress(*Broken):
                    self._channel.shutdown_write()
        return sent

    def _drain(self) -> int:
        """Pass on what has come; its length."""
        out = self._received(self._channel.recv) if self._channel.recv_ready() else b""
        self._out.feed(out)
        err = self._received(self._channel.recv_stderr) if self._channel.recv_stderr_ready() else b""
        self._err.feed(err)
        return len(out) + len(err)

    @staticmethod
    def _received(receive: Callable[[int], bytes]) -> bytes:
        try:
            return receive(_CHUNK)  # it also tells the server that there is room again, which a broken connection does not let it
        except Broken as error:
            raise Lost from error

    def _drain_rest(self) -> None:
        """Read what the command left in its pipes, though others may hold them open and write on."""
        taken, quiet = 0, time.monotonic() + _QUIET_SECONDS
        while taken < _REST_BYTES and time.monotonic() < quiet:
            if moved := self._drain():
                taken, quiet = taken + moved, time.monotonic() + _QUIET_SECONDS
            elif self._channel.eof_received or self._channel.closed:
                return
            else:
                self._wake.wait(_WINDOW_SECONDS)
                self._wake.clear()
