"""How an obstacle speaks: units people know, hostile words made harmless, translatable as a template."""

from __future__ import annotations

import pytest

from clusters.postgres.obstacles import behind, obstacle, size
from clusters.postgres.parsers import Lsn
from clusters.postgres.text import Text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 kB"), (150 * 1024, "150 kB"), (1024**2, "1.0 MB"), (10 * 1024**3, "10.0 GB"),
        (1024**4, "1.0 TB"), (5000 * 1024**4, "5000.0 TB"),
    ],
)  # fmt: skip
def it_says_bytes_in_the_units_of_postgres(count, text):
    assert size(count) == text


def it_is_never_less_than_nothing_behind():
    assert (behind(Lsn(9), Lsn(4)), behind(Lsn(4), Lsn(9))) == (5, 0)


def it_makes_hostile_words_harmless():
    found = obstacle("x", "warns", "Said %(word)s: %(value)s.", "Ask %(word)s.", value="\x1b[2J\n<b>", word="a\u202e%s")
    assert (found.sentence, found.cure, found.value) == (
        "Said a\\u202e%s: \\u001b[2J\\u000a<b>.",
        "Ask a\\u202e%s.",
        "\\u001b[2J\\u000a<b>",
    )


def it_bounds_long_words():
    assert len(obstacle("x", "warns", "%(value)s", "", value="x" * 100_000).sentence) == 501


def it_can_be_translated():
    found = obstacle("x", "warns", "Port %(value)s is in use.", "Choose another.", value=5433)
    assert isinstance(found.sentence, Text)
    assert (found.sentence.template, found.sentence.values["value"]) == ("Port %(value)s is in use.", 5433)
    assert found.cure.template == "Choose another."
