"""Form fields whose values the validators of `clusters.postgres.names` accept, or refuse with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.postgres import names
from clusters.secrets import Secret

MAX_LINES = 200
SUPPORTED_MAJORS = ("14", "15", "16", "17", "18")
MISSING = gettext_lazy("“%(label)s” is missing. Fill it in.")
_SYSTEM_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
_RATE = re.compile(r"([0-9]{1,7})([kM]?)", re.ASCII)


def checked(check: Callable[..., Any], *values: Any) -> Any:
    """What `check` makes of the values. Raises: ValidationError with its sentence."""
    try:
        return check(*values)
    except names.NameRefused as refusal:
        raise ValidationError(refusal.sentence) from refusal


def postgres_major(text: str) -> int:
    """14 to 18, as `Cluster.postgres_major` has it."""
    if text not in SUPPORTED_MAJORS:
        raise ValidationError(_("PostgreSQL %(majors)s are supported. Choose one of them.") % {"majors": ", ".join(SUPPORTED_MAJORS)})
    return int(text)


def system_user(text: str) -> str:
    if not _SYSTEM_USER.fullmatch(text):
        raise ValidationError(_("Use a system user's name: lower-case letters, digits, - and _, at most 32, the first a letter or _."))
    return text


def max_rate(text: str) -> str:
    """pg_basebackup --max-rate: 32 kB to 1024 MB a second; a bare number is kB."""
    match = _RATE.fullmatch(text)
    rate = int(match[1]) * (1024 if match[2] == "M" else 1) if match else 0
    if not 32 <= rate <= 1_048_576:
        raise ValidationError(_("Write the rate as a number with k or M, from 32k to 1024M (a second), for example 50M."))
    return text


def as_text(value: Any) -> str:
    """A text or a whole number as text; other JSON types and text that is not valid Unicode are refused."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValidationError(_("This must be a text. Put the value in quotes."))
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(_("This holds characters that are not valid Unicode. Remove them.")) from error
    return text


class CheckedField(forms.CharField):
    """One text, exactly as it was given (nothing is stripped), that one validator has passed."""

    default_validators: list[Any] = []

    def __init__(self, check: Callable[[str], Any], **options: Any) -> None:
        self.check = check
        super().__init__(strip=False, **options)
        self.validators = []  # the check's sentence also speaks of NUL and length

    def clean(self, value: Any) -> Any:
        text = as_text(value) if value is not None else ""
        if text == "":
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return None
        return checked(self.check, text)


class SecretField(CheckedField):
    """A password that somebody chose. Its clean value is a `Secret`; a page never gets it back."""

    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})

    def __init__(self, **options: Any) -> None:
        super().__init__(lambda text: Secret(names.password(text)), **options)


class LinesField(forms.Field):
    """A list of texts: a JSON list, or a text with one a line (or separated by commas)."""

    widget = forms.Textarea

    def __init__(self, check: Callable[[str], str], **options: Any) -> None:
        self.check = check
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[str]:
        items = value if isinstance(value, list | tuple) else as_text(value or "").replace(",", "\n").split("\n")
        texts = [as_text(item).strip(" \r\t") for item in items]
        cleaned = list(dict.fromkeys(checked(self.check, text) for text in texts if text))
        if len(cleaned) > MAX_LINES:
            raise ValidationError(_("At most %(number)d entries are accepted. Give fewer, wider ones.") % {"number": MAX_LINES})
        if self.required and not cleaned:
            raise ValidationError(self.error_messages["required"], code="required")
        return cleaned


class SettingsField(forms.Field):
    """postgresql.conf settings: a JSON object, or a text with one `name = value` a line. The names and values are checked by the form."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name} = {text}" for name, text in value.items()) if isinstance(value, Mapping) else value

    def clean(self, value: Any) -> dict[str, str]:
        pairs = list(value.items()) if isinstance(value, Mapping) else _assignments(as_text(value or ""))
        cleaned = {as_text(name): _setting_text(text) for name, text in pairs}
        if len(pairs) > MAX_LINES:
            raise ValidationError(_("At most %(number)d settings are accepted.") % {"number": MAX_LINES})
        if len(cleaned) < len(pairs):
            raise ValidationError(_("A setting is given twice. Give each one once."))
        return cleaned


def _assignments(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        name, sign, value = line.partition("=")
        if not sign:
            raise ValidationError(_("Write each setting as: name = value, one a line."))
        pairs.append((name.strip(), value.strip()))
    return pairs


def _setting_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, float) else as_text(value)
