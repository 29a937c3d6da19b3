"""Synchronous replication on real PostgreSQL: it is changed in the safe order, commits really wait, and the page says what is true."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError

from clusters.instances import InstanceHandle
from clusters.models import Cluster, Instance
from clusters.postgres.statements import Call, Statement
from clusters.selectors import cluster_show, cluster_slots
from tasks.models import Job
from tasks.refusals import RequestRefused
from tests.stage import Stage, log_of


def of(name: str) -> Instance:
    return Instance.objects.select_related("server", "cluster").get(name=name)


def set_sync(stage: Stage, mode: str, count: int | None = None, **more: Any) -> Job:
    values = {"mode": mode, **({} if count is None else {"count": count})}
    return stage.done("set_sync", cluster="orders", confirm="orders", **values, **more)


def setting(stage: Stage, name: str) -> str:
    with stage.connect(of(name)) as session:
        row = session.execute("SHOW synchronous_standby_names").fetchone()
    assert row is not None
    return str(row[0])


def guarantee() -> tuple[str, str]:
    shown = cluster_show("orders")
    return shown["guarantee"], shown["guarantee_sentence"]


def commits(stage: Stage, seconds: float = 1.5) -> bool:
    """Whether a commit on the primary is acknowledged in time. It is cancelled otherwise, which leaves its row, with a warning.

    (statement_timeout does not end such a wait: it is over when the statement is, and the wait begins after that.)
    """
    notices: list[str] = []
    with stage.connect(of("node1")) as session:
        session.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
        timer = threading.Timer(seconds, session.cancel)
        timer.start()
        try:
            session.execute("INSERT INTO t VALUES (1)")
        finally:
            timer.cancel()
            timer.join()
    return not any("canceling wait for synchronous replication" in notice for notice in notices)


def three(stage: Stage) -> Cluster:
    cluster = stage.create()
    with stage.connect(of("node1")) as session:
        session.execute("CREATE TABLE t (g int)")
    stage.standby(name="node2")
    stage.standby(name="node3")
    return cluster


def test_the_promise_goes_from_none_to_any_to_first_and_back(stage: Stage) -> None:
    three(stage)
    assert guarantee() == ("asynchronous", "Commits wait for no standby (asynchronous): a failover may lose the last commits.")

    job = set_sync(stage, "any", 1)
    assert {key: job.result[key] for key in ("old", "new", "setting")} == {
        "old": "async", "new": "any 1", "setting": 'ANY 1 ("node2", "node3")',
    }  # fmt: skip
    assert "/" in job.result["lsn"]
    assert [setting(stage, name) for name in ("node1", "node2", "node3")] == [
        'ANY 1 ("node2", "node3")', 'ANY 1 ("node1", "node3")', 'ANY 1 ("node1", "node2")',
    ]  # fmt: skip
    promise = "Every commit is on disk on the primary and on 1 of node2, node3 before it is acknowledged"
    assert guarantee() == ("synchronous", f"{promise}.")
    assert stage.done("verify", cluster="orders").result["verdicts"] == {"node2": "ok", "node3": "ok"}

    set_sync(stage, "first", 1)
    assert setting(stage, "node1") == 'FIRST 1 ("node2", "node3")'
    first = "Every commit is on disk on the primary and on the first 1 streaming of node2, node3 before it is acknowledged"
    assert guarantee() == ("synchronous", f"{first}.")

    set_sync(stage, "any", 2)
    assert guarantee() == ("synchronous", "Every commit is on disk on the primary and on node2, node3 before it is acknowledged.")

    with stage.connect(of("node1")) as session:
        session.execute("ALTER ROLE shop SET synchronous_commit = off")
    stage.done("verify", cluster="orders")
    level, sentence = guarantee()
    assert (level, sentence.partition("acknowledged, ")[2]) == ("weakened", "except for the role shop (synchronous_commit below on).")

    job = set_sync(stage, "async")
    assert job.result["new"] == "async"
    assert [setting(stage, name) for name in ("node1", "node2", "node3")] == ["", "", ""]
    assert guarantee()[0] == "asynchronous"
    assert stage.done("verify", cluster="orders").result["verdicts"] == {"node2": "ok", "node3": "ok"}


def test_commits_wait_while_no_standby_confirms_and_can_be_let_go_on(stage: Stage) -> None:
    three(stage)
    set_sync(stage, "any", 1)
    assert commits(stage)
    stage.done("stop_instance", cluster="orders", instance="node2", confirm="node2")
    assert commits(stage)  # the other one confirms
    stage.done("stop_instance", cluster="orders", instance="node3", confirm="node3")
    assert not commits(stage)
    stage.done("verify", cluster="orders")
    level, sentence = guarantee()
    assert (level, "but no synchronous standby is streaming: commits wait" in sentence) == ("waiting", True)
    refused = stage.run("set_sync", cluster="orders", mode="any", count=2, confirm="orders")
    assert (refused.status, [item["name"] for item in refused.result["obstacles"]]) == ("refused", ["sync_standbys_missing"])
    assert (refused.result["obstacles"][0]["value"], refused.result["obstacles"][0]["threshold"]) == (0, 2)
    set_sync(stage, "async")
    assert commits(stage)


def test_a_standby_is_counted_once_it_streams_and_no_longer_before_it_goes(stage: Stage) -> None:
    cluster = stage.create()
    stage.standby(name="node2")
    set_sync(stage, "any", 1)
    stage.standby(name="node3")
    assert [setting(stage, name) for name in ("node1", "node2", "node3")] == [
        'ANY 1 ("node2", "node3")', 'ANY 1 ("node1", "node3")', 'ANY 1 ("node1", "node2")',
    ]  # fmt: skip
    stage.done("remove_standby", cluster="orders", instance="node2", confirm="node2")
    assert [setting(stage, name) for name in ("node1", "node3")] == ['ANY 1 ("node3")', 'ANY 1 ("node1")']
    stage.done("verify", cluster="orders")
    assert guarantee() == ("synchronous", "Every commit is on disk on the primary and on node3 before it is acknowledged.")
    with pytest.raises((RequestRefused, ValidationError)) as refused:
        stage.request("remove_standby", cluster="orders", instance="node3", confirm="node3")
    assert "Commits wait for 1 standbys, and without this one 0 would be left." in str(refused.value.errors)  # type: ignore[union-attr]
    for mode, count, words in (("any", 2, "from 1 to 1"), ("first", 0, "from 1 to 1"), ("async", 1, "Leave the number empty")):
        with pytest.raises(RequestRefused) as impossible:
            stage.request("set_sync", cluster="orders", mode=mode, count=count, confirm="orders")
        assert words in str(impossible.value.errors["count"])
    cluster.refresh_from_db()
    assert (cluster.sync_mode, cluster.sync_count) == ("any", 1)


def test_what_somebody_changed_on_the_server_is_found_and_refused(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    set_sync(stage, "any", 1)
    superuser(stage, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    stage.done("verify", cluster="orders")
    found = {finding["name"] for finding in of("node2").pair.verifications.latest("created_at").findings}
    assert {"sync_star", "sync_names_differ", "settings_altered"} <= found
    level, sentence = guarantee()
    assert (level, "the list holds *" in sentence, "not what the panel declares" in sentence) == ("weakened", True, True)
    refused = stage.run("set_sync", cluster="orders", mode="any", count=1, confirm="orders")
    assert [item["name"] for item in refused.result["obstacles"]] == ["sync_altered"]
    superuser(stage, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    set_sync(stage, "any", 1)
    assert guarantee()[0] == "synchronous"


def test_two_standbys_of_one_name_are_refused(stage: Stage) -> None:
    """Fault 41: the quorum would count one standby twice."""
    stage.create()
    stage.standby(name="node2")
    primary = of("node1")
    link = psycopg.connect(
        host=primary.server.address, port=primary.port, user="replicator", password=primary.cluster.replication_password.reveal(),
        dbname="replication", replication="true", application_name="node2", autocommit=True,
    )  # fmt: skip
    with link:
        refused = stage.run("set_sync", cluster="orders", mode="any", count=1, confirm="orders")
    assert [item["name"] for item in refused.result["obstacles"]] == ["sync_name_twice"], log_of(refused)
    assert setting(stage, "node1") == ""


def test_a_slot_is_made_listed_and_dropped_by_hand_and_never_under_its_owner(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.done("create_slot", cluster="orders", instance="node1", slot="backup_tool")
    rows = {row["slot"]: row for row in cluster_slots("orders")}
    assert {name: (row["instance"], row["owner"], row["active"]) for name, row in rows.items()} == {
        "backup_tool": ("node1", "unknown", False), "pgr_orders_node2": ("node1", "node2", True),
    }  # fmt: skip
    assert rows["backup_tool"]["retained_bytes"] is not None
    again = stage.run("create_slot", cluster="orders", instance="node1", slot="backup_tool")
    assert [item["name"] for item in again.result["obstacles"]] == ["slot_there"]
    with pytest.raises(RequestRefused) as refused:
        stage.request("drop_slot", cluster="orders", instance="node1", slot="pgr_orders_node2", confirm="pgr_orders_node2")
    assert "belongs to node2" in str(refused.value.errors["slot"])
    with pytest.raises(RequestRefused):
        stage.request("drop_slot", cluster="orders", instance="node1", slot="backup_tool", confirm="node1")
    job = stage.done("drop_slot", cluster="orders", instance="node1", slot="backup_tool", confirm="backup_tool")
    assert job.result["clone_again"] == []
    assert [row["slot"] for row in cluster_slots("orders")] == ["pgr_orders_node2"]
    gone = stage.run("drop_slot", cluster="orders", instance="node1", slot="backup_tool", confirm="backup_tool")
    assert [item["name"] for item in gone.result["obstacles"]] == ["slot_absent"]


def test_a_slot_in_use_is_not_dropped(stage: Stage) -> None:
    stage.create()
    stage.done("create_slot", cluster="orders", instance="node1", slot="backup_tool")
    primary = of("node1")
    link = psycopg.connect(
        host=primary.server.address, port=primary.port, user="replicator", password=primary.cluster.replication_password.reveal(),
        dbname="replication", replication="true", application_name="receiver", autocommit=True,
    )  # fmt: skip
    try:
        link.pgconn.send_query(b"START_REPLICATION SLOT backup_tool PHYSICAL 0/1000000")
        _until_active(stage)
        job = stage.run("drop_slot", cluster="orders", instance="node1", slot="backup_tool", confirm="backup_tool")
    finally:
        link.close()
    assert [item["name"] for item in job.result["obstacles"]] == ["slot_active"]
    assert "in use by receiver" in job.result["obstacles"][0]["sentence"]


def _until_active(stage: Stage) -> None:
    deadline = time.monotonic() + 10
    with stage.connect(of("node1")) as session:
        while session.execute("SELECT count(*) FROM pg_replication_slots WHERE active").fetchone() != (1,):
            assert time.monotonic() < deadline, "the slot was not taken"
            time.sleep(0.02)


def superuser(stage: Stage, *statements: str) -> None:
    """Statements as the superuser, over the instance's socket."""
    handle = InstanceHandle(of("node1"), None)  # type: ignore[arg-type]  # it only looks
    for text in statements:
        handle.superuser_query(Call(Statement("test", "test", text, "superuser"), {}, {}))  # type: ignore[arg-type]


def test_a_slot_that_fills_the_disk_is_named_at_half_at_four_fifths_and_when_it_is_lost(stage: Stage) -> None:
    """Fault 31: the limit protects the primary's disk; what is lost is the standby, and it is said which."""
    stage.create(settings={"max_slot_wal_keep_size": "256MB", "wal_keep_size": "0", "max_wal_size": "64MB"})
    stage.standby(name="node2")
    stage.done("stop_instance", cluster="orders", instance="node2", confirm="node2")
    assert "slot_filling" not in slot_findings(stage)
    fill(stage, files=10)
    assert "slot_filling" in slot_findings(stage)
    fill(stage, files=4)
    found = slot_findings(stage)
    assert "once it is lost it must be cloned again" in found["slot_nearly_full"]
    with pytest.raises(RequestRefused) as refused:
        stage.request("drop_slot", cluster="orders", instance="node1", slot="pgr_orders_node2", confirm="pgr_orders_node2")
    assert "belongs to node2" in str(refused.value.errors["slot"])
    fill(stage, files=6)
    superuser(stage, "CHECKPOINT")
    assert "It must be cloned again" in slot_findings(stage)["slot_lost"]
    assert [row["wal_status"] for row in cluster_slots("orders")] == ["lost"]
    assert commits_at_all(stage)


def slot_findings(stage: Stage) -> dict[str, str]:
    """What a verification finds of the slot now: name -> cure."""
    stage.done("verify", cluster="orders")
    findings = of("node2").pair.verifications.latest("created_at").findings
    return {finding["name"]: finding["cure"] for finding in findings}


def fill(stage: Stage, files: int) -> None:
    """So many WAL files of 16 MB."""
    message = "PERFORM pg_logical_emit_message(false, 'x', 'x')"
    superuser(stage, f"DO $$ BEGIN FOR i IN 1..{files} LOOP {message}; PERFORM pg_switch_wal(); END LOOP; END $$")


def commits_at_all(stage: Stage) -> bool:
    with stage.connect(of("node1")) as session:
        return session.execute("CREATE TABLE still_writable (g int)").statusmessage == "CREATE TABLE"


def test_a_standby_that_leaves_as_a_primary_of_its_own_is_counted_no_more(stage: Stage) -> None:
    three(stage)
    set_sync(stage, "any", 1)
    stage.done("promote", cluster="orders", instance="node3", new_cluster="copied", reason="a copy to test with", confirm="node3")
    assert setting(stage, "node1") == 'ANY 1 ("node2")'
    assert setting(stage, "node3") == ""
    assert commits(stage)
    assert stage.done("verify", cluster="orders").result["verdicts"] == {"node2": "ok"}
