"""Charts as geometry: axes, lines, gaps, names."""

from __future__ import annotations

import colorsys
import math
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tasks.pictures.chart import HEIGHT, NAME_ROOM, Series, line_path, plot, runs, shades
from tasks.pictures.scale import moments, ticks

KIB = 1024
CSS = (Path(__file__).resolve().parents[3] / "static/css/panel.css").read_text()


@pytest.mark.parametrize(
    ("highest", "unit", "expected"),
    [
        (0, "bytes", [0, 500, 1000, 1500]),
        (3 * KIB * KIB, "bytes", [0, KIB * KIB, 2 * KIB * KIB, 3 * KIB * KIB]),
        (70 * KIB, "bytes/s", [0, 20 * KIB, 40 * KIB, 60 * KIB, 80 * KIB]),
        (0.3, "seconds", [0, 0.5, 1]),
        (100, "seconds", [0, 30, 60, 90, 120]),
        (86_400 * 9, "seconds", [0, 259_200, 518_400, 777_600]),
        (3, "number", [0, 1, 2, 3, 4]),
        (0.7, "share", [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def it_puts_ticks_at_round_numbers_of_the_unit(highest: float, unit: str, expected: list[float]) -> None:
    assert ticks(highest, unit) == pytest.approx(expected)


def it_covers_any_number_with_few_ticks() -> None:
    for power in range(18):
        for unit in ("bytes", "seconds", "number", "bytes/s"):
            for digit in (1, 3.3, 9.9):
                found = ticks(digit * 10**power, unit)
                assert 2 <= len(found) <= 7, (digit, power, unit)
                assert found[-1] >= digit * 10**power * 0.999


def test_ticks_of_time_stand_at_round_moments_of_the_clock_also_when_it_is_put_back() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 10, 25, 0, 17, tzinfo=zone).timestamp()  # the clock goes back at 3
    found, kind = moments(start, start + 25 * 3600, zone)
    hours = [datetime.fromtimestamp(at, zone).strftime("%d %H:%M") for at in found]
    assert (kind, hours) == ("minute", ["25 03:00", "25 06:00", "25 09:00", "25 12:00", "25 15:00", "25 18:00", "25 21:00", "26 00:00"])
    days, kind = moments(start, start + 31 * 86_400, UTC)
    assert (kind, len(days)) == ("day", 8)
    months, kind = moments(start, start + 731 * 86_400, UTC)
    assert kind == "month"
    assert [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") for at in months][:2] == ["2027-01-01", "2027-04-01"]


def it_draws_gaps_as_gaps_and_a_point_alone_as_a_dot() -> None:
    points = [0.0, None, 1.0, 1.0, 1.0, None, None, 0.5]
    assert line_path(runs(points, 1.0)) == "M0 320h0M2 0 4 0M7 160h0"
    assert line_path(runs(points, 1.0, join=2)) == "M0 320 2 0 4 0M7 160h0"
    assert line_path(runs([None, None], 1.0)) == ""
    assert line_path(runs([-1.0, 2.0], 2.0)) == "M0 320 1 0"


def it_never_has_more_points_than_buckets_and_none_outside() -> None:
    high = [abs(math.sin(n)) * 9 for n in range(750)]
    low = [value / 2 for value in high]
    drawn = plot([Series("a", low, high, high)], [0, 5, 10], str, count=750).drawn[0]
    points = re.findall(r"(\d+) (\d+)", drawn.line)
    assert len(points) <= 750
    assert len(re.findall(r"(\d+) (\d+)", drawn.band)) <= 2 * 750
    assert all(0 <= int(x) < 750 and 0 <= int(y) <= HEIGHT for x, y in points)


def it_shades_where_nobody_asked_and_where_somebody_did_not_answer() -> None:
    found = shades(["--..x.--", "--..x..-"], 80)
    assert [(each.kind, each.x, each.width) for each in found] == [("not-asked", -0.5, 20), ("silent", 39.5, 10), ("not-asked", 69.5, 10)]


def it_keeps_the_names_at_the_ends_of_lines_apart() -> None:
    lines = [Series(str(number), [value], [value], [value]) for number, value in enumerate((0.0, 0.0, 1.0, 1.0, 0.99))]
    places = sorted(drawn.name_y or 0.0 for drawn in plot(lines, [0, 1], str, count=1).drawn)
    assert all(after - before >= NAME_ROOM - 0.01 for before, after in pairwise(places))
    assert 0 <= places[0] <= places[-1] <= 100


def test_every_colour_of_a_series_stands_out_from_its_card_in_both_themes() -> None:
    light, dark = (dict(re.findall(r"--pg-series-(\d): (#\w{6})", part)) for part in CSS.split("html.dark {", 1))
    assert len(light) == 8 == len(dark)
    card = re.search(r"--pg-card: oklch\(([\d.]+)%", CSS.split("html.dark {", 1)[1])
    assert card
    assert float(card[1]) < 24  # no lighter than the grey below
    for theme, back in ((light, "#ffffff"), (dark, "#262626")):
        assert [color for color in theme.values() if contrast(color, back) < 3] == []
    hues = {round(colorsys.rgb_to_hsv(*_channels(color))[0], 2) for color in light.values()}
    assert len(hues) >= 7


def contrast(one: str, other: str) -> float:
    """As WCAG counts it."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in _channels(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
