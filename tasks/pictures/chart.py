"""Series over time as SVG paths. One unit of the picture's width is one bucket, so a path has never more points than there are pixels.

Bucket number n lies from n - 0.5 to n + 0.5, so that points stand at whole numbers: the paths are short, and quick to write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

#: Two units for a pixel.
HEIGHT: Final = 320
#: Line styles and colours that the style sheet has (.pg-series-1 ...); after the last they begin anew.
STYLES: Final = 8
#: Percent of the height that a name at the end of a line needs for itself.
NAME_ROOM: Final = 11.0

Points = Sequence[float | None]
Run = list[tuple[int, int]]


@dataclass(frozen=True)
class Series:
    """`low` and `high` of each bucket; the line is drawn along `worst`, which is one of the two."""

    name: str
    low: Points
    high: Points
    worst: Points
    style: int = 1
    letter: str = "A"


@dataclass(frozen=True)
class Drawn:
    """A series as paths. `end_x`, `end_y`: percent, where its name stands; None where nothing is known of it."""

    series: Series
    line: str
    band: str
    end_x: float | None = None
    end_y: float | None = None
    name_y: float | None = None


@dataclass(frozen=True)
class Tick:
    at: float  # percent of the width from the left, or of the height from below
    label: str
    minor: bool = False  # left out where there is little room


@dataclass(frozen=True)
class Shade:
    """A part of the time. `kind`: not-asked or silent."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True)
class Mark:
    """Something that happened, at `at` percent of the width."""

    at: float
    label: str
    url: str = ""
    left: bool = False  # its label stands on the left of its line
    row: int = 0


@dataclass
class Plot:
    """Everything that is drawn, in units of the picture: `width` buckets by `height`."""

    width: int
    height: int = HEIGHT
    drawn: list[Drawn] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)
    x_ticks: list[Tick] = field(default_factory=list)
    shades: list[Shade] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    grid: str = ""


def plot(series: Sequence[Series], ticks: Sequence[float], say: Callable[[float], str], *, count: int, join: int = 1) -> Plot:
    """The lines and the vertical axis. `join`: how many buckets apart two points may be and still have a line between them."""
    top = ticks[-1] or 1.0
    lines = [_drawn(each, top, count, join) for each in series]
    y_ticks = [Tick(round(100 * tick / top, 2), say(tick)) for tick in ticks]
    grid = "".join(f"M-.5 {round(HEIGHT * (1 - tick / top))}H{count}" for tick in ticks[1:])
    return Plot(width=count, drawn=_apart(lines), y_ticks=y_ticks, grid=grid)


def shades(states: Sequence[str], width: float) -> list[Shade]:
    """`states`: of each instance one letter a bucket. Where none was asked, and where some did not answer; in units of `width`."""
    if not states:
        return []
    unit = width / len(states[0])
    kinds = ["not-asked" if set(at) == {"-"} else "silent" if "x" in at else "" for at in zip(*states, strict=True)]
    found, number = [], 0
    for kind, run in groupby(kinds):
        length = len(list(run))
        if kind:
            found.append(Shade(kind, round(number * unit - 0.5, 2), round(length * unit, 2)))
        number += length
    return found


def runs(points: Points, top: float, join: int = 1, height: int = HEIGHT) -> list[Run]:
    """The parts of a series between which there is a gap, in units of the picture. No value is above `top`; below 0 is drawn as 0."""
    scale, floor = height / top, height + 0.5
    found: list[Run] = []
    run: Run = []
    last = -1
    for number, value in enumerate(points):
        if value is None:
            continue
        if run and number - last > join:
            found.append(run)
            run = []
        run.append((number, int(floor - value * scale) if value > 0 else height))
        last = number
    return [*found, run] if run else found


def line_path(parts: Sequence[Run]) -> str:
    """A point alone is a line of no length, which round ends make a dot."""
    return "".join(f"M{_points(run)}{'h0' if len(run) == 1 else ''}" for run in parts)


def _band_path(upper: Sequence[Run], lower: Sequence[Run]) -> str:
    """The surface between lowest and highest; nothing where they are the same."""
    return "".join(f"M{_points(high)}L{_points(low[::-1])}Z" for high, low in zip(upper, lower, strict=True) if high != low)


def _points(run: Run) -> str:
    """Points in the middle of a level stretch are left out."""
    if len(run) > 2:
        kept = [at for before, at, after in zip(run, run[1:], run[2:], strict=False) if not before[1] == at[1] == after[1]]
        run = [run[0], *kept, run[-1]]
    return " ".join([f"{x} {y}" for x, y in run])


def _drawn(series: Series, top: float, count: int, join: int) -> Drawn:
    high = runs(series.high, top, join)
    low = high if series.low is series.high else runs(series.low, top, join)
    worst = high if series.worst is series.high else low
    if not worst:
        return Drawn(series, "", "")
    x, y = worst[-1][-1]
    up = round(100 - 100 * y / HEIGHT, 2)
    return Drawn(series, line_path(worst), _band_path(high, low), round(100 * (x + 0.5) / count, 2), up, up)


def _apart(lines: Sequence[Drawn]) -> list[Drawn]:
    """The names moved so far apart that each can be read, none of them below the axis."""
    known = sorted((line for line in lines if line.end_y is not None), key=lambda line: line.end_y or 0.0)
    places: dict[str, float] = {}
    floor = 0.0
    for line in known:
        floor = places[line.series.name] = max(line.end_y or 0.0, floor)
        floor += NAME_ROOM
    ceiling = max(100.0, NAME_ROOM * (len(known) - 1))
    for line in reversed(known):
        places[line.series.name] = min(places[line.series.name], ceiling)
        ceiling = places[line.series.name] - NAME_ROOM
    return [
        Drawn(line.series, line.line, line.band, line.end_x, line.end_y, round(places[line.series.name], 2))
        if line.series.name in places
        else line
        for line in lines
    ]
