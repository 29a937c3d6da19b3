"""The picture: who stands where, and what each line says."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from clusters.models import Cluster, Instance, ReplicationPair, Server
from tasks.topology import MARGIN, NARROW_WIDTH, WATCHED_FOR, box_tone, fresh_for, line_tone, narrow, role_words, shortened, tree, wide

ALPHA = Server(pk=1, name="alpha", address="192.0.2.10")
ORDERS = Cluster(pk=1, name="orders")


def instance(key: int, name: str, role: str = "standby", **fields: object) -> Instance:
    values = {"lifecycle": "ready", "observed_role": role, "observed_at": timezone.now(), "port": 5432, **fields}
    row = Instance(pk=key, name=name, role=role, server=ALPHA, cluster=ORDERS, **values)
    row._state.fields_cache["state"] = None  # looked up: the monitor has none
    return row


def pair(upstream: Instance, standby: Instance, **fields: object) -> ReplicationPair:
    values = {"state": "streaming", "sync_state": "async", "lag_bytes": 0, "lag_seconds": 0.0, "observed_at": timezone.now(), **fields}
    return ReplicationPair(upstream=upstream, standby=standby, **values)


A = instance(1, "node1", "primary")
B, C, D = instance(2, "node2"), instance(3, "node3"), instance(4, "node4")
PAIRS = [pair(A, B), pair(A, C), pair(B, D)]


def it_puts_each_standby_below_and_right_of_its_upstream() -> None:
    places = tree([D, C, B, A], PAIRS)
    assert [(place.instance.name, place.depth, place.row) for place in places] == [
        ("node1", 0, 0),
        ("node2", 1, 0),
        ("node4", 2, 0),
        ("node3", 1, 1),
    ]


def it_shows_instances_that_follow_nobody_as_roots_and_the_declared_primary_first() -> None:
    assert [(place.instance.name, place.depth) for place in tree([B, A], [])] == [("node1", 0), ("node2", 0)]


def it_shows_rows_that_follow_each_other_in_a_circle() -> None:
    circle = [pair(B, C), pair(C, B)]
    assert {place.instance.name for place in tree([A, B, C], circle)} == {"node1", "node2", "node3"}


@pytest.mark.parametrize("layout", [wide, narrow])
def it_draws_every_instance_and_every_stream_inside_the_picture(layout: object) -> None:
    picture = layout(tree([A, B, C, D], PAIRS))  # type: ignore[operator]
    assert len(picture.boxes) == 4
    assert len(picture.lines) == 3
    for box in picture.boxes:
        assert box.x >= MARGIN
        assert box.x + box.width <= picture.width - MARGIN
        assert box.y + box.height <= picture.height - MARGIN


def it_fits_a_telephone() -> None:
    assert narrow(tree([A, B, C, D], PAIRS)).width == NARROW_WIDTH <= 358


def it_never_draws_two_boxes_at_one_place() -> None:
    boxes = wide(tree([A, B, C, D], PAIRS)).boxes
    assert len({(box.x, box.y) for box in boxes}) == len(boxes)


def it_says_of_each_line_who_follows_whom_and_how_far_behind() -> None:
    lines = wide(tree([A, B], [pair(A, B, lag_bytes=16384, lag_seconds=0.2)])).lines
    assert [line.sentence for line in lines] == ["node2 follows node1: streaming · async, lag 16.0 kB · 0.2 s."]


OLD = timezone.now() - dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("fields", "tone", "words"),
    [
        ({}, "ok", "standby"),
        ({"observed_role": "stopped"}, "failed", "standby · stopped"),
        ({"observed_role": "primary"}, "failed", "standby · seen as primary"),
        ({"observed_role": "unknown"}, "unknown", "standby · not observed yet"),
        ({"observed_at": OLD}, "unknown", "standby"),
        ({"lifecycle": "planned", "observed_role": "unknown"}, "running", "standby · planned"),
    ],
)
def it_shows_where_what_was_observed_differs(fields: dict[str, object], tone: str, words: str) -> None:
    row = instance(9, "node9", **fields)
    assert (box_tone(row), role_words(row)) == (tone, words)


@pytest.mark.parametrize(
    ("state", "seen", "tone"),
    [("streaming", None, "ok"), ("catchup", None, "warning"), ("", None, "failed"), ("streaming", OLD, "unknown")],
)
def it_gives_a_line_the_tone_of_its_state(state: str, seen: dt.datetime | None, tone: str) -> None:
    assert line_tone(pair(A, B, state=state, observed_at=seen or timezone.now())) == tone


def it_cuts_long_names_in_the_middle() -> None:
    assert shortened("a-standby-with-a-long-name-1", 20) == "a-standby…ong-name-1"
    assert shortened("node1", 20) == "node1"


def it_greys_what_is_not_of_now_and_says_how_old_it_is() -> None:
    ago = timezone.now() - dt.timedelta(minutes=5)
    old, new = instance(5, "node5", observed_at=ago), instance(6, "node6")
    first = instance(1, "node1", "primary")
    places = tree([first, old, new], [pair(first, old, observed_at=ago), pair(first, new)])
    for layout in (wide, narrow):
        picture = layout(places, dt.timedelta(minutes=1))
        assert {(box.name, box.tone, box.age) for box in picture.boxes} == {
            ("node1", "ok", ""), ("node5", "unknown", "5 min ago"), ("node6", "ok", ""),
        }  # fmt: skip
        assert [(line.tone, line.lag) for line in picture.lines] == [
            ("unknown", "lag 0 bytes · 0.0 s · 5 min ago"),
            ("ok", "lag 0 bytes · 0.0 s"),
        ]
        assert "5 min ago" in picture.lines[0].sentence
        everything = layout(places, fresh_for(ORDERS, None))
        assert {box.tone for box in everything.boxes} | {line.tone for line in everything.lines} == {"unknown"}
        assert all(box.age for box in everything.boxes)


def it_knows_how_old_what_is_shown_may_be() -> None:
    adopted = Cluster(pk=2, name="billing", adopted_at=timezone.now())
    assert fresh_for(ORDERS, 5.0) == WATCHED_FOR
    assert fresh_for(ORDERS, 60.0) == dt.timedelta(minutes=3)
    assert fresh_for(ORDERS, None) == dt.timedelta(0)
    assert fresh_for(adopted, None) == dt.timedelta(minutes=15)
