"""A log line is bounded, inert and without secrets, whatever a machine prints."""

from __future__ import annotations

import base64
import json
import shlex
import unicodedata
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.secrets import MASK, Secret
from tasks.lines import CUT, Masker, clean_line, clean_lines, inert

NOTHING = Masker()
SECRETS = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), min_size=8, max_size=40).filter(
    lambda text: "*" not in text
)
SECRET = "s3cr€t/ 'p+ss\"w\\rd:?"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended", "␛]0;never ended"),
        ("\x1bcreset", "reset"),
        ("\x9b31mred", "red"),
        ("a\x00b\x07c\x7f", "a␀b␇c␡"),
        ("a\tb", "a    b"),
        ("10%\r20%", "10%␍20%"),
        ("admin\u202enimda", "admin⟨U+202E⟩nimda"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("next\u2028line", "next⟨U+2028⟩line"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("naïve ✓ 数据 🐘", "naïve ✓ 数据 🐘"),
    ],
)
def it_shows_what_would_act_upon_a_terminal_or_a_browser(line: str, shown: str) -> None:
    assert inert(line) == shown


@given(st.text(max_size=200))
def it_leaves_nothing_invisible(text: str) -> None:
    assert {unicodedata.category(char) for char in inert(text)}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@given(st.text(max_size=200) | st.binary(max_size=200), st.integers(64, 300))
def it_never_exceeds_its_bytes_and_is_always_storable(text: str | bytes, limit: int) -> None:
    for line in clean_lines(text, NOTHING, limit):
        assert len(line.encode()) <= limit
        assert "\n" not in line


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def it_leaves_ordinary_text_as_it_is(text: str) -> None:
    assert clean_lines(text, NOTHING, 8192) == [text]


def it_makes_one_line_of_each_line() -> None:
    assert clean_lines(b"one\r\ntwo\n\nfour", NOTHING, 8192) == ["one", "two", "", "four"]
    assert clean_line("one\ntwo", NOTHING, 8192) == "one two"


def it_says_that_it_cut_and_cuts_between_characters() -> None:
    assert clean_lines("€" * 3000, NOTHING, 8192) == ["€" * ((8192 - len(CUT.encode())) // 3) + CUT]


def it_costs_no_more_for_100_mb_than_for_64_kb() -> None:
    [line] = clean_lines("x" * 100_000_000, NOTHING, 8192)
    assert line == "x" * (8192 - len(CUT.encode())) + CUT


def _written(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(b"olga:" + raw + b"@host").decode(),
        base64.b64encode(b"ol:" + raw + b"@host").decode(),
        base64.b64encode(b"o:" + raw).decode(),
        raw.hex(),
        raw.hex().upper(),
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").replace("%2F", "%2f"),
        "'" + secret.replace("'", "''") + "'",
        secret.replace("\\", "\\\\").replace("'", "\\'"),
        json.dumps(secret),
        repr(secret),
        shlex.quote(secret),
    ]


@pytest.mark.parametrize("form", _written(SECRET))
def it_masks_a_secret_however_it_is_written(form: str) -> None:
    shown = clean_line(f"password {form} was sent", Masker([Secret(SECRET)]), 8192)
    assert MASK in shown
    assert SECRET not in shown
    for other in (base64.b64encode(SECRET.encode()).decode()[:-4], SECRET.encode().hex(), quote(SECRET, safe="")):
        assert other.lower() not in shown.lower()


@given(SECRETS, st.text(max_size=30), st.text(max_size=30))
def it_masks_any_secret_between_any_texts(secret: str, before: str, after: str) -> None:
    mask = Masker([Secret(secret), Secret("another one")])
    for form in (secret, base64.b64encode(secret.encode()).decode(), secret.encode().hex(), quote(secret, safe="")):
        shown = "\n".join(clean_lines(f"{before}{form}{after}", mask, 8192))
        assert form not in shown


def it_masks_a_secret_that_an_escape_sequence_hides() -> None:
    assert clean_line("my-s3\x1b[0mcret-word", Masker([Secret("my-s3cret-word")]), 8192) == MASK


@pytest.mark.parametrize("kept", range(4, 14))
def it_masks_the_part_of_a_secret_that_a_cut_left(kept: int) -> None:
    mask = Masker([Secret("my-s3cret-word")])
    room = 200 - len(CUT.encode())
    assert "my-s" not in clean_line("x" * (room - kept) + "my-s3cret-word and more" * 20, mask, 200)
    assert clean_line("x" * 30 + "my-s3cret-word"[:kept] + CUT, mask, 8192) == "x" * 30 + MASK + CUT


def it_masks_a_scram_verifier_that_it_was_not_told_of() -> None:
    text = "ALTER ROLE app PASSWORD 'SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy'"
    assert clean_line(text, NOTHING, 8192) == f"ALTER ROLE app PASSWORD '{MASK}'"


def it_does_not_mask_what_is_too_short_to_be_a_secret() -> None:
    assert clean_line("a cat sat", Masker([Secret("at"), Secret("")]), 8192) == "a cat sat"
