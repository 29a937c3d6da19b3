"""A verification of a real pair at each depth: what was drifted, set too low or planted is found, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clusters.hosts.local import LocalMachine
from clusters.models import Cluster, Instance, VerificationRun
from clusters.postgres.facts import Lsn
from clusters.selectors import instance_spec
from tasks.models import Job
from tests.stage import Stage, log_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def looked(stage: Stage, depth: str, **more: Any) -> tuple[Job, VerificationRun]:
    job = stage.done("verify", cluster="orders", depth=depth, **more)
    return job, VerificationRun.objects.get(job_id=job.pk)


def names(run: VerificationRun) -> list[tuple[str, str]]:
    return sorted((row["instance"], row["name"]) for row in run.findings)


def conf(stage: Stage, name: str) -> Path:
    return stage.base / f"orders/{name}/conf"


def content_is_compared(stage: Stage) -> None:
    """One row that is planted on the stopped standby is found, and its place is named; so is that no index leads to it any more."""
    primary = Instance.objects.select_related("server", "cluster").get(name="node1")
    with stage.connect(primary) as session:
        session.execute('CREATE SCHEMA odd; CREATE TABLE odd."a.B" (id int, note text); CREATE INDEX ON odd."a.B" (note)')
        session.execute("INSERT INTO odd.\"a.B\" SELECT n, 'note-' || n || '-as-written' FROM generate_series(1, 60000) AS n")
        session.execute("CREATE TABLE other AS SELECT 1 AS compared")
        (path,) = session.execute("SELECT pg_relation_filepath('odd.\"a.B\"')").fetchone() or ("",)
        (place,) = session.execute('SELECT ctid::text FROM odd."a.B" WHERE id = 47000').fetchone() or ("",)
    job, run = looked(stage, "content")
    assert (run.verdict, names(run)) == ("ok", [("", "amcheck_missing")]), log_of(job)
    assert "of the primary compared with node2: no difference was found." in job.steps.get(name="contents_compared").sentence

    stage.by_superuser("node1", "CREATE EXTENSION amcheck", database="shop")
    _job, run = looked(stage, "content", tables=["odd.a.B", "public.absent"])
    assert (run.verdict, names(run)) == ("warning", [("", "table_missing")])

    stage.by_superuser("node1", "CHECKPOINT")
    wait_until(lambda: caught_up(stage), "node2 has replayed", 20)
    stage.by_superuser("node2", "CHECKPOINT")
    stage.done("stop_instance", cluster="orders", instance="node2", confirm="node2")
    plant(stage.base / "orders/node2/volumes/postgres/data", path)
    stage.done("start_instance", cluster="orders", instance="node2")
    job, run = looked(stage, "content", tables=["odd.a.B"])
    found = {row["name"]: row for row in run.findings}
    assert (run.verdict, set(found)) == ("failed", {"content_differs", "relation_corrupt"}), log_of(job)
    assert found["content_differs"]["value"] == place
    assert "1 rows of odd.a.B in blocks 256 to" in found["content_differs"]["sentence"]
    assert "lacks matching index tuple" in found["relation_corrupt"]["value"]
    assert job.status == "done"


def caught_up(stage: Stage) -> bool:
    rows = {row.name: row for row in Instance.objects.select_related("server", "cluster")}
    written = stage.answer(rows["node1"], "SELECT pg_current_wal_insert_lsn()::text")
    replayed = stage.answer(rows["node2"], "SELECT pg_last_wal_replay_lsn()::text")
    return bool(replayed) and Lsn.parse(replayed) >= Lsn.parse(written)


def plant(data: Path, path: str) -> None:
    """Another letter in one row, with the page's checksum as it should be then."""
    page = (data / path).read_bytes()
    assert page.count(b"note-47000-as-written") == 1
    (data / path).write_bytes(page.replace(b"note-47000-as-written", b"note-47000-as-planted"))
    spec = instance_spec(Instance.objects.select_related("server", "cluster").get(name="node2"))
    for way in ("--disable", "--enable"):
        ended = LocalMachine(run_as=spec_user()).run([f"{spec.bindir}/pg_checksums", way, "--pgdata", str(data)], timeout=60)
        assert ended.ok, ended.stderr


def spec_user() -> str:
    return Instance.objects.select_related("server").get(name="node2").server.run_as


def test_each_depth_finds_what_it_looks_for(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    cluster = Cluster.objects.get()

    job, run = looked(stage, "standing")
    assert (run.depth, run.verdict, run.findings, job.summary) == ("standing", "ok", [], "node2 replicates.")
    assert Instance.objects.get(name="node2").proven_at is None

    job, run = looked(stage, "deep")
    assert (run.depth, run.verdict, names(run)) == ("deep", "ok", []), log_of(job)
    assert job.steps.get(name="depths_judged").sentence == "All is as declared. node2 could take over now."
    node2 = Instance.objects.get(name="node2")
    assert node2.proven_at is not None
    assert node2.promotable_since == node2.proven_at
    assert Instance.objects.get(name="node1").proven_at is None
    first = node2.proven_at

    content_is_compared(stage)

    # Somebody edits a file of the standby, sets something past the files, and asks for less than the primary has.
    text = (conf(stage, "node2") / "postgresql.conf").read_text()
    assert "max_connections = 100" in text
    (conf(stage, "node2") / "postgresql.conf").write_text(text.replace("max_connections = 100", "max_connections = 50"))
    with (conf(stage, "node1") / "pg_hba.conf").open("a") as hba:
        hba.write("host all all 0.0.0.0/0 trust\n")
    stage.by_superuser("node1", "ALTER SYSTEM SET max_locks_per_transaction = 96")
    stage.by_superuser("node1", "ALTER SYSTEM SET log_checkpoints = off")
    stage.by_superuser("node1", "SELECT pg_reload_conf()")
    stage.by_superuser("node2", "SELECT pg_reload_conf()")
    job, run = looked(stage, "deep")
    assert names(run) == [("node1", "file_drifted"), ("node1", "setting_overridden"), ("node2", "file_drifted")], log_of(job)
    found = {(row["instance"], row["name"]): row for row in run.findings}
    assert found["node2", "file_drifted"]["value"] == "max_connections = 50"
    assert found["node1", "file_drifted"]["value"] == "host all all 0.0.0.0/0 trust"
    assert found["node1", "setting_overridden"]["value"] == "log_checkpoints = off (ALTER SYSTEM)"
    assert run.verdict == "warning"

    stage.done("restart_instance", cluster="orders", instance="node1", confirm="node1")
    _job, run = looked(stage, "deep")
    assert {row["name"] for row in run.findings} >= {"replay_paused"}, "a parameter too low pauses replay"
    latest = cluster.instances.get(name="node2").pair.verifications.first()
    assert latest is not None
    assert "parameters_lower" in {row["name"] for row in latest.findings}
    node2.refresh_from_db()
    assert node2.promotable_since is None
    assert "node2" in node2.not_promotable
    assert node2.proven_at > first
