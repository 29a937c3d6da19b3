"""Form fields whose values the validators of `clusters.postgres` accept, or refuse with a sentence that names the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from clusters.postgres import names
from clusters.postgres.refused import NameRefused
from clusters.postgres.text import Text
from clusters.postgres.text import gettext_noop as _

MAX_LINES: Final = 200
SUPPORTED_MAJORS: Final = tuple(map(str, names.MAJORS))
_SYSTEM_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_RATE: Final = re.compile(r"([0-9]{1,7})([kM]?)", re.ASCII)


def checked(check: Callable[..., Any], *values: Any) -> Any:
    """What `check` makes of the values. Raises: ValidationError with its sentence, in the reader's language."""
    try:
        return check(*values)
    except NameRefused as refusal:
        raise ValidationError(translated(refusal.sentence)) from refusal


def translated(sentence: str) -> str:
    """A sentence of `clusters.postgres` in the reader's language: its template is translated before the values go in."""
    if not isinstance(sentence, Text):
        return sentence
    template = gettext(sentence.template)
    return template % sentence.values if sentence.values else template


# -- values that only the panel knows


def postgres_major(text: str, field: str = "postgres_major") -> int:
    """14 to 18, as `Cluster.postgres_major` has it."""
    if text not in SUPPORTED_MAJORS:
        raise NameRefused(
            field, _("%(field)s: PostgreSQL %(majors)s are supported. Choose one of them."), majors=", ".join(SUPPORTED_MAJORS)
        )
    return int(text)


def system_user(text: str, field: str = "run_as") -> str:
    """The name of a system user, as useradd takes it."""
    if not _SYSTEM_USER.fullmatch(text):
        raise NameRefused(field, _("%(field)s: this is no system user's name. Use at most 32 small letters, digits, - and _."))
    return text


def owner_user(text: str, field: str = "run_as") -> str:
    """A system user by name or by number: the images of PostgreSQL have users that a server knows by number alone."""
    if re.fullmatch(r"[1-9][0-9]{0,8}", text, re.ASCII):
        return text
    return system_user(text, field)


def choice(values: Sequence[str]) -> Callable[[str, str], str]:
    """A check that a text is one of a few words."""

    def check(text: str, field: str) -> str:
        if text not in values:
            raise NameRefused(field, _("%(field)s: choose one of %(words)s."), words=", ".join(values))
        return text

    return check


def max_rate(text: str, field: str = "max_rate") -> str:
    """pg_basebackup --max-rate: 32 kB to 1024 MB a second; a bare number is kB."""
    match = _RATE.fullmatch(text)
    rate = int(match[1]) * (1024 if match[2] == "M" else 1) if match else 0
    if not 32 <= rate <= 1_048_576:
        raise NameRefused(field, _("%(field)s: write the rate a second as a number with k or M, from 32k to 1024M, for example 50M."))
    return text


def yes_no(text: str, field: str) -> bool:
    """What a choice of two says."""
    if text not in ("yes", "no"):
        raise NameRefused(field, _("%(field)s: write yes or no."))
    return text == "yes"


def seconds(least: int, most: int) -> Callable[[str, str], int]:
    """A check of a whole number of seconds between two limits."""

    def check(text: str, field: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not least <= int(text) <= most:
            raise NameRefused(field, _("%(field)s: write a whole number of seconds from %(least)s to %(most)s."), least=least, most=most)
        return int(text)

    return check


def moment(text: str, field: str) -> str:
    """A time in the future with its offset from UTC, in ISO 8601; gives it back in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise NameRefused(field, _("%(field)s: write a time with its offset, for example 2026-12-01T03:00+01:00."))
    if not timedelta(0) < at - datetime.now(UTC) <= timedelta(days=366):
        raise NameRefused(field, _("%(field)s: this time is past, or more than a year away. Choose a later one, within a year."))
    return at.astimezone(UTC).isoformat()


def as_is(text: str, field: str) -> str:
    """No validator: the form compares the text with what there is."""
    return text


def as_text(value: Any, field: str) -> str:
    """A text or a whole number as text; other JSON types and text that is not valid Unicode are refused."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NameRefused(field, _("%(field)s: this must be a text. Put the value in quotes."))
    try:
        text = str(value)
        text.encode()
    except ValueError as error:  # half a surrogate pair, or a number of more digits than Python turns into text
        raise NameRefused(field, _("%(field)s: this holds what cannot be written as text. Take it out.")) from error
    return text


# -- the fields


class NamedField(forms.Field):
    """A field that knows its name in the form (`SentenceForm` tells it), so that its refusals can say it."""

    name = ""

    def clean(self, value: Any) -> Any:
        return checked(self.read, value)

    def read(self, value: Any) -> Any:
        """The clean value. Raises: NameRefused."""
        raise NotImplementedError

    def missing(self) -> NameRefused:
        return NameRefused(self.name, _("%(field)s: this is missing. Fill it in."))


class CheckedField(NamedField, forms.CharField):
    """One text, exactly as it was given (nothing is stripped), that one validator `check(text, field)` has passed."""

    def __init__(self, check: Callable[[str, str], Any], **options: Any) -> None:
        self.check = check
        super().__init__(strip=False, **options)

    def read(self, value: Any) -> Any:
        text = as_text(value, self.name) if value is not None else ""
        clean = self.check(text, self.name) if text else None
        if self.required and clean in (None, ""):  # a text of blanks alone says nothing either
            raise self.missing()
        return clean


class NumberField(CheckedField):
    """A number: as a page sends it, or as JSON has it."""

    def read(self, value: Any) -> Any:
        return super().read(repr(value) if isinstance(value, float) else value)


class SecretField(CheckedField):
    """A password that somebody chose. Its clean value is a `Secret`; a page never gets it back."""

    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})

    def __init__(self, **options: Any) -> None:
        super().__init__(names.password, **options)


class LinesField(NamedField):
    """A list of texts: a JSON list, or a text with one a line (or separated by commas)."""

    widget: type[forms.Widget] = forms.Textarea

    def __init__(self, check: Callable[[str, str], str], **options: Any) -> None:
        self.check = check
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def read(self, value: Any) -> list[str]:
        listed = isinstance(value, list | tuple)
        items = value if listed else [line.strip() for line in as_text(value or "", self.name).replace(",", "\n").split("\n")]
        texts = [text for text in (as_text(item, self.name) for item in items) if text]
        if len(texts) > MAX_LINES:
            raise NameRefused(self.name, _("%(field)s: at most %(number)s are accepted. Give fewer."), number=MAX_LINES)
        if self.required and not texts:
            raise self.missing()
        return list(dict.fromkeys(self.check(text, self.name) for text in texts))


class FlagsField(LinesField):
    """Some of a few known words: what a request allows in spite of an obstacle. On a page one checkbox each."""

    widget = forms.CheckboxSelectMultiple
    hidden_widget = forms.MultipleHiddenInput

    def __init__(self, flags: Mapping[str, Any], **options: Any) -> None:
        self.flags = flags
        super().__init__(self._known, **options)
        self.widget.choices = list(flags.items())

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value] if value else []

    def _known(self, text: str, field: str) -> str:
        if text not in self.flags:
            raise NameRefused(field, _("%(field)s: “%(flag)s” is not known. Known are: %(flags)s."), flag=text, flags=", ".join(self.flags))
        return text


class SettingsField(NamedField):
    """postgresql.conf settings: a JSON object, or a text with one `name = value` a line. The form checks the names and values."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name} = {text}" for name, text in value.items()) if isinstance(value, Mapping) else value

    def read(self, value: Any) -> dict[str, str]:
        pairs = list(value.items()) if isinstance(value, Mapping) else self._assignments(as_text(value or "", self.name))
        cleaned = {as_text(name, self.name): self._value(text) for name, text in pairs}
        if len(pairs) > MAX_LINES or len(cleaned) < len(pairs):
            sentence = _("%(field)s: a setting is given twice, or there are more than %(number)s. Give each one once.")
            raise NameRefused(self.name, sentence, number=MAX_LINES)
        return cleaned

    def _assignments(self, text: str) -> list[tuple[str, str]]:
        pairs = []
        for line in filter(None, (line.strip() for line in text.split("\n"))):
            name, sign, value = line.partition("=")
            if not sign:
                raise NameRefused(self.name, _("%(field)s: write each setting as “name = value”, one a line."))
            pairs.append((name.strip(), value.strip()))
        return pairs

    def _value(self, value: Any) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        return str(value) if isinstance(value, float) else as_text(value, self.name)
