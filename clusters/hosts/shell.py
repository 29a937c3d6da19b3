"""ShellMachine: every verb of a machine on top of one ability, to run a command there with its streams.

A kind of machine (local, later SSH) gives `stream`, `port_free` and `forward`, nothing else.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, cast

from clusters.hosts import wrapper
from clusters.hosts.arguments import argv_checked, display, env_checked, path_checked, tree_checked
from clusters.hosts.errors import ArgumentRefused, CommandTimeout, OutcomeUnknown, PathRefused, VerbFailed, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.machine import Disk, Fence, Finished, Kind, Unit, UnitState
from clusters.hosts.output import Bytes, Lines
from clusters.hosts.refusals import refusal, unmarked

VERB_SECONDS: Final = 30.0
DELETE_SECONDS: Final = 3600.0
#: How long a guarded command waits for the one before it to end.
PATIENCE_SECONDS: Final = 20.0
_ANSWER_BYTES: Final = 8 << 20
_DF = re.compile(r"^.*?\s(\d+)\s+(\d+)\s+(-?\d+)\s+\S+\s+(/.*)$", re.DOTALL)


class TimedOut(Exception):
    """`stream` ran out of time, and ended the command (or did what it could to)."""


class Lost(Exception):
    """`stream` lost the connection while the command may have been running."""


class ShellMachine(ABC):
    """A machine with a POSIX sh. See `clusters.hosts.machine.Machine` for the contract of each verb."""

    @abstractmethod
    def stream(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None,
        env: Mapping[str, str],
        timeout: float,
        out: Callable[[bytes], None],
        err: Callable[[bytes], None],
        as_owner: bool = True,
    ) -> int:
        """Run `argv` to its end and give its exit code (negative: the signal that ended it).

        Starts with an environment of PATH, HOME, LANG, LC_ALL and `env` alone, umask 077, in a directory it may read, in a
        session of its own. `as_owner=False`: with the rights of the connection, not as the server's system user.
        Raises TimedOut, Lost, or what `out` and `err` raise; in each case the command's process group was killed.
        """

    @abstractmethod
    def port_free(self, address: str, port: int) -> bool: ...

    @abstractmethod
    def forward(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]: ...

    @abstractmethod
    def owner(self) -> str:
        """`uid:gid` of the machine's user."""

    @abstractmethod
    def login_path(self) -> str: ...

    # -- commands

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
        command, env = argv_checked(argv), env_checked(env)
        sent = _request(wrapper.RUN, "run", command, fence, timeout) if fence else command
        out, err = Lines(on_line), Lines(_unmarked_lines(on_line) if fence and on_line else on_line)
        code = self._stream(sent, display(command), lambda: err.last or out.last, stdin, env, timeout, out.feed, err.feed)
        out.close()
        err.close()
        if fence:
            if code < 0:
                raise _killed(display(command), code)
            if refused := refusal(code, err.text(), fence.token):
                raise refused
        return Finished(code if code >= 0 else 128 - code, out.text(), err.text())

    def _stream(
        self,
        sent: Sequence[str],
        shown: str,
        last: Callable[[], str],
        stdin: bytes | None,
        env: Mapping[str, str],
        timeout: float,
        out: Callable[[bytes], None],
        err: Callable[[bytes], None],
        as_owner: bool = True,
    ) -> int:
        try:
            return self.stream(sent, stdin=stdin, env=env, timeout=timeout, out=out, err=err, as_owner=as_owner)
        except TimedOut:
            raise CommandTimeout(
                _("“%(command)s” had not ended after %(seconds)s s and was stopped. Its last line was: %(last)s"),
                _("What it had done by then is not known: look at the server before doing it again."),
                command=shown,
                seconds=f"{timeout:g}",
                last=inert(last()) or "-",
            ) from None
        except Lost:
            raise OutcomeUnknown(
                _("The connection was lost while “%(command)s” was running; it may go on there, or have ended."),
                _("Look at the server before doing it again."),
                command=shown,
            ) from None

    def verb(
        self,
        script: str,
        verb: str,
        *arguments: str,
        fence: Fence | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = VERB_SECONDS,
        as_owner: bool = True,
    ) -> bytes:
        """What a verb of the wrapper answers, to the byte. Raises what its refusal means."""
        out, err = Bytes(_ANSWER_BYTES), Lines()
        shown = display([verb, *(argument for argument in arguments if "\n" not in argument)])
        sent = _request(script, verb, arguments, fence, timeout)
        code = self._stream(sent, shown, err.text, stdin, env or {}, timeout, out.feed, err.feed, as_owner)
        err.close()
        if code < 0:
            raise _killed(shown, code)
        if code:
            raise refusal(code, err.text(), fence.token if fence else 0) or unmarked(code, err.text())
        if out.overflow:
            raise VerbFailed(
                _("The answer of the server to “%(command)s” is larger than %(limit)s bytes."), command=shown, limit=_ANSWER_BYTES
            )
        return out.bytes()

    # -- files

    def read_file(self, path: str, limit: int = 1 << 20) -> bytes | None:
        answer = self.verb(wrapper.FILES, "read", path_checked(path), str(limit + 1))
        if len(answer) > limit + 1:
            raise PathRefused("too-large", _("%(path)s is larger than %(limit)s bytes, so it was not read."), path=inert(path), limit=limit)
        return _answered(answer)

    def read_tail(self, path: str, limit: int = 1 << 16) -> bytes | None:
        return _answered(self.verb(wrapper.FILES, "tail", path_checked(path), str(limit)))

    def write_file(self, path: str, data: bytes, mode: int = 0o600, fence: Fence | None = None) -> None:
        self.verb(wrapper.FILES, "write", tree_checked(path), f"{mode:o}", str(len(data)), fence=fence, stdin=data)

    def make_directory(self, path: str, mode: int = 0o700, fence: Fence | None = None) -> None:
        self.verb(wrapper.FILES, "mkdir", path_checked(path), f"{mode:o}", fence=fence)

    def make_base_directory(self, path: str) -> None:
        self.verb(wrapper.FILES, "base", tree_checked(path), self.owner(), as_owner=False)

    def move(self, source: str, target: str, fence: Fence | None = None) -> None:
        self.verb(wrapper.FILES, "move", tree_checked(source), tree_checked(target), fence=fence)

    def exists(self, path: str) -> bool:
        return self.kind(path) != "absent"

    def kind(self, path: str) -> Kind:
        return cast("Kind", self.verb(wrapper.FILES, "kind", path_checked(path)).decode().strip())

    def list_directory(self, path: str) -> list[str] | None:
        answer = _answered(self.verb(wrapper.FILES, "list", path_checked(path)))
        return None if answer is None else sorted(os.fsdecode(name) for name in answer.split(b"\0")[:-1])

    def remove_owned_tree(self, path: str, owner_file: str, owner_text: str, fence: Fence | None = None) -> bool:
        if "/" in owner_file or owner_file in ("", ".", "..") or not owner_text.strip():
            raise ArgumentRefused(_("The owner file must be a name in the directory, and its text must say something."))
        words = (tree_checked(path), owner_file, owner_text.rstrip("\n"))
        return self.verb(wrapper.FILES, "remove_tree", *words, fence=fence, timeout=DELETE_SECONDS) != b"absent\n"

    # -- what there is

    def free_bytes(self, path: str) -> int:
        return self.disks([path])[0].free_bytes

    def disks(self, paths: Sequence[str]) -> list[Disk]:
        answer = self.verb(wrapper.FILES, "disks", *(path_checked(path) for path in paths)).decode("utf-8", "replace")
        found = [_DF.match(line) for line in answer.splitlines()]
        if len(found) != len(paths) or not all(found):
            raise VerbFailed(_("The server's df answered in a form the panel does not know: %(answer)s"), answer=inert(answer))
        rows = [match.groups() for match in found if match]
        return [Disk(path, row[3], int(row[0]) * 1024, max(0, int(row[2])) * 1024) for path, row in zip(paths, rows, strict=True)]

    def directory_bytes(self, path: str) -> int:
        return int(self.verb(wrapper.FILES, "size", path_checked(path), timeout=10 * VERB_SECONDS)) * 1024

    def facts(self) -> dict[str, str | int]:
        said = dict(line.split("=", 1) for line in self.verb(wrapper.FILES, "facts").decode("utf-8", "replace").splitlines() if "=" in line)
        memory = _number(said.get("memory_bytes")) or _number(said.get("memory_kilobytes")) * 1024
        texts = {name: inert(said.get(name, "")) for name in ("system", "release", "machine", "libc", "hostname")}
        return {**texts, "cpus": _number(said.get("cpus")), "memory_bytes": memory}

    # -- detached commands

    def start_unit(self, directory: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, fence: Fence | None = None) -> Unit:
        command = argv_checked(argv)
        words = (tree_checked(directory), wrapper.RUNNER, shlex.join(command), *command)
        return _unit(self.verb(wrapper.UNITS, "start", *words, env=env_checked(env), fence=fence))

    def unit(self, directory: str) -> Unit:
        return _unit(self.verb(wrapper.UNITS, "unit", tree_checked(directory)))

    def unit_output(self, directory: str, offset: int = 0, limit: int = 1 << 16) -> bytes:
        return self.verb(wrapper.UNITS, "output", tree_checked(directory), str(offset), str(limit))

    def stop_unit(self, directory: str, grace: float = 10, fence: Fence | None = None) -> Unit:
        words = (tree_checked(directory), str(math.ceil(grace * 10)))
        return _unit(self.verb(wrapper.UNITS, "stop", *words, fence=fence, timeout=grace + VERB_SECONDS))

    def remove_unit(self, directory: str, fence: Fence | None = None) -> None:
        self.verb(wrapper.UNITS, "remove_unit", tree_checked(directory), fence=fence)


def _request(script: str, verb: str, arguments: Sequence[str], fence: Fence | None, timeout: float) -> list[str]:
    """One call of the wrapper, as `guard.sh` describes it."""
    path, token = (path_checked(fence.path), str(fence.token)) if fence else ("", "0")
    patience = str(int(min(timeout * 0.8, PATIENCE_SECONDS) * 10))
    return ["sh", "-c", script, "pgreplica", path, token, patience, verb, *argv_words(arguments)]


def argv_words(arguments: Sequence[str]) -> Sequence[str]:
    if any("\0" in word for word in arguments):
        raise ArgumentRefused(_("A word of the command holds a NUL character."))
    return arguments


def _unmarked_lines(on_line: Callable[[str], None]) -> Callable[[str], None]:
    """Keep the wrapper's own refusal out of the command's lines: it becomes an error."""
    return lambda line: None if line.startswith(wrapper.MARK) else on_line(line)


def _killed(shown: str, code: int) -> OutcomeUnknown:
    return OutcomeUnknown(
        _("The shell that ran “%(command)s” was killed by signal %(signal)s; the command may have been done, in part or not at all."),
        _("Look at the server before doing it again."),
        command=shown,
        signal=-code,
    )


def _answered(answer: bytes) -> bytes | None:
    """The rest of an answer that began with + (there is such a file); None when it began with -."""
    return answer[1:] if answer[:1] == b"+" else None


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _unit(answer: bytes) -> Unit:
    first, _newline, command = answer.decode("utf-8", "replace").partition("\n")
    word, state, code, pid = first.split(" ")
    return Unit(
        state=cast("UnitState", state),
        returncode=_number(code) if code != "-" else None,
        pid=_number(pid) or None,
        command=command.rstrip("\n"),
        already=word == "already",
    )
