"""Bounded output: however much a command prints, and whatever bytes, what is kept and passed on has a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

KEEP_BYTES: Final = 1 << 20
LINE_BYTES: Final = 8192
CUT: Final = " […cut]".encode()


def bounded_line(line: bytes) -> bytes:
    """`line` without its line end as valid UTF-8 of at most LINE_BYTES bytes, wrong bytes replaced by U+FFFD."""
    line = line.removesuffix(b"\r")
    if len(line) <= LINE_BYTES and line.isascii():
        return line
    text = line[: LINE_BYTES + 1].decode("utf-8", "replace").encode()
    if len(line) <= LINE_BYTES and len(text) <= LINE_BYTES:
        return text
    return text[: LINE_BYTES - len(CUT)].decode("utf-8", "ignore").encode() + CUT


def _is_plain(chunk: bytes, lines: list[bytes]) -> bool:
    """Whether no line of a chunk needs any change."""
    return chunk.isascii() and b"\r" not in chunk and max(map(len, lines)) <= LINE_BYTES


class Lines:
    """Takes the chunks of one stream; keeps the first and the last half of `keep` bytes, hands each line to `on_line`."""

    def __init__(self, on_line: Callable[[str], None] | None = None, keep: int = KEEP_BYTES) -> None:
        self._on_line, self._half = on_line, keep // 2
        self._line = bytearray()
        self._head, self._tail, self._head_full = bytearray(), bytearray(), False
        self._last = b""
        self.left_out = 0

    def feed(self, chunk: bytes) -> None:
        *whole, rest = chunk.split(b"\n")
        if not self._on_line and whole and not self._line and _is_plain(chunk, whole):
            # A flood that nobody reads line by line is kept, or dropped, by the chunk.
            self._last = next(filter(None, reversed(whole)), self._last)
            self._keep(chunk[: len(chunk) - len(rest)])
            whole = []
        for piece in whole:
            if self._line:
                self._grow(piece)
                piece = bytes(self._line)
                self._line.clear()
            self._take(piece)
        self._grow(rest)

    def close(self) -> None:
        """The stream ended: a last line without a line end counts too."""
        if self._line:
            self._take(bytes(self._line), end=b"")
            self._line.clear()

    def text(self) -> str:
        """What was kept; a sentence in square brackets stands where bytes were left out."""
        if len(self._tail) > self._half:
            self._trim()
        gap = f"[… {self.left_out} bytes left out …]\n".encode() if self.left_out else b""
        return (self._head + gap + self._tail).decode("utf-8", "replace")

    def last(self) -> str:
        """The last line that was not empty, complete or not."""
        return (bounded_line(bytes(self._line)) or self._last).decode("utf-8", "replace")

    def _grow(self, piece: bytes) -> None:
        # One byte above the limit is enough to know that the line must be cut.
        self._line += piece[: max(0, LINE_BYTES + 2 - len(self._line))]

    def _take(self, raw: bytes, end: bytes = b"\n") -> None:
        line = bounded_line(raw)
        self._last = line or self._last
        self._keep(line + end)
        if self._on_line:
            self._on_line(line.decode())

    def _keep(self, lines: bytes) -> None:
        """Whole lines, with their ends."""
        if not self._head_full and len(self._head) + len(lines) <= self._half:
            self._head += lines
            return
        self._head_full = True
        self._tail += lines
        if len(self._tail) > 2 * self._half:
            self._trim()

    def _trim(self) -> None:
        start = self._tail.find(b"\n", len(self._tail) - self._half - 1) + 1
        self.left_out += start
        del self._tail[:start]


class Bytes:
    """Takes the chunks of one stream as they are, up to `limit` bytes; `overflow` says whether there were more."""

    def __init__(self, limit: int) -> None:
        self._limit, self._kept, self.overflow = limit, bytearray(), False

    def feed(self, chunk: bytes) -> None:
        room = self._limit - len(self._kept)
        self.overflow = self.overflow or len(chunk) > room
        self._kept += chunk[:room]

    def bytes(self) -> bytes:
        return bytes(self._kept)
