"""Form fields whose values the validators of `clusters.postgres.names` accept, or refuse with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from clusters.postgres import names
from clusters.postgres.text import Text

MAX_LINES = 200
SUPPORTED_MAJORS = ("14", "15", "16", "17", "18")
_SYSTEM_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_RATE = re.compile(r"([0-9]{1,7})([kM]?)", re.ASCII)


def checked(check: Callable[..., Any], *values: Any) -> Any:
    """What `check` makes of the values. Raises: ValidationError with its sentence, in the reader's language."""
    try:
        return check(*values)
    except names.NameRefused as refusal:
        raise ValidationError(translated(refusal.sentence)) from refusal


def translated(sentence: str) -> str:
    """A sentence of `clusters.postgres` in the reader's language: its template is translated before the values go in."""
    if not isinstance(sentence, Text):
        return sentence
    template = _(sentence.template)
    return template % sentence.values if sentence.values else template


def postgres_major(text: str, field: str = "postgres_major") -> int:
    """14 to 18, as `Cluster.postgres_major` has it."""
    if text not in SUPPORTED_MAJORS:
        sentence = _("%(field)s: PostgreSQL %(majors)s are supported. Choose one of them.")
        raise ValidationError(sentence % {"field": field, "majors": ", ".join(SUPPORTED_MAJORS)})
    return int(text)


def system_user(text: str, field: str = "run_as") -> str:
    """The name of a system user, as useradd takes it."""
    if not _SYSTEM_USER.fullmatch(text):
        sentence = _("%(field)s: this is not a system user's name. Use small letters, digits, - and _, at most 32, a letter or _ first.")
        raise ValidationError(sentence % {"field": field})
    return text


def max_rate(text: str, field: str = "max_rate") -> str:
    """pg_basebackup --max-rate: 32 kB to 1024 MB a second; a bare number is kB."""
    match = _RATE.fullmatch(text)
    rate = int(match[1]) * (1024 if match[2] == "M" else 1) if match else 0
    if not 32 <= rate <= 1_048_576:
        sentence = _("%(field)s: write the rate as a number with k or M, from 32k to 1024M (a second), for example 50M.")
        raise ValidationError(sentence % {"field": field})
    return text


def as_is(text: str, field: str) -> str:
    """No validator: the form compares the text with what there is."""
    return text


def as_text(value: Any, field: str) -> str:
    """A text or a whole number as text; other JSON types and text that is not valid Unicode are refused."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValidationError(_("%(field)s: this must be a text. Put the value in quotes.") % {"field": field})
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(_("%(field)s: this holds characters that are not valid Unicode. Remove them.") % {"field": field}) from error
    return text


class NamedField(forms.Field):
    """A field that knows its name in the form (`SentenceForm` tells it), so that its refusals can say it."""

    name = ""

    def _missing(self) -> ValidationError:
        return ValidationError(_("%(field)s: this is missing. Fill it in.") % {"field": self.name}, code="required")


class CheckedField(NamedField, forms.CharField):
    """One text, exactly as it was given (nothing is stripped), that one validator `check(text, field)` has passed."""

    def __init__(self, check: Callable[[str, str], Any], **options: Any) -> None:
        self.check = check
        super().__init__(strip=False, **options)

    def clean(self, value: Any) -> Any:
        text = as_text(value, self.name) if value is not None else ""
        if text:
            return checked(self.check, text, self.name)
        if self.required:
            raise self._missing()
        return None


class SecretField(CheckedField):
    """A password that somebody chose. Its clean value is a `Secret`; a page never gets it back."""

    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})

    def __init__(self, **options: Any) -> None:
        super().__init__(names.password, **options)


class LinesField(NamedField):
    """A list of texts: a JSON list, or a text with one a line (or separated by commas)."""

    widget = forms.Textarea

    def __init__(self, check: Callable[[str, str], str], **options: Any) -> None:
        self.check = check
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[str]:
        listed = isinstance(value, list | tuple)
        items = value if listed else [line.strip() for line in as_text(value or "", self.name).replace(",", "\n").split("\n")]
        texts = [as_text(item, self.name) for item in items]
        if len(texts) > MAX_LINES:
            raise ValidationError(_("%(field)s: at most %(number)d are accepted. Give fewer.") % {"field": self.name, "number": MAX_LINES})
        cleaned = list(dict.fromkeys(checked(self.check, text, self.name) for text in texts if text))
        if self.required and not cleaned:
            raise self._missing()
        return cleaned


class SettingsField(NamedField):
    """postgresql.conf settings: a JSON object, or a text with one `name = value` a line. The names and values are checked by the form."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name} = {text}" for name, text in value.items()) if isinstance(value, Mapping) else value

    def clean(self, value: Any) -> dict[str, str]:
        pairs = list(value.items()) if isinstance(value, Mapping) else self._assignments(as_text(value or "", self.name))
        cleaned = {as_text(name, self.name): self._value(text) for name, text in pairs}
        if len(pairs) > MAX_LINES or len(cleaned) < len(pairs):
            sentence = _("%(field)s: a setting is given twice, or there are more than %(number)d. Give each one once.")
            raise ValidationError(sentence % {"field": self.name, "number": MAX_LINES})
        return cleaned

    def _assignments(self, text: str) -> list[tuple[str, str]]:
        pairs = []
        for line in filter(None, (line.strip() for line in text.split("\n"))):
            name, sign, value = line.partition("=")
            if not sign:
                raise ValidationError(_("%(field)s: write each setting as “name = value”, one a line.") % {"field": self.name})
            pairs.append((name.strip(), value.strip()))
        return pairs

    def _value(self, value: Any) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        return str(value) if isinstance(value, float) else as_text(value, self.name)
