"""What is asked of a person who makes or changes a channel; the same for page, API and command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy, gettext_noop

from clusters.form_base import SentenceForm
from clusters.form_fields import CheckedField, LinesField, choice, yes_no
from clusters.models import Cluster
from clusters.postgres import names
from clusters.postgres.refused import NameRefused, has_control
from clusters.secrets import Secret
from tasks.models import AlertChannel, Severity

ADDRESS_LENGTH: Final = 2000
REMIND_MOST: Final = 10_080
ON_OFF: Final = (("yes", gettext_lazy("yes")), ("no", gettext_lazy("no")))


def address(text: str, field: str) -> Secret:
    """An Apprise address, so far as that can be told without Apprise."""
    if len(text) > ADDRESS_LENGTH or has_control(text) or not re.match(r"[a-z][a-z0-9]{1,20}://\S", text, re.ASCII):
        raise NameRefused(
            field,
            gettext_noop("%(field)s: write an Apprise address of at most %(length)s characters, for example %(example)s."),
            length=ADDRESS_LENGTH,
            example="mailtos://user:password@smtp.example.com?to=dba@example.com",
        )
    return Secret(text)


def minutes(text: str, field: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or int(text) > REMIND_MOST:
        raise NameRefused(field, gettext_noop("%(field)s: write a whole number of minutes from 0 (never) to %(most)s."), most=REMIND_MOST)
    return int(text)


class ChannelForm(SentenceForm):
    """`known`: the channel that is changed; its address stays where none is given."""

    name = CheckedField(names.object_name, label=gettext_lazy("Name"))
    address = CheckedField(
        address,
        label=gettext_lazy("Address"),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("As Apprise writes it; it is stored encrypted and never shown again."),
    )
    enabled = CheckedField(yes_no, label=gettext_lazy("Switched on"), widget=forms.Select(choices=ON_OFF))
    least = CheckedField(
        choice(Severity.values), label=gettext_lazy("From which severity on"), widget=forms.Select(choices=Severity.choices)
    )
    clusters = LinesField(
        names.object_name,
        label=gettext_lazy("Only these clusters"),
        required=False,
        help_text=gettext_lazy("Their names, one a line. Empty: all. What is wrong with the panel itself is told in any case."),
    )
    language = CheckedField(
        choice([code for code, _label in settings.LANGUAGES]),
        label=gettext_lazy("Language"),
        widget=forms.Select(choices=settings.LANGUAGES),
    )
    remind_minutes = CheckedField(
        minutes,
        label=gettext_lazy("Remind every so many minutes"),
        help_text=gettext_lazy("Of what is still so. 0: never."),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, known: AlertChannel | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.known = known
        self.fields["address"].required = known is None
        if known is not None:
            self.fields["address"].help_text = gettext_lazy("Empty: it stays as it is. It is never shown.")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = self.cleaned_data
        others = AlertChannel.objects.exclude(pk=self.known.pk) if self.known else AlertChannel.objects.all()
        if values.get("name") == "add":
            self.add_error("name", gettext_lazy("“add” is the name of a page. Choose another name."))
        if values.get("name") and others.filter(name=values["name"]).exists():
            self.add_error("name", gettext_lazy("There is a channel of this name already. Choose another name."))
        wanted = set(values.get("clusters") or ())
        known = {*(self.known.clusters if self.known else ()), *Cluster.objects.filter(name__in=wanted).values_list("name", flat=True)}
        if missing := sorted(wanted - known):
            sentence = gettext_lazy("There is no cluster of this name: %(names)s. See: cluster list.")
            self.add_error("clusters", sentence % {"names": ", ".join(missing)})
        values["clusters"] = sorted(wanted)
        return values


def channel_values(channel: AlertChannel | None) -> dict[str, Any]:
    """The channel as its form has it, its address left out; None: what a new one begins with."""
    if channel is None:
        return {"enabled": "yes", "least": "warning", "clusters": [], "language": "en", "remind_minutes": 240}
    return {
        "name": channel.name,
        "enabled": "yes" if channel.enabled else "no",
        "least": channel.least,
        "clusters": channel.clusters,
        "language": channel.language,
        "remind_minutes": channel.remind_minutes,
    }
