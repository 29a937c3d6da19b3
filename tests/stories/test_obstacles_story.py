"""Every obstacle that blocks fires on a real cluster, refuses what was asked, and names its cure (safety.md G13).

A state is made by hand, the job is run as a worker would, and the state is undone. What cannot be had on one machine is faked
at the edge to it, one fact at a time: `other_machine`, `other_build`, `full_disk` of `tests.trouble`; `limits` are only lower.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from clusters import services
from clusters.models import Cluster, Instance, ReplicationPair
from clusters.postgres import rules
from launcher.account import Account
from tasks.board import board_show
from tasks.models import Job
from tasks.runner import run
from tests.ports import free_port
from tests.stage import Stage, log_of
from tests.trouble import (
    Scene,
    State,
    altered,
    backup_of,
    both,
    cascade,
    conf,
    cut_off,
    fenced,
    frozen_and_behind,
    full_disk,
    in_the_way,
    later_epoch,
    limits,
    listening,
    more_than_the_standbys,
    moved_programs,
    no_login,
    old_look,
    other_build,
    other_machine,
    other_programs,
    other_system,
    own_slot,
    owned_meanwhile,
    paused,
    quarantined,
    read_only_primary,
    rejecting,
    scene_made,
    second_receiver,
    stopped,
    tablespace,
    taken_senders,
    taken_slots,
    taken_slots_of_the_candidate,
    upstream_of,
    used_slot,
    well,
    without_control_file,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

#: What was found, as a job's result or the board has it.
Found = list[dict[str, Any]]
Ask = Callable[[Scene], Found]
FAILOVER_FLAGS = ["possible_data_loss", "unfenced_primary", "primary_seen_alive", "not_most_advanced", "missing_standby"]


# -- what is asked


def asked(kind: str, status: str = "refused", **data: Any) -> Ask:
    """The job must not be done; with `refused` nothing at all was touched."""

    def ask(scene: Scene) -> Found:
        values = {name: value(scene) if callable(value) else value for name, value in data.items()}
        return obstacles_of(scene.stage.run(kind, **values), status)

    return ask


def obstacles_of(job: Job, status: str = "refused") -> Found:
    assert job.status == status, log_of(job)
    assert job.hint
    return list(job.result["obstacles"])


def switchover(to: str = "node2") -> Ask:
    return asked("switchover", cluster="orders", to=to, reason="test", confirm="orders")


def failover(to: str) -> Ask:
    return asked("failover", cluster="orders", to=to, reason="test", confirm="orders", flags=FAILOVER_FLAGS)


def promote() -> Ask:
    return asked("promote", cluster="orders", instance="node2", new_cluster="copied", reason="test", confirm="node2")


def set_sync(count: int = 1) -> Ask:
    return asked("set_sync", cluster="orders", mode="any", count=count, confirm="orders")


def make_slot(slot: str) -> Ask:
    return asked("create_slot", cluster="orders", instance="node1", slot=slot)


def drop_slot(slot: str) -> Ask:
    return asked("drop_slot", cluster="orders", instance="node1", slot=slot, confirm=slot)


def rejoin(name: str = "node3", up_to: str = "rewind") -> Ask:
    ask = asked("rejoin", cluster="orders", instance=name, confirm=name, up_to=up_to, flags=["last_copy"])

    def astray(scene: Scene) -> Found:
        ReplicationPair.objects.filter(standby__name=name).update(state="")  # as a look would have found it
        return ask(scene)

    return astray


def add(server: str = "alpha", **more: Any) -> Ask:
    return _forgotten(asked("add_standby", cluster="orders", server=server, name="node4", **{"port": _port, **more}))


def create(server: str = "alpha", **more: Any) -> Ask:
    values = {"name": "extra", "database": "shop", "owner_role": "shop", "port": _port, **more}
    return _forgotten(asked("create_cluster", server=server, **values))


def _port(_scene: Scene) -> int:
    return free_port()


def _forgotten(ask: Ask) -> Ask:
    """What was declared for the job goes again, so that the next one is asked as the first."""

    def forgetting(scene: Scene) -> Found:
        try:
            return ask(scene)
        finally:
            rows = Instance.objects.exclude(lifecycle="ready")
            ReplicationPair.objects.filter(standby__in=rows).delete()
            rows.delete()
            Cluster.objects.filter(name="extra").delete()

    return forgetting


def before(state: State, kind: str, **data: Any) -> Ask:
    """Requested while all was well: the form would have said the same, and cannot know what comes after it."""

    def ask(scene: Scene) -> Found:
        job = scene.stage.request(kind, **data)
        with state(scene):
            run(job.pk)
        job.refresh_from_db()
        return obstacles_of(job)

    return ask


def on_the_board(scene: Scene) -> Found:
    """A job looks by itself and is never too late; the board rests on the last look."""
    rows = board_show("orders", "switchover")["standbys"][0]["rules"]
    return [dict(row) for row in rows if row["status"] == "obstacle"]


# -- (table of rules, obstacle) -> (state, what is then asked). Those of one state stand together: it is made once.

Table = dict[tuple[str, str], tuple[State, Ask]]

SWITCH = {"cluster": "orders", "to": "node2", "reason": "test", "confirm": "orders"}
LEAVE = {"cluster": "orders", "instance": "node2", "new_cluster": "copied", "reason": "test", "confirm": "node2"}
DROP = {"cluster": "orders", "instance": "node1", "slot": "mine", "confirm": "mine"}

_BACKUPS, _PRIMARY_BACKUP = backup_of("node2"), backup_of("node1")
_STOPPED_PRIMARY, _STOPPED_CANDIDATE = stopped("node1"), stopped("node2")
_ALTERED_PRIMARY, _ALTERED_CANDIDATE = altered("node1"), altered("node2")
_TAKEN, _TAKEN_CANDIDATE = taken_senders("node1"), taken_senders("node2")
_REJECTING, _REJECTING_CANDIDATE = rejecting("node1"), rejecting("node2")
_NAMED_TWICE, _NAMED_BEFORE = second_receiver("node2"), second_receiver("node4")
_CUT_OFF, _LITTLE_ROOM = cut_off("node2"), limits(free_bytes=float(1 << 60))
_USED_OF_NODE4, _USED_OF_NOBODY = used_slot("pgr_orders_node4"), used_slot("mine")
_USED_OF_NODE3 = both(stopped("node3"), used_slot("pgr_orders_node3", made_here=False))
_SPACE_AND_NO_CONTROL, _ALTERED_AND_NO_CONTROL = both(tablespace, without_control_file), both(_ALTERED_PRIMARY, without_control_file)
_FULL_AND_NO_CONTROL = both(without_control_file, full_disk)

WHOLE: Table = {
    # servers, programs, places
    ("clone", "programs_missing"): (other_programs, add("delta")),
    ("clone", "major_version_differs"): (other_programs, add("gamma")),
    ("place", "programs_differ"): (other_programs, create("gamma")),
    ("rejoin", "programs_differ"): (moved_programs, rejoin()),
    ("place", "port_in_use"): (listening, create(port=lambda scene: scene.port)),
    ("clone", "port_taken"): (listening, add(port=lambda scene: scene.port)),
    ("place", "directory_in_use"): (in_the_way, create()),
    ("clone", "target_not_empty"): (in_the_way, add()),
    ("place", "room_missing"): (full_disk, create()),
    ("clone", "no_room"): (full_disk, add()),
    ("promotion", "disk_full"): (_LITTLE_ROOM, switchover()),
    ("clone", "machine_differs"): (other_machine, add("beta")),
    ("clone", "libc_differs"): (other_machine, add("beta")),
    ("promotion", "machine_differs"): (other_machine, switchover()),
    ("promotion", "libc_differs"): (other_machine, switchover()),
    ("clone", "extension_missing"): (other_machine, add("beta")),
    ("promotion", "extension_missing"): (other_machine, switchover()),
    ("promotion", "major_version_differs"): (other_build, switchover()),
    ("switchover", "collation_mismatch"): (other_build, switchover()),
    # who is silent, or not what it is declared to be
    ("primary", "primary_silent"): (_STOPPED_PRIMARY, switchover()),
    ("rejoin", "source_unverified"): (_STOPPED_PRIMARY, rejoin()),
    ("primary", "primary_not_primary"): (read_only_primary, switchover()),
    ("sync", "sync_primary_in_recovery"): (read_only_primary, set_sync()),
    ("promotion", "candidate_silent"): (_STOPPED_CANDIDATE, switchover()),
    ("sync", "sync_standbys_missing"): (_STOPPED_CANDIDATE, set_sync(2)),
    ("promotion", "candidate_quarantined"): (well, before(quarantined, "switchover", **SWITCH)),
    ("promotion", "candidate_fenced"): (fenced, switchover()),
    ("promotion", "epoch_higher"): (later_epoch, switchover()),
    ("rejoin", "epoch_newer"): (later_epoch, rejoin()),
    ("promotion", "look_too_old"): (old_look, on_the_board),
    ("promotion", "system_identifier_differs"): (other_system, switchover()),
    ("rejoin", "system_identifier_differs"): (other_system, rejoin()),
    ("rejoin", "streams_already"): (well, rejoin()),
    # replication
    ("switchover", "replay_paused"): (paused, switchover()),
    ("clone", "source_replay_paused"): (paused, add(upstream="node2")),
    ("switchover", "not_streaming"): (_CUT_OFF, switchover()),
    ("clone", "source_not_streaming"): (_CUT_OFF, add(upstream="node2")),
    ("switchover", "upstream_silent"): (frozen_and_behind, switchover()),
    ("switchover", "lag_bytes"): (frozen_and_behind, switchover()),
    ("switchover", "candidate_cascaded"): (cascade, switchover("node3")),
    ("promote", "followed_by_others"): (well, before(cascade, "promote", **LEAVE)),
    ("primary", "backup_running"): (_PRIMARY_BACKUP, switchover()),
    ("promote", "backup_of_candidate"): (_BACKUPS, promote()),
    # connections, slots, settings
    ("primary", "name_twice"): (_NAMED_TWICE, switchover()),
    ("sync", "sync_name_twice"): (_NAMED_TWICE, set_sync()),
    ("clone", "name_in_use"): (_NAMED_BEFORE, add()),
    ("clone", "no_free_walsender"): (_TAKEN, add()),
    ("rejoin", "no_free_walsender"): (_TAKEN, rejoin()),
    ("switchover", "no_free_walsender"): (_TAKEN_CANDIDATE, switchover()),
    ("switchover", "no_free_slot"): (taken_slots_of_the_candidate, switchover()),
    ("clone", "no_free_slot"): (taken_slots, add()),
    ("rejoin", "no_free_slot"): (taken_slots, rejoin()),
    ("slot", "no_slot_left"): (taken_slots, make_slot("one_more")),
    ("clone", "slot_in_use"): (_USED_OF_NODE4, add()),
    ("rejoin", "slot_in_use"): (_USED_OF_NODE3, rejoin()),
    ("slot", "slot_active"): (_USED_OF_NOBODY, drop_slot("mine")),
    ("slot", "slot_there"): (own_slot, make_slot("mine")),
    ("slot", "slot_owned"): (own_slot, before(owned_meanwhile, "drop_slot", **DROP)),
    ("slot", "slot_absent"): (well, drop_slot("nowhere")),
    ("switchover", "login_refused"): (_REJECTING_CANDIDATE, switchover()),
    ("rejoin", "login_failed"): (_REJECTING, rejoin()),
    ("switchover", "settings_altered"): (_ALTERED_CANDIDATE, switchover()),
    ("promote", "settings_altered"): (_ALTERED_CANDIDATE, promote()),
    ("clone", "settings_altered"): (_ALTERED_PRIMARY, add()),
    ("sync", "sync_altered"): (_ALTERED_PRIMARY, set_sync()),
    ("clone", "tablespaces_present"): (tablespace, add()),
    # the data of who is to rejoin
    ("rejoin", "divergence_unknown"): (without_control_file, rejoin()),
    ("rejoin", "way_beyond_limit"): (without_control_file, rejoin()),
    ("rejoin", "no_room"): (_FULL_AND_NO_CONTROL, rejoin(up_to="basebackup")),
    ("rejoin", "tablespaces_present"): (_SPACE_AND_NO_CONTROL, rejoin(up_to="basebackup")),
    ("rejoin", "settings_altered"): (_ALTERED_AND_NO_CONTROL, rejoin(up_to="basebackup")),
    # several restarts, so the last of them
    ("primary", "archive_backlog"): (more_than_the_standbys, switchover()),
    ("promotion", "parameters_lower"): (more_than_the_standbys, switchover()),
    ("switchover", "wal_level_too_low"): (more_than_the_standbys, switchover()),
    ("clone", "parameters_lower"): (more_than_the_standbys, add()),
    ("rejoin", "parameters_lower"): (more_than_the_standbys, rejoin()),
}


@pytest.fixture
def scene(stage: Stage, account: Account | None) -> Scene:
    return scene_made(stage, account)


def fires(scene: Scene, key: tuple[str, str], ask: Ask) -> None:
    obstacles = ask(scene)
    found = [one for one in obstacles if one["name"] == key[1] and one["severity"] == "blocks"]
    assert found, f"{key}: {[(one['name'], one['severity']) for one in obstacles]}"
    assert found[0]["cure"], key
    assert found[0]["sentence"], key
    assert "%(" not in found[0]["sentence"] + found[0]["cure"], found[0]


def test_what_blocks_fires_on_a_whole_cluster_and_is_gone_with_its_reason(scene: Scene, subtests: pytest.Subtests) -> None:
    for state, group in groupby(WHOLE.items(), key=lambda item: item[1][0]):
        entries = list(group)
        with subtests.test(msg=", ".join("/".join(key) for key, _entry in entries)), state(scene):
            for key, (_state, ask) in entries:
                fires(scene, key, ask)
    scene.until_streaming()
    scene.stage.done("switchover", cluster="orders", to="node2", reason="nothing is in the way", confirm="orders")
    assert scene.stage.writable() == ["node2"]


def test_a_login_that_fails_is_found_by_a_step_of_its_own(scene: Scene) -> None:
    """The members admit the newcomer first, so the rule of a clone cannot ask: see `place.clone_facts`."""
    with no_login(scene):
        job = scene.stage.run("add_standby", cluster="orders", server="alpha", name="node4", port=free_port())
    assert (job.status, job.result["failed_step"]) == ("failed", "login_proven"), log_of(job)
    assert "cannot log in" in job.summary
    assert job.hint


# -- a cluster that has come apart: each state is made out of the one before


def parted(scene: Scene) -> None:
    """node3 was cut off, and promoted by hand; the primary and node2 went on."""
    upstream_of(scene, "node3", "")
    wait_until(lambda: not scene.sql("node3", "SELECT count(*) FROM pg_stat_wal_receiver"), "node3 receives nothing")
    scene.sql("node1", "CREATE TABLE later ()")
    wait_until(lambda: scene.sql("node2", "SELECT to_regclass('later') IS NOT NULL"), "node2 has what comes after the fork")
    scene.sql("node3", "SELECT pg_promote()", "CHECKPOINT")


def half_pages(scene: Scene) -> None:
    scene.configure("node1", "full_page_writes = off")
    scene.sql("node1", "SELECT pg_reload_conf()")
    wait_until(lambda: scene.sql("node1", "SELECT current_setting('full_page_writes') = 'off'"), "it is heeded")


def follows_a_standby(_scene: Scene) -> None:
    ReplicationPair.objects.filter(standby__name="node3").update(upstream=Instance.objects.get(name="node2"))


def without_hints(scene: Scene) -> None:
    ReplicationPair.objects.filter(standby__name="node3").update(upstream=Instance.objects.get(name="node1"))
    spec = scene.spec("node3")
    scene.stop("node3")
    scene.shell(f"{spec.bindir}/pg_checksums --disable -D {spec.data_directory}")
    scene.configure("node3", "wal_log_hints = off")
    scene.start("node3")
    scene.sql("node3", "CHECKPOINT")


def wal_elsewhere(scene: Scene) -> None:
    data = scene.spec("node3").data_directory
    scene.stop("node3")
    scene.shell(f"mv {data}/pg_wal {data}/../wal-of-node3 && ln -s {data}/../wal-of-node3 {data}/pg_wal")


def primary_gone(scene: Scene) -> None:
    scene.start("node3")
    scene.stop("node1")


def succeeded(scene: Scene) -> None:
    """node3 is declared the primary, and node2, which has WAL of its own, has crashed."""
    services.cluster_record_promotion(Cluster.objects.get(name="orders"), scene.row("node3"))
    scene.stop("node2", "immediate")


def source_moved_on(scene: Scene) -> None:
    moved_on(scene, "node3")


def target_moved_on(scene: Scene) -> None:
    scene.start("node1")
    moved_on(scene, "node1")
    scene.stop("node1")


def moved_on(scene: Scene, name: str) -> None:
    """So much is written, and so little kept, that no WAL of before is left."""
    scene.configure(name, "wal_keep_size = 0", "max_wal_size = 32MB", "max_slot_wal_keep_size = 16MB")
    scene.sql(name, "SELECT pg_reload_conf()")
    scene.sql(name, "CREATE TABLE IF NOT EXISTS pad (x text)")
    for _round in range(4):
        much = "INSERT INTO pad SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
        scene.sql(name, much, "SELECT pg_switch_wal()", "CHECKPOINT")


#: (table, obstacle) -> (what happens next, if anything; what is asked then).
APART: dict[tuple[str, str], tuple[Callable[[Scene], None] | None, Ask]] = {
    ("promotion", "second_primary"): (parted, switchover()),
    ("promotion", "candidate_not_standby"): (None, switchover("node3")),
    ("switchover", "timeline_differs"): (None, switchover("node3")),
    ("rejoin", "other_primary"): (None, rejoin("node2")),
    ("rejoin", "target_ahead"): (None, rejoin("node3")),
    ("rejoin", "rewind_no_room"): (None, lambda scene: _with(full_disk, rejoin("node3"))(scene)),
    ("rejoin", "rewind_full_page_writes_off"): (half_pages, rejoin("node3")),
    ("rejoin", "rewind_source_is_standby"): (follows_a_standby, rejoin("node3")),
    ("rejoin", "rewind_without_hints"): (without_hints, rejoin("node3")),
    ("rejoin", "rewind_wal_elsewhere"): (wal_elsewhere, rejoin("node3")),
    ("failover", "dead_branch"): (primary_gone, failover("node2")),
    ("rejoin", "rewind_of_standby"): (succeeded, rejoin("node2")),
    ("rejoin", "rewind_source_wal_gone"): (source_moved_on, rejoin("node2")),
    ("rejoin", "rewind_target_wal_gone"): (target_moved_on, rejoin("node1")),
}


def _with(state: State, ask: Ask) -> Ask:
    def within(scene: Scene) -> Found:
        with state(scene):
            return ask(scene)

    return within


def wal_gone(scene: Scene) -> None:
    """node2 was away for too long: its slot is lost, and so is the WAL."""
    scene.stop("node2")
    moved_on(scene, "node1")


def minimal(scene: Scene) -> None:
    """A wal_level that no standby can follow, nor any slot be kept with."""
    scene.stop("node3")
    scene.sql("node1", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    with conf(scene, "node1", "wal_level = minimal", "max_wal_senders = 0", "archive_mode = off"):
        scene.restart("node1")


LOST: dict[tuple[str, str], tuple[Callable[[Scene], None] | None, Ask]] = {
    ("switchover", "slot_lost"): (wal_gone, switchover()),
    ("rejoin", "direct_wal_gone"): (None, rejoin("node2")),
    ("clone", "wal_level_too_low"): (minimal, add()),
}


def test_what_blocks_fires_on_a_cluster_that_has_come_apart(scene: Scene, subtests: pytest.Subtests) -> None:
    for key, (happens, ask) in APART.items():
        if happens:
            happens(scene)
        with subtests.test(msg="/".join(key)):
            fires(scene, key, ask)


def test_what_blocks_fires_on_a_standby_that_was_away_for_too_long(scene: Scene, subtests: pytest.Subtests) -> None:
    for key, (happens, ask) in LOST.items():
        if happens:
            happens(scene)
        with subtests.test(msg="/".join(key)):
            fires(scene, key, ask)


# -- nothing that blocks is left out

#: Of these a verification judges a pair, an instance or its rows, or a discovery what it found: nothing is refused by them.
FINDINGS = {"verify", "care", "adoption", "drift", "content"}
#: Asked by a step of its own, above.
BY_A_STEP = {("clone", "login_failed")}
#: sync_names_differ is a finding too, though it stands in the table of the changes.
FINDINGS_OF_SYNC = {("sync", "sync_names_differ")}

#: Rules that other tables share.
SHARED = {"parity": ("clone", "promotion")}


def test_every_obstacle_that_blocks_is_among_those_that_fire() -> None:
    declared = {(user, name) for table in tables() for name in blocking(table) for user in SHARED.get(table, (table,))}
    assert len(declared) > 80
    assert declared == set(WHOLE) | set(APART) | set(LOST) | BY_A_STEP | FINDINGS_OF_SYNC


def tables() -> list[str]:
    """The modules of rules, without their ending."""
    found = Path(inspect.getfile(rules)).parent.glob("*_rules.py")
    return sorted({path.name.removesuffix("_rules.py") for path in found} - FINDINGS)


def blocking(table: str) -> Iterator[str]:
    """The names of the obstacles in a module that block, always or sometimes."""
    module = ast.parse(Path(inspect.getfile(rules)).with_name(f"{table}_rules.py").read_text())
    for call in ast.walk(module):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id == "_no_rewind":
            yield ast.literal_eval(call.args[1])
        elif call.func.id == "obstacle" and not isinstance(call.args[0], ast.Name):  # a name that is passed on is told above
            yield from _blocking(call.args[0], call.args[1])


def _blocking(name: ast.expr, severity: ast.expr) -> Iterator[str]:
    if isinstance(name, ast.IfExp) and isinstance(severity, ast.IfExp):  # of two obstacles the one that blocks
        yield from _blocking(name.body, severity.body)
        yield from _blocking(name.orelse, severity.orelse)
    elif "blocks" in ast.unparse(severity) or "_unless" in ast.unparse(severity):
        yield ast.literal_eval(name)
