"""How a value is refused: with a sentence that names the field, says why, and what to do."""

from __future__ import annotations

import unicodedata
from typing import Final

from clusters.postgres.text import Text

#: Control, direction and other format characters, halves of surrogate pairs, line and paragraph separators.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class NameRefused(ValueError):
    """A value that cannot be used. `field` is the form field's name, `sentence` is for the person who typed it."""

    def __init__(self, field: str, template: str, **values: object) -> None:
        self.field = field
        self.sentence = Text(template, field=field.replace("_", " "), **values)
        super().__init__(self.sentence)


def shown(value: object, limit: int = 60) -> str:
    """`value` as it may stand in a sentence: invisible characters escaped, cut at `limit` characters."""
    text = str(value)
    text = text if len(text) <= limit else f"{text[:limit]}…"
    return "".join(f"\\u{ord(char):04x}" if unicodedata.category(char) in _INVISIBLE else char for char in text)


def has_control(value: str) -> bool:
    """Whether `value` holds NUL, a line break, another control or direction character, or half a surrogate pair."""
    return any(unicodedata.category(char) in _INVISIBLE for char in value)
