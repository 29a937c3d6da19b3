from __future__ import annotations

import io
import os

import pytest

from launcher.output import Lines, Output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def it_puts_the_name_before_each_line() -> None:
    stream = io.StringIO()
    Output(stream).line("web", "hello")
    Output(stream).say("ready")
    assert stream.getvalue() == "web      | hello\npanel    | ready\n"


def it_colours_on_a_terminal_only_and_not_where_colour_is_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    Output(terminal).line("web", "hello")
    monkeypatch.setenv("NO_COLOR", "1")
    Output(terminal).line("web", "hello")
    assert terminal.getvalue() == "\033[32mweb      | \033[0mhello\nweb      | hello\n"


def it_shows_control_characters_as_question_marks() -> None:
    stream = io.StringIO()
    Output(stream).line("worker", "a\033[2Jb\x07c\td é")
    assert stream.getvalue() == "worker   | a?[2Jb?c\td é\n"


def it_goes_on_silently_when_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = Output(stream)
        output.say("first")
        output.say("second")


def it_writes_what_a_narrow_terminal_can_show() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(stream).say("é")
    stream.seek(0)
    assert stream.read() == "panel    | ?\n"


def it_cuts_the_stream_into_lines_wherever_the_chunks_end() -> None:
    lines = Lines()
    assert [lines.feed(chunk) for chunk in (b"on", b"e\ntwo\r\nth", b"ree\n")] == [[], ["one", "two"], ["three"]]


def it_cuts_lines_longer_than_8_kilobytes() -> None:
    lines = Lines()
    assert lines.feed(b"x" * 9000) == ["x" * 8192]
    assert lines.feed(b"y\n") == ["y"]
