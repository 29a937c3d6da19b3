"""Where the ticks of an axis stand: round numbers of its unit, round moments of the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from math import ceil, floor, log10
from typing import Final, Literal

#: Ticks of a vertical axis, the zero among them, at most.
MOST: Final = 5
_SIXTIES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
_CLOCK: Final = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_DAYS: Final = (1, 2, 4, 7, 14)
_MONTHS: Final = (1, 2, 3, 6, 12, 24)
Label = Literal["second", "minute", "day", "month"]


def ticks(highest: float, unit: str) -> list[float]:
    """From 0 to the first tick that is not below `highest`. `unit`: bytes, bytes/s, seconds, number or share."""
    if unit == "share":
        return [0.0, 0.25, 0.5, 0.75, 1.0]
    least = 1.0 if unit == "seconds" else 4.0 if unit == "number" else 1024.0
    step = _step(max(highest, least) / (MOST - 1), unit)
    return [number * step for number in range(ceil(max(highest, least) / step) + 1)]


def _step(rough: float, unit: str) -> float:
    if unit == "seconds" and rough > 1:
        return next((float(step) for step in _SIXTIES if step >= rough), ceil(rough / 86_400) * 86_400.0)
    base = 1.0
    if unit.startswith("bytes"):
        while rough / base > 500:
            base *= 1024
    step = base * _round(rough / base)
    return max(step, 1.0) if unit != "seconds" else step


def _round(number: float) -> float:
    """The first of 1, 2, 5, 10, 20 ... that is not below."""
    power = 10.0 ** floor(log10(number))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= number * (1 - 1e-9))


def moments(start: float, end: float, zone: tzinfo, most: int = 9) -> tuple[list[float], Label]:
    """Round moments between the two by the clock of `zone`, and what their labels have to tell."""
    rough = (end - start) / most
    first = datetime.fromtimestamp(start, zone)
    if rough <= _CLOCK[-1]:
        step = next(step for step in _CLOCK if step >= rough)
        return [at for at in _clock(first, step, end) if at >= start], "second" if step < 60 else "minute"
    if rough <= _DAYS[-1] * 86_400:
        days = next(days for days in _DAYS if days * 86_400 >= rough)
        return [at for at in _days(first, days, end) if at >= start], "day"
    months = next((months for months in _MONTHS if months * 30 * 86_400 >= rough), _MONTHS[-1])
    return [at for at in _months(first, months, end) if at >= start], "month"


def _clock(first: datetime, step: int, end: float) -> Iterator[float]:
    """By the clock on the wall, so that the ticks stay at round hours when the clock is put forward or back."""
    day = first.replace(hour=0, minute=0, second=0, microsecond=0)
    while day.timestamp() <= end:
        following = day + timedelta(days=1)
        for seconds in range(0, 86_400, step):
            at = (day + timedelta(seconds=seconds)).timestamp()
            if at < following.timestamp() and at <= end:
                yield at
        day = following


def _days(first: datetime, days: int, end: float) -> Iterator[float]:
    day = first.replace(hour=0, minute=0, second=0, microsecond=0)
    day -= timedelta(days=day.toordinal() % days)
    while day.timestamp() <= end:
        yield day.timestamp()
        day += timedelta(days=days)


def _months(first: datetime, months: int, end: float) -> Iterator[float]:
    number = (first.year * 12 + first.month - 1) // months * months
    while True:
        year, month = divmod(number, 12)
        at = first.replace(year=year, month=month + 1, day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
        if at > end:
            return
        yield at
        number += months
