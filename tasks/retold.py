"""Sentences that were stored in English, told in the reader's language.

A finding is kept as it was said: a template of the rules with its values filled in. The catalogue knows the templates; so
the one that a sentence was made from is found again, and its translation takes the same values. A sentence that no template fits
stays as it is.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings
from django.utils.translation import get_language, gettext, to_locale

_PLACE: Final = re.compile(r"%\((\w+)\)[sd]")
#: A template must hold this much text of its own, lest it fits everything.
_OWN_TEXT: Final = 12


def retold(sentence: str) -> str:
    language = get_language() or "en"
    return sentence if language.startswith("en") or not sentence else _retold(language, sentence)


@lru_cache(maxsize=4096)
def _retold(language: str, sentence: str) -> str:
    known = gettext(sentence)
    if known != sentence:
        return known
    for pattern, translation in _templates(language):
        match = pattern.fullmatch(sentence)
        if match:
            return _PLACE.sub(lambda place, found=match: found[place[1]], translation)  # type: ignore[misc]  # bound at once
    return sentence


@lru_cache(maxsize=8)
def _templates(language: str) -> list[tuple[re.Pattern[str], str]]:
    """What fits a sentence, and its translation; those with the most text of their own first."""
    path = Path(settings.LOCALE_PATHS[0]) / to_locale(language) / "LC_MESSAGES" / "django.mo"
    pairs = catalogue(path).items() if path.exists() else ()
    fit = [
        (text, told)
        for text, told in pairs
        if _PLACE.search(text) and not {"\0", "\4"} & set(text) and len(_PLACE.sub("", text)) >= _OWN_TEXT
    ]
    fit.sort(key=lambda pair: -len(_PLACE.sub("", pair[0])))
    return [(_pattern(text), told) for text, told in fit]


def _pattern(template: str) -> re.Pattern[str]:
    """Each place fits any text; a name that stands twice fits the same text twice."""
    parts, seen = [], set()
    for number, part in enumerate(_PLACE.split(template)):
        if number % 2 == 0:
            parts.append(re.escape(part.replace("%%", "%")))
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>.+?)")
            seen.add(part)
    return re.compile("".join(parts), re.DOTALL)


def catalogue(path: Path) -> dict[str, str]:
    """Key -> translation as a .mo file has them: "context EOT text NUL plural" (GNU gettext manual, "The Format of GNU MO Files")."""
    data = path.read_bytes()
    number, originals, translations = struct.unpack("<8x3I", data[:20])
    columns: list[list[str]] = []
    for start in (originals, translations):
        places = [struct.unpack("<2I", data[start + 8 * n : start + 8 * n + 8]) for n in range(number)]
        columns.append([data[offset : offset + length].decode() for length, offset in places])
    return dict(zip(*columns, strict=True))
