"""The runner's output: each line under the name of the process that wrote it, in colour on a terminal only."""

from __future__ import annotations

import os
import sys
from typing import TextIO

COLOURS = {"database": 34, "broker": 35, "web": 32, "worker": 36, "beat": 33, "monitor": 31, "alerter": 95}
WIDTH = 8
LINE_BYTES = 8192


class Output:
    """Writes prefixed lines. When nobody reads any more (a closed pipe) it falls silent; the panel goes on."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours = self._stream.isatty() and "NO_COLOR" not in os.environ

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{WIDTH}} | "
        if self._colours and name in COLOURS:
            prefix = f"\033[{COLOURS[name]}m{prefix}\033[0m"
        self.write(prefix + printable(text))

    def say(self, sentence: str) -> None:
        self.line("panel", sentence)

    def write(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except UnicodeEncodeError:
            print(text.encode("ascii", "replace").decode(), file=self._stream, flush=True)


def printable(text: str) -> str:
    """Without control characters, which could rewrite the terminal; a tab stays."""
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in text)


class Lines:
    """Cuts a stream of bytes into lines; one longer than 8 KB is cut there."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        return [line[:LINE_BYTES].decode("utf-8", "replace").rstrip("\r") for line in whole]
