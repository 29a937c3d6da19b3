"""Sentences for people. English here; whoever shows them may translate the template before the values go in."""

from __future__ import annotations

from typing import LiteralString


def gettext_noop(template: LiteralString) -> LiteralString:
    """Mark `template` for `makemessages` without importing Django: xgettext finds it by this function's name."""
    return template


class Text(str):
    """A sentence that remembers its template and its values.

    It is a plain str everywhere (in JSON too); a page may show `gettext(text.template) % text.values` instead.
    """

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, /, **values: object) -> Text:
        text = super().__new__(cls, template % values if values else template)
        text.template, text.values = template, values
        return text
