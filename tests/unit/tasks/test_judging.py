"""Which conditions hold, and which ones follow from another: plain values in, findings out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clusters.postgres.forecast import Forecast
from clusters.postgres.text import Text
from tasks.alerting.conditions import CONDITIONS
from tasks.alerting.judging import consequences, judged
from tasks.alerting.rules import Rule
from tasks.alerting.things import ClusterThing, FindingThing, Found, InstanceThing, Known, Room, SlotThing, StuckThing

GIB = 1024**3
RULES = {name: Rule(each, True, each.severity, each.hold_seconds, each.threshold) for name, each in CONDITIONS.items()}
PRIMARY = InstanceThing("node1", "primary", "primary", sampled={"timeline": 3, "position": 500, "connections": 5, "max_connections": 100})
STANDBY = InstanceThing(
    "node2", "standby", "standby", upstream="node1", stream="streaming", sync_state="sync",
    sampled={"timeline": 3, "position": 500, "receiver_silent_seconds": 2.0, "connections": 1, "max_connections": 100},
)  # fmt: skip
WELL = ClusterThing(1, "orders", sync_count=1, instances=(PRIMARY, STANDBY))
ASYNC = replace(WELL, sync_count=0)


def with_(cluster: ClusterThing = WELL, *, node1: dict[str, Any] | None = None, node2: dict[str, Any] | None = None) -> ClusterThing:
    changes = {"node1": node1 or {}, "node2": node2 or {}}
    return replace(cluster, instances=tuple(replace(each, **changes[each.name]) for each in cluster.instances))


def sampled(of: InstanceThing, **values: Any) -> dict[str, Any]:
    return {"sampled": {**of.sampled, **values}}


def found(cluster: ClusterThing, *, lives: bool = True) -> list[Found]:
    return judged(Known((cluster,), lives, monitor_dead=not lives), RULES)


def told(cluster: ClusterThing) -> list[tuple[str, str]]:
    """Those that begin an alert: no mere consequences."""
    every = found(cluster)
    dropped = consequences(every)
    return [(each.condition, each.subject) for each in every if each.key not in dropped]


def test_of_a_cluster_that_is_well_nothing_is_told() -> None:
    assert found(WELL) == []


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (with_(ASYNC, node2={"observed_role": "unreachable", "answers": False, "stream": ""}), ("standby_down", "node2")),
        (with_(ASYNC, node2={"observed_role": "stopped", "answers": False, "stream": ""}), ("standby_down", "node2")),
        (with_(node1={"observed_role": "unreachable", "answers": False}), ("primary_down", "node1")),
        (with_(node2={"observed_role": "primary", "stream": "", **sampled(STANDBY, timeline=4)}), ("several_writable", "")),
        (with_(node1={"observed_role": "standby"}), ("role_differs", "node1")),
        (with_(node1={"observed_role": "unreachable", "answers": False}, node2={"observed_role": "primary"}), ("role_differs", "node2")),
        (with_(node2={"stream": "", **sampled(STANDBY, timeline=2)}), ("timeline_differs", "node2")),
        (with_(node2={"stream": ""}), ("not_streaming", "node2")),
        (with_(node2={"stream": "", **sampled(STANDBY, receiver_silent_seconds=41.0)}), ("receiver_silent", "node2")),
        (with_(node2=sampled(STANDBY, receiver_silent_seconds=11.0, position=499)), ("receiver_silent", "node2")),
        (with_(node2={"lag_bytes": 9 * GIB, "lag_seconds": 90.0, **sampled(STANDBY, replay_paused=True)}), ("replay_paused", "node2")),
        (with_(node2={"lag_bytes": 9 * GIB, "lag_seconds": 90.0}), ("lag_seconds", "node2")),
        (with_(node2={"lag_bytes": 9 * GIB, "lag_seconds": 9.0}), ("lag_bytes", "node2")),
        (with_(node2={"sync_state": "async"}), ("commits_wait", "node1")),
        (with_(node1=sampled(PRIMARY, connections=95)), ("connections_used", "node1")),
        (with_(node1=sampled(PRIMARY, checksum_failures=2)), ("checksum_failures", "node1")),
        (with_(node2={"not_promotable": "No room."}), ("not_promotable", "node2")),
        (replace(WELL, late_since=datetime(2026, 1, 1, tzinfo=UTC)), ("verification_late", "")),
    ],
)  # fmt: skip
def test_each_trouble_is_told_once(cluster: ClusterThing, expected: tuple[str, str]) -> None:
    assert told(cluster) == [expected]


def test_a_dead_standby_that_commits_wait_for_is_told_with_what_it_costs() -> None:
    dead = with_(node2={"observed_role": "unreachable", "answers": False, "stream": "", "sync_state": ""})
    assert told(dead) == [("standby_down", "node2"), ("commits_wait", "node1")]


def test_sentences_name_values_and_cures() -> None:
    (one,) = found(with_(node2=sampled(STANDBY, receiver_silent_seconds=11.4, position=499)))
    assert one.sentence == "node2 has heard nothing from node1 for 11 seconds, though it holds a connection."
    assert (one.value, one.threshold, one.instance) == ("11", "10", "node2")
    assert one.cure.startswith("See whether its walreceiver process is frozen")
    (two,) = found(with_(ASYNC, node2={"observed_role": "unreachable", "answers": False, "error": "timed out"}))
    assert (two.condition, two.sentence) == ("standby_down", "node2 gives no answer: timed out")


FILLS = Forecast("filling", Text("It fills."), (Text("Delete."),), seconds=7200.0, left=GIB)


def test_disks_and_slots() -> None:
    assert told(with_(node1={"room": Room(4 * GIB, 100 * GIB, FILLS)})) == [("disk_full", "node1")]
    assert told(with_(node1={"room": Room(40 * GIB, 100 * GIB, FILLS)})) == [("disk_filling", "node1")]
    assert told(with_(node1={"room": Room(40 * GIB, 100 * GIB, replace(FILLS, seconds=90_000.0))})) == []
    idle = SlotThing("pgr_node2", False, "node2", "extended", 2 * GIB, replace(FILLS, seconds=None))
    assert told(with_(node1={"slots": (idle,)})) == [("slot_retaining", "node1/pgr_node2")]
    assert told(with_(node1={"slots": (replace(idle, forecast=FILLS),)})) == [("slot_filling", "node1/pgr_node2")]
    assert told(with_(node1={"slots": (replace(idle, forecast=Forecast("over", Text("It is lost."))),)})) == [
        ("slot_lost", "node1/pgr_node2")
    ]
    assert told(with_(node1={"slots": (replace(idle, active=True),)})) == []


DRIFT = FindingThing("node2", "file_drifted", "warns", "A file differs.", "Look.", "a", "b")
MARKER = FindingThing("node2", "marker_not_read", "blocks", "No row.", "Read its log.")
LAG = FindingThing("node2", "lag_bytes", "warns", "Lag.", "")


def test_findings_of_verifications_are_told_unless_the_monitor_tells_the_same() -> None:
    assert told(replace(WELL, findings=(DRIFT, MARKER, LAG))) == [
        ("verification_warning", "node2/file_drifted"),
        ("verification_failed", "node2/marker_not_read"),
    ]
    assert told(replace(WELL, findings=(LAG,), watched=True)) == [("verification_warning", "node2/lag_bytes")]
    dead = with_(replace(ASYNC, findings=(DRIFT, MARKER)), node2={"observed_role": "stopped", "answers": False})
    assert told(dead) == [("standby_down", "node2"), ("verification_warning", "node2/file_drifted")]


def test_every_job_that_needs_an_operator_is_told_whatever_it_is_about() -> None:
    stuck = (StuckThing(7, WELL, "It stopped.", "Look."), StuckThing(8, WELL, "It stopped.", ""), StuckThing(9, None, "It stopped.", ""))
    keys = [each.key for each in judged(Known((WELL,), True, stuck=stuck), RULES)]
    assert keys == [("job_needs_operator", "orders", "7"), ("job_needs_operator", "orders", "8"), ("job_needs_operator", "", "9")]


def test_a_silent_monitor_is_told_once_and_nothing_is_claimed_of_instances() -> None:
    silent = with_(node1={"answers": False}, node2={"answers": False, "lag_bytes": 9 * GIB})
    assert [(each.condition, each.key) for each in found(silent, lives=False)] == [("monitor_dead", ("monitor_dead", "", ""))]
    assert judged(Known((), False, monitor_dead=True), RULES) == []


def test_what_is_switched_off_is_not_told() -> None:
    rules = {**RULES, "replay_paused": replace(RULES["replay_paused"], enabled=False)}
    assert judged(Known((with_(node2=sampled(STANDBY, replay_paused=True)),), True), rules) == []
