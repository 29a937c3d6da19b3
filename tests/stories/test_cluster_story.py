"""The main story on real PostgreSQL: a cluster, its standbys, what is looked at, and what is left when they go."""

from __future__ import annotations

from clusters.models import Cluster, Instance, ReplicationPair, Verification
from tests.stage import Stage, log_of, postgres_processes


def test_a_row_written_on_the_primary_is_read_on_its_standby_and_on_the_standby_of_that(stage: Stage) -> None:
    cluster = stage.create()
    primary = cluster.instances.get()
    with stage.connect(primary) as session:
        session.execute("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g")
    stage.standby(name="node2")
    stage.standby(name="node3", upstream="node2")
    with stage.connect(primary) as session:
        session.execute("INSERT INTO t VALUES (1001)")
    job = stage.done("verify", cluster="orders")
    verdicts = {"node2": "ok", "node3": "ok"}
    assert job.result == {"cluster": "orders", "verdicts": verdicts, "depth": "deep", "verdict": "ok", "findings": 0}, log_of(job)
    for name in ("node2", "node3"):
        with stage.connect(Instance.objects.get(name=name)) as session:
            assert session.execute("SELECT count(*), max(g), pg_is_in_recovery() FROM t").fetchone() == (1001, 1001, True)
    pairs = ReplicationPair.objects.order_by("pk").values_list("upstream__name", "standby__name", "state", "slot")
    assert list(pairs) == [("node1", "node2", "streaming", "pgr_orders_node2"), ("node2", "node3", "streaming", "pgr_orders_node3")]
    assert [v.verdict for v in Verification.objects.all()] == ["ok"] * 4  # each standby when it was added, and both just now


def test_a_removed_standby_leaves_its_files_in_quarantine_and_nothing_else(stage: Stage) -> None:
    cluster = stage.create()
    stage.standby(name="node2")
    job = stage.done("remove_standby", cluster="orders", instance="node2", confirm="node2")
    base = stage.base
    quarantine = base / "orders" / "quarantine" / f"node2-{job.pk}"
    assert (quarantine / "volumes/postgres/data/PG_VERSION").exists()
    assert not (base / "orders" / "node2").exists()
    with stage.connect(cluster.instances.get()) as session:
        assert session.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    assert [row.name for row in Instance.objects.all()] == ["node1"]
    assert "node2" not in (base / "orders/node1/conf/pg_hba.conf").read_text()


def test_a_removed_cluster_runs_no_more_and_is_kept_in_quarantine(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    job = stage.done("remove_cluster", cluster="orders", confirm="orders")
    base = stage.base
    assert not Cluster.objects.exists()
    assert sorted(path.name for path in (base / "orders" / "quarantine").iterdir()) == [f"node1-{job.pk}", f"node2-{job.pk}"]
    assert postgres_processes(base) == []


def test_stop_start_and_restart_say_what_is_true(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.done("stop_instance", cluster="orders", instance="node2", confirm="node2")
    assert Instance.objects.get(name="node2").observed_role == "stopped"
    job = stage.done("verify", cluster="orders")
    assert job.result["verdicts"]["node2"] in ("failed", "unknown")
    stage.done("start_instance", cluster="orders", instance="node2")
    stage.done("restart_instance", cluster="orders", instance="node1", confirm="node1")
    assert stage.done("verify", cluster="orders").result["verdicts"] == {"node2": "ok"}
