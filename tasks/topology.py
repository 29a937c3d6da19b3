"""The picture of a cluster: where each instance and each replication stream stands, in SVG units. Pure geometry and words.

Two layouts of one tree. `wide`: columns from the primary rightwards, a stream is a line with its state above and its
lag below. `narrow` (a telephone): one column, indented by depth, lines down the left side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.models import Cluster, Instance, ReplicationPair
from tasks.templatetags.panel import ago, lag, postgres_state
from tasks.verdicts import STALE_AFTER

BOX_WIDTH: Final = 252
BOX_HEIGHT: Final = 86
COLUMN_GAP: Final = 216
ROW_GAP: Final = 26
NARROW_WIDTH: Final = 340
NARROW_INDENT: Final = 22
NARROW_GAP: Final = 52
MARGIN: Final = 6
NAME_LENGTH: Final = 20
ADDRESS_LENGTH: Final = 30
#: While a monitor watches, what is older than this, or than three of its rounds, is not of now.
WATCHED_FOR: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Box:
    instance: Instance
    x: int
    y: int
    width: int
    tone: str
    name: str
    role: str
    place: str
    age: str = ""  # how long ago it was seen; "" while that is now
    height: int = BOX_HEIGHT


@dataclass(frozen=True)
class Line:
    """`path` is an SVG path from the upstream to the standby; the two texts stand at (x, y) and below."""

    path: str
    x: int
    y: int
    tone: str
    state: str
    lag: str
    sentence: str


@dataclass
class Picture:
    width: int = 0
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """One instance in the tree: its depth, its row, and the pair by which it follows another (None: it follows nobody)."""

    instance: Instance
    depth: int
    row: int
    pair: ReplicationPair | None


def fresh_for(cluster: Cluster, interval: float | None) -> timedelta:
    """How old what is shown as of now may be. `interval`: the monitor's; None: none watches, and all that is known is of the past."""
    if cluster.is_watched:  # the monitor does not ask what the panel only watches; verifications look at it
        return STALE_AFTER
    return timedelta(0) if interval is None else max(WATCHED_FOR, timedelta(seconds=3 * interval))


def tree(instances: Iterable[Instance], pairs: Iterable[ReplicationPair]) -> list[Place]:
    """Instances in reading order, each standby below and right of its upstream. Followers of nobody are roots, the primary first."""
    by_standby = {pair.standby_id: pair for pair in pairs}
    followers: dict[int | None, list[Instance]] = {}
    known = {instance.pk for instance in instances}
    for instance in sorted(instances, key=lambda row: (row.role, row.name)):
        pair = by_standby.get(instance.pk)
        upstream = pair.upstream_id if pair and pair.upstream_id in known else None
        followers.setdefault(upstream, []).append(instance)
    places: list[Place] = []
    _walk(None, 0, followers, by_standby, places)
    while followers:  # rows that follow each other in a circle have no root; they are shown all the same
        _walk(next(iter(followers)), 0, followers, by_standby, places)
    return places


def _walk(
    upstream: int | None,
    depth: int,
    followers: dict[int | None, list[Instance]],
    pairs: dict[int, ReplicationPair],
    places: list[Place],
) -> None:
    for number, instance in enumerate(followers.pop(upstream, [])):
        first_of_upstream = number == 0 and depth > 0
        row = (places[-1].row if first_of_upstream else places[-1].row + 1) if places else 0
        places.append(Place(instance, depth, row, pairs.get(instance.pk) if depth else None))
        _walk(instance.pk, depth + 1, followers, pairs, places)


def wide(places: Sequence[Place], fresh: timedelta = STALE_AFTER) -> Picture:
    picture, at = Picture(), {place.instance.pk: place for place in places}
    for place in places:
        x, y = MARGIN + place.depth * (BOX_WIDTH + COLUMN_GAP), MARGIN + place.row * (BOX_HEIGHT + ROW_GAP)
        picture.boxes.append(_box(place.instance, x, y, BOX_WIDTH, fresh))
        picture.width, picture.height = max(picture.width, x + BOX_WIDTH + MARGIN), max(picture.height, y + BOX_HEIGHT + MARGIN)
        if place.pair:
            upstream_row = at[place.pair.upstream_id].row
            start, middle = x - COLUMN_GAP, y + BOX_HEIGHT // 2
            bend = start + 24
            from_y = MARGIN + upstream_row * (BOX_HEIGHT + ROW_GAP) + BOX_HEIGHT // 2
            path = (
                f"M{start} {middle}H{x - 9}"
                if from_y == middle
                else f"M{bend} {from_y}V{middle - 10}Q{bend} {middle} {bend + 10} {middle}H{x - 9}"
            )
            picture.lines.append(_line(place.pair, path, start + (COLUMN_GAP + 24) // 2, middle, fresh))
    return picture


def narrow(places: Sequence[Place], fresh: timedelta = STALE_AFTER) -> Picture:
    picture, bottoms = Picture(width=NARROW_WIDTH), {}
    for number, place in enumerate(places):
        x = MARGIN + place.depth * NARROW_INDENT
        y = MARGIN + number * (BOX_HEIGHT + NARROW_GAP)
        picture.boxes.append(_box(place.instance, x, y, NARROW_WIDTH - MARGIN - x, fresh))
        picture.height = y + BOX_HEIGHT + MARGIN
        bottoms[place.instance.pk] = (x + 10, y + BOX_HEIGHT)
        if place.pair:
            from_x, from_y = bottoms[place.pair.upstream_id]
            middle = y + BOX_HEIGHT // 2
            path = (
                f"M{from_x} {from_y}V{middle - 8}Q{from_x} {middle} {from_x + 4} {middle}H{x - 8}"
                if x - 8 > from_x + 4
                else f"M{from_x} {from_y}V{middle}H{x - 1}"
            )
            picture.lines.append(_line(place.pair, path, x + 14, y - NARROW_GAP // 2 + 2, fresh))
    return picture


def _box(instance: Instance, x: int, y: int, width: int, fresh: timedelta) -> Box:
    return Box(
        instance=instance,
        x=x,
        y=y,
        width=width,
        tone=box_tone(instance, fresh),
        name=shortened(instance.name, NAME_LENGTH),
        role=role_words(instance),
        place=shortened(f"{instance.server.address}:{instance.port}", ADDRESS_LENGTH),
        age=ago(instance.seen_at) if instance.lifecycle == "ready" and _is_old(instance.seen_at, fresh) else "",
    )


def _line(pair: ReplicationPair, path: str, x: int, y: int, fresh: timedelta) -> Line:
    state = f"{postgres_state(pair.state)} · {pair.sync_state}" if pair.sync_state else postgres_state(pair.state)
    behind = _("lag %(lag)s") % {"lag": lag(pair)} if pair.lag_bytes is not None or pair.lag_seconds is not None else _("lag unknown")
    if pair.observed_at and _is_old(pair.observed_at, fresh):
        behind = f"{behind} · {ago(pair.observed_at)}"
    sentence = _("%(standby)s follows %(upstream)s: %(state)s, %(lag)s.") % {
        "standby": pair.standby.name,
        "upstream": pair.upstream.name,
        "state": state,
        "lag": behind,
    }
    return Line(path, x, y, line_tone(pair, fresh), state, behind, sentence)


def _is_old(moment: datetime | None, fresh: timedelta) -> bool:
    return moment is None or timezone.now() - moment > fresh


def box_tone(instance: Instance, fresh: timedelta = STALE_AFTER) -> str:
    if instance.lifecycle != "ready":
        return "running"
    if instance.observed_role == Instance.Observed.UNKNOWN or _is_old(instance.seen_at, fresh):
        return "unknown"
    return "ok" if instance.observed_role == instance.role else "failed"


def line_tone(pair: ReplicationPair, fresh: timedelta = STALE_AFTER) -> str:
    if _is_old(pair.observed_at, fresh):
        return "unknown"
    return {"streaming": "ok", "catchup": "warning", "startup": "warning", "backup": "warning"}.get(pair.state, "failed")


def role_words(instance: Instance) -> str:
    """The declared role, and what was observed where it is something else."""
    role, observed = instance.get_role_display(), instance.get_observed_role_display()
    if instance.lifecycle != "ready":
        return f"{role} · {instance.get_lifecycle_display()}"
    if instance.observed_role == instance.role:
        return role
    if instance.observed_role in (Instance.Observed.PRIMARY, Instance.Observed.STANDBY):
        return _("%(role)s · seen as %(observed)s") % {"role": role, "observed": observed}
    return f"{role} · {observed}"


def shortened(text: str, length: int) -> str:
    """Cut in the middle: names of one kind differ at their ends."""
    if len(text) <= length:
        return text
    tail = length // 2
    return f"{text[: length - tail - 1]}…{text[-tail:]}"
