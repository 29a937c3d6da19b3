"""A program with its arguments, what it reads, and why it is run: what the panel says before it does anything on a server."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from clusters.secrets import MASK, Secret

#: Messages in English, so that they can be read back; `facts` parses some of them.
ENGLISH: Final[Mapping[str, str]] = {"LC_ALL": "C"}

StopMode = Literal["smart", "fast", "immediate"]


@dataclass(frozen=True)
class Command:
    """A program with its arguments, what it reads, and a sentence on why it is run.

    `by_hand`: what a person would type for it, where the panel's own line is that and the waiting around it.
    """

    argv: tuple[str, ...]
    stdin: str | Secret | None = None
    env: Mapping[str, str] = field(default_factory=lambda: dict(ENGLISH))
    purpose: str = ""
    by_hand: str = ""

    def display(self) -> str:
        """One line that a person could paste into a shell; what it reads is shown unless it is a secret."""
        if self.by_hand:
            return self.by_hand
        env = [f"{name}={shlex.quote(value)}" for name, value in self.env.items() if name not in ENGLISH]
        line = " ".join([*env, shlex.join(self.argv)])
        if self.stdin is None:
            return line
        return f"{line} <<< {MASK if isinstance(self.stdin, Secret) else shlex.quote(self.stdin)}"

    def stdin_bytes(self) -> bytes | None:
        """What to feed the program, in clear. For the one who runs it, nobody else."""
        text = self.stdin.reveal() if isinstance(self.stdin, Secret) else self.stdin
        return None if text is None else text.encode()
