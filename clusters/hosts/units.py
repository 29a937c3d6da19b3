"""The verbs about detached commands (units). `clusters.hosts.machine.Machine` has the contract of each."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import cast

from clusters.hosts.arguments import argv_checked, env_checked, tree_checked
from clusters.hosts.machine import Fence, Unit, UnitState
from clusters.hosts.shell import VERB_SECONDS, ShellMachine
from clusters.hosts.wrapper import RUNNER, UNITS


class UnitVerbs(ShellMachine):
    def start_unit(self, directory: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, fence: Fence | None = None) -> Unit:
        command = argv_checked(argv)
        words = (tree_checked(directory), RUNNER, shlex.join(command), *command)
        return _unit(self.verb(UNITS, "start", *words, env=env_checked(env), fence=fence))

    def unit(self, directory: str) -> Unit:
        return _unit(self.verb(UNITS, "unit", tree_checked(directory)))

    def follow_unit(self, directory: str, offset: int, seconds: float, limit: int = 1 << 16) -> tuple[Unit, bytes]:
        words = (tree_checked(directory), str(max(0, offset)), str(limit), str(math.ceil(seconds * 10)))
        answer = self.verb(UNITS, "follow", *words, answer_bytes=limit + 64, timeout=seconds + VERB_SECONDS)
        first, _newline, output = answer.partition(b"\n")
        state, code = first.decode().split(" ")
        return Unit(state=cast("UnitState", state), returncode=None if code == "-" else int(code)), output

    def stop_unit(self, directory: str, grace: float = 10, fence: Fence | None = None) -> Unit:
        words = (tree_checked(directory), str(math.ceil(grace * 10)))
        return _unit(self.verb(UNITS, "stop", *words, fence=fence, timeout=grace + VERB_SECONDS))

    def remove_unit(self, directory: str, fence: Fence | None = None) -> None:
        self.verb(UNITS, "remove_unit", tree_checked(directory), fence=fence)


def _unit(answer: bytes) -> Unit:
    """Reads what `print_unit` printed: a word, the state, the exit code and the process number (or -), then the command."""
    first, _newline, command = answer.decode("utf-8", "replace").partition("\n")
    word, state, code, pid = first.split(" ")
    return Unit(
        state=cast("UnitState", state),
        returncode=None if code == "-" else int(code),
        pid=None if pid == "-" else int(pid),
        command=command.rstrip("\n"),
        already=word == "already",
    )
