"""synchronous_standby_names read and written, the guarantee in one sentence, and what stands in the way of a change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.postgres.facts import InstanceFacts
from clusters.postgres.guarantee import guarantee
from clusters.postgres.refused import has_control
from clusters.postgres.rules import SYNC_CHANGE_RULES, SyncChangeFacts, create_slot_obstacles, drop_slot_obstacles, sync_obstacles
from clusters.postgres.sync import SyncNames, parse_names, standby_names
from tests.unit.clusters.postgres.pair import BACKUP, HELD, SENDER, primary

NODE2 = replace(SENDER, application_name="node2", sync_state="quorum")
NODE3 = replace(SENDER, application_name="node3", sync_state="quorum", pid=4713)
ANY = 'ANY 1 ("node2", "node3")'
PROMISE = "Every commit is on disk on the primary and on 1 of node2, node3 before it is acknowledged"


def seen(setting: str = ANY, senders: Any = (NODE2, NODE3), commit: str = "on", **more: Any) -> InstanceFacts:
    settings = {"synchronous_standby_names": setting, "synchronous_commit": commit}
    return primary(senders=senders, settings=settings, **more)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", SyncNames()),
        ("  ", SyncNames()),
        ('ANY 1 ("node2", "node3")', SyncNames("any", 1, ("node2", "node3"))),
        ("any 2(a,b , c)", SyncNames("any", 2, ("a", "b", "c"))),
        ('FIRST 2 ("a")', SyncNames("first", 2, ("a",))),
        ("2 (a, b)", SyncNames("first", 2, ("a", "b"))),
        ("a, b", SyncNames("first", 1, ("a", "b"))),
        ("first", SyncNames("first", 1, ("first",))),
        ("any, first", SyncNames("first", 1, ("any", "first"))),
        ("*", SyncNames("first", 1, ("*",))),
        ('ANY 1 ("*")', SyncNames("any", 1, ("*",))),
        ('"a ""quoted"" name"', SyncNames("first", 1, ('a "quoted" name',))),
        ("node-2", SyncNames("first", 1, ("node-2",))),
        *((text, None) for text in ("ANY 1 (", "ANY 0 (a)", "a,, b", "a b", "(a)", "ANY 1 (a;b)", '"a', "ANY 1 ()", "2 (a) b")),
    ],
)
def it_reads_what_a_server_has(text: str, wanted: SyncNames | None) -> None:
    assert parse_names(text) == wanted


@pytest.mark.parametrize(("mode", "count"), [("any", 1), ("first", 2)])
def it_reads_what_it_writes(mode: Any, count: int) -> None:
    assert parse_names(standby_names(mode, count, ["node2", "node-3"])) == SyncNames(mode, count, ("node2", "node-3"))
    assert standby_names("async", 0, ["node2"]) == ""


def it_compares_by_meaning() -> None:
    assert SyncNames("any", 1, ("a", "b")).same(SyncNames("any", 1, ("B", "A")))
    assert not SyncNames("first", 1, ("a", "b")).same(SyncNames("first", 1, ("b", "a")))
    assert not SyncNames("any", 1, ("a", "b")).same(SyncNames("any", 2, ("a", "b")))


#: the primary, what is declared; then the level and the sentence
GUARANTEES = [
    (seen(), ANY, "synchronous", f"{PROMISE}."),
    (
        seen('FIRST 1 ("node2", "node3")', (replace(NODE2, sync_state="sync"), replace(NODE3, sync_state="potential"))),
        'FIRST 1 ("node2", "node3")', "synchronous",
        "Every commit is on disk on the primary and on the first 1 streaming of node2, node3 before it is acknowledged.",
    ),
    (
        seen('ANY 2 ("node2", "node3")'), 'ANY 2 ("node2", "node3")', "synchronous",
        "Every commit is on disk on the primary and on node2, node3 before it is acknowledged.",
    ),
    (
        seen(weak_sync=("role app", "database shop")), ANY, "weakened",
        f"{PROMISE}, except for the role app, database shop (synchronous_commit below on).",
    ),
    (
        seen(commit="remote_write"), ANY, "weakened",
        f"{PROMISE}, but synchronous_commit is remote_write on the server: sessions do not wait unless they set it on.",
    ),
    (seen(commit="remote_apply"), ANY, "synchronous", f"{PROMISE}."),
    (seen(senders=()), ANY, "waiting", f"{PROMISE}, but no synchronous standby is streaming: commits wait."),
    (
        seen('ANY 2 ("node2", "node3")', (NODE2,)), 'ANY 2 ("node2", "node3")', "waiting",
        "Every commit is on disk on the primary and on node2, node3 before it is acknowledged, "
        "but only 1 of 2 synchronous standbys is streaming: commits wait.",
    ),
    (
        seen("ANY 1 (*)"), ANY, "weakened",
        "Every commit is on disk on the primary and on * before it is acknowledged, but the list holds *: "
        "whoever replicates counts, so it is not known who has the commits, and this is not what the panel declares "
        "(ANY 1 (\"node2\", \"node3\")).",
    ),
    (
        seen(senders=(NODE2, replace(NODE2, pid=9), NODE3)), ANY, "weakened",
        f"{PROMISE}, but more than one standby replicates as node2: two that count may be the same one.",
    ),
    (seen(""), "", "asynchronous", "Commits wait for no standby (asynchronous): a failover may lose the last commits."),
    (
        seen(""), ANY, "asynchronous",
        "Commits wait for no standby (asynchronous): a failover may lose the last commits, "
        "and this is not what the panel declares (ANY 1 (\"node2\", \"node3\")).",
    ),
    (seen("", (BACKUP,)), "", "none", "No standby is streaming: an acknowledged commit is on the primary alone."),
    (None, "", "unknown", "No primary was seen at the last look: nothing can be said of commits."),
    (seen("ANY ("), "", "unknown", "synchronous_standby_names of the primary cannot be read: ANY (."),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "declared", "level", "sentence"), GUARANTEES)
def it_says_in_one_sentence_what_holds(facts: InstanceFacts | None, declared: str, level: str, sentence: str) -> None:
    held = guarantee(facts, declared)
    assert (held.level, held.sentence) == (level, sentence)


def it_shows_a_hostile_role_name_inert() -> None:
    held = guarantee(seen(weak_sync=("role \x1b[2J",)), ANY)
    assert not has_control(held.sentence)


WANTED = SyncNames("any", 1, ("node2", "node3"))
STANDS_IN_THE_WAY = [
    ({"primary": replace(seen(), in_recovery=True)}, "sync_primary_in_recovery", "blocks", None, None),
    ({"primary": seen(altered_settings=("synchronous_standby_names",))}, "sync_altered", "blocks", ANY, None),
    ({"primary": seen(senders=())}, "sync_standbys_missing", "blocks", 0, 1),
    ({"primary": seen(senders=()), "lower": True}, "sync_standbys_missing", "warns", 0, 1),
    ({"primary": seen(senders=(NODE2, replace(NODE2, pid=9)))}, "sync_name_twice", "blocks", "node2", 1),
    ({"primary": seen(weak_sync=("role app",))}, "sync_roles_weak", "warns", "role app", "on"),
]


@pytest.mark.parametrize(("changes", "name", "severity", "value", "threshold"), STANDS_IN_THE_WAY)
def it_refuses_a_change_with_value_threshold_and_cure(changes: Any, name: str, severity: str, value: Any, threshold: Any) -> None:
    found = sync_obstacles(SyncChangeFacts(**{"primary": seen(), "name": "node1", "wanted": WANTED, **changes}))
    assert [(item.name, item.severity, item.value, item.threshold) for item in found] == [(name, severity, value, threshold)]
    assert found[0].cure.endswith(".")


def it_tries_every_rule_of_a_change() -> None:
    assert {row[1] for row in STANDS_IN_THE_WAY} == {rule.__name__ for rule in SYNC_CHANGE_RULES}
    assert sync_obstacles(SyncChangeFacts(seen(), "node1", WANTED)) == []
    assert sync_obstacles(SyncChangeFacts(seen(senders=()), "node1", SyncNames())) == []


FREE = replace(HELD, name="backup", active=False, pid=None)


def it_makes_a_slot_where_there_is_room() -> None:
    assert create_slot_obstacles(primary(), "node1", "backup") == []
    full = primary(slots=(FREE,), settings={"max_replication_slots": "1", "max_slot_wal_keep_size": "-1"})
    found = create_slot_obstacles(full, "node1", "backup")
    assert [(item.name, item.severity) for item in found] == [
        ("slot_there", "blocks"), ("no_slot_left", "blocks"), ("slot_uncapped", "warns"),
    ]  # fmt: skip


def it_drops_a_slot_that_nobody_needs() -> None:
    assert drop_slot_obstacles(primary(slots=(FREE,)), "node1", "backup", "") == []
    assert [item.name for item in drop_slot_obstacles(primary(slots=()), "node1", "backup", "")] == ["slot_absent"]
    used = primary(slots=(replace(FREE, active=True, pid=4711),))
    found = drop_slot_obstacles(used, "node1", "backup", "node2")
    assert [item.name for item in found] == ["slot_owned", "slot_active"]
    assert found[1].sentence == "The slot backup on node1 is in use by beta (process 4711)."
    logical = primary(slots=(replace(FREE, type="logical"),))
    assert [(item.name, item.severity) for item in drop_slot_obstacles(logical, "node1", "backup", "")] == [("slot_logical", "warns")]
