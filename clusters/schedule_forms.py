"""What is asked of a person who changes when a cluster is verified; the same for page, API and command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy, gettext_noop

from clusters.form_base import SentenceForm
from clusters.form_fields import CheckedField, LinesField, yes_no
from clusters.models import VerificationRun
from clusters.postgres import names
from clusters.postgres.refused import NameRefused
from clusters.schedules import Planned

Depth = VerificationRun.Depth
DAYS: Final = (
    ("0", gettext_lazy("Sunday")),
    ("1", gettext_lazy("Monday")),
    ("2", gettext_lazy("Tuesday")),
    ("3", gettext_lazy("Wednesday")),
    ("4", gettext_lazy("Thursday")),
    ("5", gettext_lazy("Friday")),
    ("6", gettext_lazy("Saturday")),
)
MINUTES_LIMITS: Final = (1, 1440)
_ON_OFF: Final = (("yes", gettext_lazy("yes")), ("no", gettext_lazy("no")))


def minutes(text: str, field: str) -> int:
    least, most = MINUTES_LIMITS
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not least <= int(text) <= most:
        raise NameRefused(
            field, gettext_noop("%(field)s: write a whole number of minutes from %(least)s to %(most)s."), least=least, most=most
        )
    return int(text)


def time_of_day(text: str, field: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text, re.ASCII):
        raise NameRefused(field, gettext_noop("%(field)s: write a time of day as hours and minutes, for example 03:30."))
    return text


def week_day(text: str, field: str) -> int:
    if text not in dict(DAYS):
        raise NameRefused(field, gettext_noop("%(field)s: write the day of the week as a number from 0 (Sunday) to 6 (Saturday)."))
    return int(text)


def _enabled() -> CheckedField:
    return CheckedField(yes_no, label=gettext_lazy("Switched on"), widget=forms.Select(choices=_ON_OFF))


class ScheduleForm(SentenceForm):
    """The three schedules of a cluster. What is left out stays as it is: `ScheduleForm(values_of(...) | given)`."""

    standing_enabled = _enabled()
    standing_minutes = CheckedField(
        minutes,
        label=gettext_lazy("Every so many minutes"),
        help_text=gettext_lazy("Looks at every instance, sends a row through each pair."),
    )
    deep_enabled = _enabled()
    deep_at = CheckedField(
        time_of_day,
        label=gettext_lazy("Every day at"),
        help_text=gettext_lazy("Also compares files and settings, and who could take over."),
    )
    content_enabled = _enabled()
    content_day = CheckedField(week_day, label=gettext_lazy("Every week on"), widget=forms.Select(choices=DAYS))
    content_at = CheckedField(
        time_of_day, label=gettext_lazy("At"), help_text=gettext_lazy("Also compares rows of primary and standby, and runs pg_amcheck.")
    )
    content_tables = LinesField(
        names.table_name,
        label=gettext_lazy("Tables to compare"),
        required=False,
        help_text=gettext_lazy("schema.table, one a line. Empty: those of the cluster's database, the smallest first."),
    )

    def planned(self) -> list[Planned]:
        values = self.cleaned_data
        return [
            Planned(Depth.STANDING, values["standing_enabled"], minutes=values["standing_minutes"]),
            Planned(Depth.DEEP, values["deep_enabled"], at=values["deep_at"]),
            Planned(
                Depth.CONTENT,
                values["content_enabled"],
                at=values["content_at"],
                day=values["content_day"],
                tables=tuple(values["content_tables"]),
            ),
        ]


def values_of(planned: Mapping[str, Planned]) -> dict[str, Any]:
    """The schedules of a cluster as the form has them."""
    standing, deep, content = (planned[depth] for depth in Depth.values)
    words = {True: "yes", False: "no"}
    return {
        "standing_enabled": words[standing.enabled],
        "standing_minutes": standing.minutes,
        "deep_enabled": words[deep.enabled],
        "deep_at": deep.at,
        "content_enabled": words[content.enabled],
        "content_day": str(content.day),
        "content_at": content.at,
        "content_tables": list(content.tables),
    }
