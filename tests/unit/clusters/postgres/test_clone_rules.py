"""Obstacles before a clone: each fires on its own change of a place where nothing is in the way, with its whole sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.postgres.facts import Version
from clusters.postgres.refused import has_control
from clusters.postgres.rules import CLONE_RULES, CloneFacts, clone_obstacles
from tests.unit.clusters.postgres.cast import SLOT
from tests.unit.clusters.postgres.pair import BACKUP, GB, HELD, MB, RECEIVER, SENDER, primary, standby
from tests.unit.clusters.postgres.three import BUILD

ALONE = primary(senders=(), slots=())
OTHERS = tuple(replace(SENDER, pid=pid, application_name=f"other-{pid}") for pid in range(9))
SLOTS = tuple(replace(HELD, name=f"other_{number}") for number in range(10))


def clone(**changes: Any) -> CloneFacts:
    """beta is to be cloned from alpha, and nothing is in the way. `source` and `settings` change the source."""
    source = changes.pop("source", ALONE)
    source = replace(source, settings={**source.settings, **changes.pop("settings", {})})
    values: dict[str, Any] = {
        "source_name": "alpha",
        "standby_name": "beta",
        "slot": SLOT,
        "target_version": Version(160004),
        "free_bytes": 100 * GB,
        "port": 5433,
        "port_free": True,
        "login_ok": True,
        "target_directory": "/var/lib/pgreplica/orders/beta",
        "target_settings": {"max_connections": 100, "max_worker_processes": 8},
        "wal_rate": 1.0 * MB,
        "source_build": BUILD,
        "target_build": BUILD,
    }
    return CloneFacts(source=source, **{**values, **changes})


FIRES = [
    ({"target_version": None}, "programs_missing", "blocks", None, 16, "The target server has no PostgreSQL 16 programs."),
    (
        {"target_version": Version(150004)}, "major_version_differs", "blocks", 15, 16,
        "The target server has PostgreSQL 15; alpha runs 16, and a physical copy needs the same major version.",
    ),
    (
        {"target_version": Version(160003)}, "minor_version_older", "warns", "16.3", "16.4",
        "The target server has PostgreSQL 16.3, older than 16.4 of alpha.",
    ),
    (
        {"target_build": replace(BUILD, machine="aarch64")}, "machine_differs", "blocks", "aarch64", "x86_64",
        "The processor of beta is aarch64, that of alpha x86_64; a physical copy does not work across them.",
    ),
    (
        {"target_build": replace(BUILD, libc="glibc 2.31")}, "libc_differs", "warns", "glibc 2.31", "glibc 2.36",
        "The C library of beta is glibc 2.31, that of alpha glibc 2.36; they may sort text differently.",
    ),
    (
        {"target_build": replace(BUILD, libc="musl")}, "libc_differs", "blocks", "musl", "glibc 2.36",
        "The C library of beta is musl, that of alpha glibc 2.36; they may sort text differently.",
    ),
    (
        {"target_build": replace(BUILD, icu="74")}, "icu_differs", "warns", "74", "72",
        "beta is linked with ICU 74, alpha with ICU 72; its collations may sort text differently.",
    ),
    (
        {"target_build": replace(BUILD, image="sha256:b"), "source_build": replace(BUILD, image="sha256:a")},
        "image_differs", "warns", "sha256:b", "sha256:a", "beta runs the image sha256:b, alpha the image sha256:a.",
    ),
    (
        {"target_build": replace(BUILD, extensions=("plpgsql",)), "extensions_used": ("plpgsql", "postgis")},
        "extension_missing", "blocks", "postgis", None,
        "The databases of alpha use extensions that beta has not on disk: postgis. What needs them fails there.",
    ),
    (
        {"target_build": replace(BUILD, extensions=("plpgsql",))}, "extension_missing", "warns", "postgis", None,
        "The databases of alpha may use extensions that beta has not on disk: postgis.",
    ),
    (
        {"settings": {"wal_level": "minimal"}}, "wal_level_too_low", "blocks", "minimal", "replica",
        "wal_level is minimal on alpha; a standby needs at least replica.",
    ),
    (
        {"source": standby(receiver=replace(RECEIVER, status="waiting"), size_bytes=10 * GB)},
        "source_not_streaming", "blocks", "waiting", "streaming",
        "alpha is a standby and its receiver is waiting; a copy of it would wait for WAL that does not come.",
    ),
    (
        {"source": standby(receiver=None, size_bytes=10 * GB)}, "source_not_streaming", "blocks", "absent", "streaming",
        "alpha is a standby and its receiver is absent; a copy of it would wait for WAL that does not come.",
    ),
    (
        {"source": standby(replay_state="paused", size_bytes=10 * GB)}, "source_replay_paused", "blocks", "paused", "not paused",
        "Replay on alpha does not go on (paused); a base backup of it would not end.",
    ),
    (
        {"source": replace(ALONE, base_backups=2, senders=(BACKUP,))}, "source_in_backup", "warns", 2, 0,
        "Other base backups of alpha are running (2); all will be slower.",
    ),
    (
        {"source": replace(ALONE, senders=OTHERS)}, "no_free_walsender", "blocks", 1, 2,
        "WAL senders left on alpha: 1 of 10; a base backup takes 2.",
    ),
    (
        {"source": replace(ALONE, slots=SLOTS)}, "no_free_slot", "blocks", 0, 1,
        "alpha has no replication slot left of 10; the standby needs 1.",
    ),
    (
        {"source": replace(ALONE, slots=(HELD,))}, "slot_in_use", "blocks", SLOT, None,
        "The slot pgr_orders_beta on alpha is used by another connection (process 4711).",
    ),
    (
        {"source": replace(ALONE, senders=(SENDER,))}, "name_in_use", "blocks", "beta", None,
        "Somebody at 2001:db8::6 replicates from alpha under the name beta already.",
    ),
    (
        {"settings": {"max_slot_wal_keep_size": "64"}}, "slot_cap_too_small", "flag", 64 * MB, int(102.4 * MB),
        "About 102 MB of WAL are expected while the copy runs, and a slot on alpha keeps 64.0 MB; the copy would be lost.",
    ),
    (
        {"free_bytes": None}, "size_unknown", "flag", 10 * GB, None,
        "It cannot be told whether the copy has room: the size of alpha is 10.0 GB, the free space on the target is not known.",
    ),
    (
        {"source": replace(ALONE, size_bytes=None)}, "size_unknown", "flag", None, None,
        "It cannot be told whether the copy has room: the size of alpha is not known, the free space on the target is 100 GB.",
    ),
    (
        {"free_bytes": 12 * GB}, "no_room", "blocks", 12 * GB, 12 * GB + int(102.4 * MB),
        "The target has 12.0 GB free; the copy needs 12.1 GB (1.2 times the 10.0 GB of alpha, and WAL meanwhile).",
    ),
    (
        {"source": replace(ALONE, tablespaces=("fast", "slow"))}, "tablespaces_present", "blocks", "fast, slow", None,
        "alpha has tablespaces (fast, slow), which the panel cannot copy yet.",
    ),
    (
        {"login_ok": False, "login_error": 'psql: error: FATAL:  no pg_hba.conf entry\x1b[2J\n'}, "login_failed", "blocks",
        "psql: error: FATAL:  no pg_hba.conf entry\\u001b[2J", None,
        "The replication role could not log in to alpha from the target server: psql: error: FATAL:  no pg_hba.conf entry\\u001b[2J",
    ),
    (
        {"target_directory_state": "other"}, "target_not_empty", "blocks", "/var/lib/pgreplica/orders/beta", None,
        "/var/lib/pgreplica/orders/beta exists on the target server and is not of this job.",
    ),
    ({"port_free": False}, "port_taken", "blocks", 5433, None, "Port 5433 is in use on the target server."),
    (
        {"settings": {"max_connections": "200"}}, "parameters_lower", "blocks", "max_connections = 100", "max_connections = 200",
        "The standby would not start: max_connections = 100, less than on alpha (max_connections = 200).",
    ),
    (
        {"source": replace(ALONE, altered_settings=("primary_conninfo", "work_mem"))},
        "settings_altered", "blocks", "primary_conninfo", None,
        "ALTER SYSTEM on alpha set primary_conninfo; the copy would bring that along, and it outdoes the standby's own files.",
    ),
    (
        {"source": replace(ALONE, data_checksums=False), "settings": {"wal_log_hints": "off"}}, "rewind_impossible", "warns", "off", "on",
        "alpha has neither checksums nor wal_log_hints: after a failover the old primary must be cloned anew, not rewound.",
    ),
]  # fmt: skip


def it_finds_nothing_where_nothing_is_in_the_way():
    assert clone_obstacles(clone()) == []


def it_clones_a_standby_that_streams():
    assert clone_obstacles(clone(source=standby(size_bytes=10 * GB))) == []


@pytest.mark.parametrize(("changes", "name", "severity", "value", "threshold", "sentence"), FIRES, ids=[row[1] for row in FIRES])
def it_finds(changes, name, severity, value, threshold, sentence):
    (found,) = clone_obstacles(clone(**changes))
    assert (found.name, found.severity, found.value, found.threshold, found.sentence) == (name, severity, value, threshold, sentence)
    assert found.cure.endswith(".")
    assert not has_control(found.sentence + found.cure)
    assert found.as_row() == {
        "name": name,
        "severity": severity,
        "sentence": sentence,
        "value": value,
        "threshold": threshold,
        "cure": str(found.cure),
    }


def it_tries_every_rule():
    assert {row[1] for row in FIRES} == {rule.__name__ for rule in CLONE_RULES}


def it_says_every_obstacle_at_once():
    found = clone_obstacles(clone(target_version=None, port_free=False, login_ok=False))
    assert [obstacle.name for obstacle in found] == ["programs_missing", "login_failed", "port_taken"]
    assert found[1].value == "no reason given"


def it_takes_its_own_slot_and_its_own_directory_from_an_earlier_try():
    source = replace(ALONE, slots=(*SLOTS[:9], replace(HELD, active=False, pid=None)))
    assert clone_obstacles(clone(source=source, target_directory_state="ours")) == []


@pytest.mark.parametrize(
    ("rates", "seconds", "wal"),
    [
        ({"wal_rate": None}, 102.4, 16 * MB),
        ({"wal_rate": 1.0 * MB, "copy_rate": 10.0 * MB}, 1024.0, 1024 * MB),
        ({"wal_rate": 1.0 * MB, "copy_rate": 1000.0 * MB, "rate_cap": 20.0 * MB}, 512.0, 512 * MB),
        ({"wal_rate": 1.0 * MB, "copy_rate": 10.0 * MB, "rate_cap": 20.0 * MB}, 1024.0, 1024 * MB),
    ],
)
def it_expects_wal_by_rate_and_time(rates, seconds, wal):
    facts = clone(**rates)
    assert (facts.copy_seconds, facts.wal_bytes, facts.needed_bytes) == (seconds, wal, 12 * GB + wal)


def it_accepts_exactly_what_is_needed():
    needed = clone().needed_bytes
    assert clone_obstacles(clone(free_bytes=needed)) == []
    assert [found.name for found in clone_obstacles(clone(free_bytes=needed - 1))] == ["no_room"]
