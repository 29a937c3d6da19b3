"""The charts of a cluster: what is kept of its instances, as pictures with the table that says the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db.models import Q
from django.template.defaultfilters import date as date_format
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from typing_extensions import TypedDict

from clusters.models import Cluster, Instance, Monitor
from clusters.samples import MEASURES, History, Kept, LastHour, Measure, Range, coarser, kept_of
from tasks.kinds import Status
from tasks.models import Job
from tasks.pictures.chart import STYLES, Mark, Plot, Series, Tick, line_path, plot, runs, shades
from tasks.pictures.scale import moments, ticks
from tasks.ranges import Chosen
from tasks.templatetags.panel import bytes_filter, duration

#: Rows of the table behind a chart, at most.
ROWS: Final = 36
#: Marks on a chart, at most: the latest.
MARKS: Final = 20
PROMOTIONS: Final = ("switchover", "failover", "promote")
SPARK_HEIGHT: Final = 48  # two units for a pixel

LABELS: Final[Mapping[str, str | Promise]] = {
    "lag_bytes": gettext_lazy("Lag in bytes"),
    "lag_seconds": gettext_lazy("Lag in seconds"),
    "wal_rate": gettext_lazy("WAL written per second"),
    "retained_bytes": gettext_lazy("WAL kept by slots"),
    "disk_free_bytes": gettext_lazy("Free disk space"),
    "connections": gettext_lazy("Connections"),
    "answers": gettext_lazy("Answers to the monitor"),
}
ABOUT: Final[Mapping[str, str | Promise]] = {
    "lag_bytes": gettext_lazy("WAL that a standby has not replayed yet."),
    "lag_seconds": gettext_lazy("How old the last replayed transaction is, while there is something to replay."),
    "wal_rate": gettext_lazy("How much WAL an instance writes or receives."),
    "retained_bytes": gettext_lazy("WAL that an instance must keep because a slot has not sent it yet."),
    "disk_free_bytes": gettext_lazy("Free space of the file system with the data directory."),
    "connections": gettext_lazy("Sessions of clients on an instance."),
    "answers": gettext_lazy("The share of the monitor's questions that an instance answered."),
}


class SeriesShown(TypedDict):
    instance: str
    low: list[float | None]
    high: list[float | None]


class MarkShown(TypedDict):
    at: datetime
    kind: str
    job: int


class SamplesShown(TypedDict):
    cluster: str
    measure: str
    unit: str  # bytes, seconds, bytes/s, number, share
    begin: datetime  # of the first bucket
    end: datetime  # of the last bucket
    step_seconds: int
    points: int  # of each list below
    rows: str  # what was read: samples (of the monitor), minutes, hours
    series: list[SeriesShown]
    marks: list[MarkShown]


@dataclass(frozen=True)
class Row:
    """A row of the table behind a chart."""

    at: datetime
    cells: list[str]


@dataclass
class Figure:
    """One chart with its words."""

    measure: str
    title: str
    about: str
    sentence: str = ""  # what the picture shows, for those who do not see it
    plot: Plot | None = None
    legend: list[tuple[Series, str, str]] = field(default_factory=list)  # series, newest value, worst value
    rows: list[Row] = field(default_factory=list)
    row_words: str = ""
    start: int = 0  # seconds since 1970
    end: int = 0


@dataclass(frozen=True)
class Spark:
    """The lag of the last hour, small."""

    path: str
    label: str
    width: int
    height: int = SPARK_HEIGHT


# -- what is read


def samples_of(cluster: Cluster, measure: Measure, chosen: Chosen) -> SamplesShown:
    """As the API shows it. Series of which nothing is known are left out."""
    names = dict(cluster.instances.order_by("name").values_list("pk", "name"))
    kept = kept_of(names, chosen.range, [measure])
    shown = kept.range_of(measure)
    known = [(names[pk], history) for pk, history in kept.of.items() if any(v is not None for v in history.high[measure.name])]
    return {
        "cluster": cluster.name,
        "measure": measure.name,
        "unit": measure.unit,
        "begin": _at(shown.start),
        "end": _at(shown.end),
        "step_seconds": shown.step,
        "points": shown.count,
        "rows": {0: "samples", 60: "minutes"}.get(shown.rows, "hours"),
        "series": [{"instance": name, "low": history.low[measure.name], "high": history.high[measure.name]} for name, history in known],
        "marks": [{"at": at, "kind": job.kind, "job": job.pk} for at, job in promotions_of(cluster, shown)],
    }


def promotions_of(cluster: Cluster, shown: Range) -> list[tuple[datetime, Job]]:
    """The jobs of that time that gave the cluster another primary, or took a standby out of it; the latest last."""
    ended = Q(finished_at__gte=_at(shown.start), finished_at__lt=_at(shown.end), status=Status.DONE, kind__in=PROMOTIONS)
    rows = Job.objects.filter(ended, cluster=cluster).exclude(source="schedule").only("kind", "finished_at", "result").order_by("-pk")
    return [(row.finished_at, row) for row in reversed(rows[:MARKS]) if row.finished_at]


#: So many instances are drawn with all points there are; more of them with half as many each.
FINELY_DRAWN: Final = 5


def drawn_range(chosen: Chosen, instances: int) -> Range:
    """The buckets that a picture of so many instances has."""
    return coarser(chosen.range) if instances > FINELY_DRAWN else chosen.range


def figures_of(cluster: Cluster, instances: Sequence[Instance], chosen: Chosen, *, links: bool) -> list[Figure]:
    """A figure for each measure. `links`: whether a mark leads to its job."""
    kept = kept_of([row.pk for row in instances], drawn_range(chosen, len(instances)), list(MEASURES.values()))
    interval = Monitor.objects.values_list("interval", flat=True).first() or 5.0
    marks = _marks(promotions_of(cluster, kept.coarse), kept.coarse, links=links)
    return [_figure(measure, instances, kept, interval, marks) for measure in MEASURES.values()]


# -- a figure


def _figure(measure: Measure, instances: Sequence[Instance], kept: Kept, interval: float, marks: list[Mark]) -> Figure:
    figure = Figure(measure.name, str(LABELS[measure.name]), str(ABOUT[measure.name]))
    shown = kept.range_of(measure)
    figure.start, figure.end = shown.start, shown.end
    series = _series(measure, instances, kept)
    if not series:
        return figure
    highest = max(value for each in series for value in each.high if value is not None)
    join = max(1, int(3 * interval / shown.step)) if shown.rows == 0 else 1
    say = SAY[measure.unit]
    figure.plot = plot(series, ticks(highest, measure.unit), say, count=shown.count, join=join)
    shown_pks = {row.pk for row in instances if row.name in {each.name for each in series}}
    figure.plot.shades = shades([kept.of[pk].states[: _until(kept.coarse)] for pk in kept.of if pk in shown_pks], _width(kept, shown))
    figure.plot.x_ticks = time_ticks(shown.start, shown.end)
    figure.plot.marks = marks
    figure.legend = [(each, say(_newest(each)), say(_worst(each.worst, measure))) for each in series]
    figure.sentence = _sentence(figure, measure)
    figure.rows = _table(series, shown, measure, say)
    figure.row_words = _("highest of each time") if measure.worst == "high" else _("lowest of each time")
    return figure


def _series(measure: Measure, instances: Sequence[Instance], kept: Kept) -> list[Series]:
    """Each instance keeps its letter and style in every chart, so that they can be read together."""
    found = []
    for number, row in enumerate(instances):
        history: History = kept.of[row.pk]
        low, high = history.low[measure.name], history.high[measure.name]
        if any(value is not None for value in high):
            letter = chr(ord("A") + number % 26)
            found.append(Series(row.name, low, high, high if measure.worst == "high" else low, number % STYLES + 1, letter))
    return found


def _until(coarse: Range) -> int:
    """The buckets that are over: what the monitor hears now is written when its minute is over."""
    return max(1, min(coarse.count, int((timezone.now().timestamp() - 120 - coarse.start) // coarse.step)))


def _width(kept: Kept, shown: Range) -> float:
    """Of the shaded buckets, in units of the picture."""
    return shown.count * _until(kept.coarse) / kept.coarse.count


def _newest(series: Series) -> float:
    return next(value for value in reversed(series.worst) if value is not None)


def _worst(points: Sequence[float | None], measure: Measure) -> float:
    known = [value for value in points if value is not None]
    return max(known) if measure.worst == "high" else min(known)


def _sentence(figure: Figure, measure: Measure) -> str:
    words = _("%(name)s: last %(now)s, highest %(worst)s.") if measure.worst == "high" else _("%(name)s: last %(now)s, lowest %(worst)s.")
    parts = [words % {"name": series.name, "now": now, "worst": worst} for series, now, worst in figure.legend]
    return " ".join([figure.about, *parts, _("The table below has the figures.")])


def _table(series: Sequence[Series], shown: Range, measure: Measure, say: Callable[[float], str]) -> list[Row]:
    size = -(-shown.count // ROWS)
    rows = []
    for first in range(0, shown.count, size):
        parts = [[value for value in each.worst[first : first + size] if value is not None] for each in series]
        if any(parts):
            cells = [say(_worst(part, measure)) if part else "–" for part in parts]
            rows.append(Row(_at(shown.start + first * shown.step), cells))
    return rows[::-1]


def time_ticks(start: float, end: float) -> list[Tick]:
    """Ticks by the panel's clock; every other may be left out."""
    found, kind = moments(start, end, timezone.get_current_timezone())
    form = {"second": "H:i:s", "minute": "H:i", "day": "j M", "month": "M Y"}[kind]
    shown = []
    for number, at in enumerate(found):
        local = timezone.localtime(_at(at))
        midnight = kind == "minute" and (local.hour, local.minute) == (0, 0)
        place = 100 * (at - start) / (end - start)
        if 1 <= place <= 99:
            shown.append(Tick(round(place, 2), date_format(local, "j M" if midnight else form), minor=number % 2 == 1))
    return shown


def _marks(promotions: Sequence[tuple[datetime, Job]], shown: Range, *, links: bool) -> list[Mark]:
    """The labels stand in rows, so that two that happened shortly after each other can both be read."""
    found: list[Mark] = []
    for number, (at, job) in enumerate(promotions):
        place = 100 * (at.timestamp() - shown.start) / (shown.end - shown.start)
        url = reverse("job-page", args=[job.pk]) if links else ""
        primary = job.result.get("new_primary") or ""
        label = f"{job.get_kind_display()} → {primary}" if primary else str(job.get_kind_display())
        found.append(Mark(round(place, 2), label, url, left=place > 60, row=number % 3))
    return found


def _at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, timezone.get_current_timezone())


# -- words


def _percent(share: float) -> str:
    value = 100 * share
    return f"{number_format(value, 0 if value in (0, 100) else 1)} %"


SAY: Final[Mapping[str, Callable[[Any], str]]] = {
    "bytes": lambda value: bytes_filter(int(value)),
    "bytes/s": lambda value: _("%(size)s/s") % {"size": bytes_filter(int(value))},
    "seconds": duration,
    "number": lambda value: number_format(value, 0),
    "share": _percent,
}


# -- small


def spark_of(hour: LastHour | None, now: int | None) -> Spark | None:
    """`now`: the lag that the monitor has seen last; None where none is known any more."""
    if hour is None or hour.highest is None:
        return None
    words = _("Lag: now %(now)s, highest of the hour %(highest)s.")
    label = words % {"now": bytes_filter(now), "highest": bytes_filter(hour.highest)}
    # A lag of a few pages is as good as none: without a floor its noise would look like a mountain.
    path = line_path(runs(hour.lags, max(hour.highest, 1024 * 1024) * 1.05, join=2, height=SPARK_HEIGHT))
    return Spark(path, label, len(hour.lags))
