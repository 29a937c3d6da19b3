"""ShellMachine: every verb of a machine on top of one ability, to run a command there with its streams.

A kind of machine (local, SSH) gives `stream`, `owner`, `login_path`, `port_free`, `reaches` and `forward`, nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from clusters.hosts import wrapper
from clusters.hosts.arguments import argv_checked, display, env_checked, path_checked, words_checked
from clusters.hosts.errors import CommandTimeout, OutcomeUnknown, VerbFailed, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.machine import Fence, Finished
from clusters.hosts.output import Bytes, Lines
from clusters.hosts.refusals import refusal, unmarked

VERB_SECONDS: Final = 30.0
ANSWER_BYTES: Final = 8 << 20

Sink = Callable[[bytes], None]


class TimedOut(Exception):
    """`stream` ran out of time, and ended the command (or did what it could to)."""


class Lost(Exception):
    """`stream` lost the connection while the command may have been running."""


@dataclass(frozen=True, slots=True)
class Call:
    """One command as it is sent. `shown` stands for it in sentences; neither it nor `argv` holds a secret, `stdin` may."""

    argv: Sequence[str]
    shown: str
    timeout: float
    stdin: bytes | None = field(default=None, repr=False)
    env: Mapping[str, str] = field(default_factory=dict)
    #: False: with the rights of the connection, not as the server's system user.
    as_owner: bool = True


class ShellMachine(ABC):
    """A machine with a POSIX sh: its commands. `files.FileVerbs` and `units.UnitVerbs` add the other verbs."""

    #: Seconds that a guarded command waits for the one before it to end; never more than half of its own time.
    patience = 20.0

    @abstractmethod
    def stream(self, call: Call, out: Sink, err: Sink) -> int:
        """Run `call.argv` to its end and give its exit code (negative: the signal that ended it).

        It gets an environment of PATH, HOME, LANG, LC_ALL and `call.env` alone, umask 077, `/` as its directory, and a session
        of its own. Raises TimedOut, Lost, or what `out` and `err` raise; in each case its process group was killed.
        """

    @abstractmethod
    def owner(self) -> str:
        """`uid:gid` of the machine's user."""

    @abstractmethod
    def login_path(self) -> str: ...

    @abstractmethod
    def port_free(self, address: str, port: int) -> bool: ...

    @abstractmethod
    def reaches(self, address: str, port: int, seconds: float) -> bool: ...

    @abstractmethod
    def forward(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]: ...

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        fence: Fence | None = None,
    ) -> Finished:
        command = argv_checked(argv)
        sent = self._request(wrapper.RUN, "run", command, fence, timeout) if fence else command
        out, err = Lines(on_line), Lines(on_line and (_own_lines(on_line) if fence else on_line))
        call = Call(sent, display(command), timeout, stdin, env_checked(env))
        code = self._converse(call, out.feed, err.feed, lambda: err.last() or out.last())
        out.close()
        err.close()
        if fence:
            self._look_at(call, code, err.text(), fence, only_marked=True)
        return Finished(code if code >= 0 else 128 - code, out.text(), err.text())

    def claim(self, fence: Fence) -> None:
        self.verb(wrapper.RUN, "claim", fence=fence)

    def verb(
        self,
        script: str,
        verb: str,
        *words: str,
        fence: Fence | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = VERB_SECONDS,
        answer_bytes: int = ANSWER_BYTES,
        as_owner: bool = True,
    ) -> bytes:
        """What a verb of the wrapper answers, to the byte. Raises what its refusal means."""
        shown = display([verb, *(word for word in words if "\n" not in word)])
        call = Call(self._request(script, verb, words, fence, timeout), shown, timeout, stdin, env or {}, as_owner)
        out, err = Bytes(answer_bytes), Lines()
        code = self._converse(call, out.feed, err.feed, err.last)
        err.close()
        if code:
            self._look_at(call, code, err.text(), fence)
        if out.overflow:
            raise VerbFailed(
                _("The answer of the server to “%(command)s” is larger than %(limit)s bytes."), command=shown, limit=answer_bytes
            )
        return out.bytes()

    def _request(self, script: str, verb: str, words: Sequence[str], fence: Fence | None, timeout: float) -> list[str]:
        """One call of the wrapper, as `guard.sh` describes it."""
        path, token = (path_checked(fence.path), str(fence.token)) if fence else ("", "0")
        tenths = str(int(min(timeout / 2, self.patience) * 10))
        return ["sh", "-c", script, "pgreplica", path, token, tenths, verb, *words_checked(words)]

    def _converse(self, call: Call, out: Sink, err: Sink, last: Callable[[], str]) -> int:
        """`stream`, with its exceptions turned into errors that have sentences."""
        try:
            return self.stream(call, out, err)
        except TimedOut:
            raise CommandTimeout(
                _("“%(command)s” had not ended after %(seconds)s s and was stopped. The last line it printed: %(last)s"),
                _("What it had done by then is not known: look at the server before doing it again."),
                command=call.shown,
                seconds=f"{call.timeout:g}",
                last=inert(last()) or "-",
            ) from None
        except Lost:
            raise OutcomeUnknown(
                _("The connection was lost while “%(command)s” was running; it may go on there, or have ended."),
                _("Look at the server before doing it again."),
                command=call.shown,
            ) from None

    def _look_at(self, call: Call, code: int, stderr: str, fence: Fence | None, only_marked: bool = False) -> None:
        """Raise what the wrapper's exit code means. `only_marked`: any other code is the guarded command's own."""
        if code < 0:
            raise OutcomeUnknown(
                _("The shell that ran “%(command)s” was killed by signal %(signal)s; it may have been done, in part or not at all."),
                _("Look at the server before doing it again."),
                command=call.shown,
                signal=-code,
            )
        if refused := refusal(code, stderr, fence.token if fence else 0):
            raise refused
        if not only_marked:
            raise unmarked(code, stderr)


def _own_lines(on_line: Callable[[str], None]) -> Callable[[str], None]:
    """Keep the wrapper's refusal out of the command's lines: it becomes an error."""
    return lambda line: None if line.startswith(wrapper.MARK) else on_line(line)
