"""The time that a chart shows: a range that ends now, or from one moment to another. Pages and API read it with the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.samples import LONGEST, Range, range_of
from tasks.refusals import RequestRefused

#: Ranges that end now: name -> (length, words).
LENGTHS: Final[Mapping[str, tuple[timedelta, str | Promise]]] = {
    "1h": (timedelta(hours=1), gettext_lazy("1 hour")),
    "6h": (timedelta(hours=6), gettext_lazy("6 hours")),
    "24h": (timedelta(hours=24), gettext_lazy("24 hours")),
    "7d": (timedelta(days=7), gettext_lazy("7 days")),
    "31d": (timedelta(days=31), gettext_lazy("31 days")),
    "2y": (timedelta(days=731), gettext_lazy("2 years")),
}
DEFAULT: Final = "6h"
SHORTEST: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Chosen:
    """`name`: of LENGTHS, "" for a range of one's own."""

    name: str
    begin: datetime
    end: datetime

    @property
    def range(self) -> Range:
        return range_of(self.begin, self.end, timezone.now())


def chosen_length(name: str) -> Chosen:
    """The range of that name, of the default one where there is none."""
    name = name if name in LENGTHS else DEFAULT
    now = timezone.now()
    return Chosen(name, now - LENGTHS[name][0], now)


def chosen_between(begin: str, end: str) -> Chosen:
    """From `begin` to `end`; without an end until now. A time without zone is one of the panel's zone. Raises: RequestRefused."""
    now = timezone.now()
    errors: dict[str, list[str]] = {}
    first = _moment(begin, "from", errors)
    last = _moment(end, "to", errors) if end else now
    if not errors and first and last:
        errors = _unfit(first, last, now)
    if errors or not first or not last:
        raise RequestRefused(errors)
    return Chosen("", first, min(last, now))


def _moment(text: str, field: str, errors: dict[str, list[str]]) -> datetime | None:
    try:
        # A plus sign in an address that nobody has quoted is a blank.
        moment = parse_datetime(text.strip()[:40].replace(" ", "T", 1).replace(" ", "+"))
        aware = timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment
        if aware and 1990 < aware.year < 9000:
            return aware
    except ValueError:
        pass  # a shape that is right with numbers that are not; said below with all the rest
    example = timezone.localtime().strftime("%Y-%m-%dT%H:%M")
    errors[field] = [_("“%(field)s” is not a date and time. Write it like this: %(example)s.") % {"field": field, "example": example}]
    return None


def _unfit(first: datetime, last: datetime, now: datetime) -> dict[str, list[str]]:
    if first > now:
        return {"from": [_("“from” lies ahead; there is nothing to show of what has not been yet.")]}
    if min(last, now) - first < SHORTEST:
        return {"to": [_("“to” has to be at least a minute after “from”.")]}
    if last - first > LONGEST + timedelta(days=1):
        return {"from": [_("“from” and “to” are more than two years apart; nothing is kept for longer.")]}
    return {}
