from __future__ import annotations

import pytest

from clusters.hosts.output import LINE_BYTES, Bytes, Lines, bounded_line


def fed(chunks: list[bytes], keep: int = 1 << 20) -> tuple[list[str], str]:
    """The lines as they were handed on, and what was kept; the same is kept when nobody takes the lines."""
    seen: list[str] = []
    taken, untaken = Lines(seen.append, keep), Lines(None, keep)
    for chunk in chunks:
        taken.feed(chunk)
        untaken.feed(chunk)
    taken.close()
    untaken.close()
    assert (untaken.text(), untaken.last()) == (taken.text(), taken.last())
    return seen, taken.text()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def it_gives_the_same_lines_however_the_stream_is_cut_into_chunks(size: int) -> None:
    stream = "one\ntwo\r\n\nünï\x00code\nlast".encode()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert fed(chunks) == (["one", "two", "", "ünï\x00code", "last"], "one\ntwo\n\nünï\x00code\nlast")


def it_replaces_bytes_that_are_not_utf_8() -> None:
    assert fed([b"a\xff\xfeb\n"]) == (["a\ufffd\ufffdb"], "a\ufffd\ufffdb\n")


@pytest.mark.parametrize("line", [b"x" * 9000, b"\xff" * 9000, b"\xff" * LINE_BYTES, "é".encode() * 5000, b"\xf0\x9f" * 5000])
def it_cuts_a_long_line_at_8_kib_of_utf_8_and_says_so(line: bytes) -> None:
    cut = bounded_line(line)
    assert len(cut) <= LINE_BYTES
    assert len(cut) > LINE_BYTES - 20
    assert cut.decode().endswith(" […cut]")


@pytest.mark.parametrize("line", [b"x" * LINE_BYTES, "é".encode() * (LINE_BYTES // 2), b""])
def it_leaves_a_line_of_up_to_8_kib_as_it_is(line: bytes) -> None:
    assert bounded_line(line) == line


def it_keeps_the_first_and_the_last_half_and_says_how_much_lies_between() -> None:
    numbers = [f"{number:09}\n".encode() for number in range(100_000)]
    _seen, text = fed(numbers, keep=200_000)
    head, gap, tail = text.partition("[… 800000 bytes left out …]\n")
    assert gap
    assert head.splitlines() == [f"{number:09}" for number in range(10_000)]
    assert tail.splitlines() == [f"{number:09}" for number in range(90_000, 100_000)]


def it_hands_every_line_on_though_it_keeps_few() -> None:
    seen, text = fed([b"0123456789\n"] * 50_000, keep=20_000)
    assert len(seen) == 50_000
    assert len(text) <= 20_100


def it_knows_the_last_line_before_it_is_complete() -> None:
    lines = Lines()
    assert lines.last() == ""
    lines.feed(b"one\ntwo\n\n")
    assert lines.last() == "two"
    lines.feed(b"thr")
    assert lines.last() == "thr"


def it_takes_bytes_as_they_are_up_to_a_limit() -> None:
    taken = Bytes(5)
    taken.feed(b"\x00\xff\n")
    assert (taken.bytes(), taken.overflow) == (b"\x00\xff\n", False)
    taken.feed(b"abcdef")
    assert (taken.bytes(), taken.overflow) == (b"\x00\xff\nab", True)
