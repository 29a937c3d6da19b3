"""Failovers on real PostgreSQL: what is lost is said before, each danger has its own flag, and the old primary stays away."""

from __future__ import annotations

import pytest

from clusters.models import Cluster, Instance
from tasks.models import Job
from tests.stage import Stage
from tests.writers import Writers

pytestmark = pytest.mark.django_db(transaction=True)


def fail_over(stage: Stage, *flags: str, **more: object) -> Job:
    return stage.run("failover", cluster="orders", reason="story", confirm="orders", flags=list(flags), **more)


def test_a_failover_of_a_dead_primary_loses_nothing_where_the_standby_has_all(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    with Writers(stage.dsn("orders"), count=2) as writers:
        stage.kill("node1")
        job = fail_over(stage, "possible_data_loss")
        assert job.status == "done", (job.summary, job.hint)
        writers.go_on()
        lost = writers.lost()
    bound = job.result["loss_bound"]
    assert bound["exact"]
    assert len(lost) <= bound["commits"]
    old = Instance.objects.get(name="node1")
    assert old.quarantined_at is not None
    assert old.role == "standby"
    assert Cluster.objects.get(name="orders").epoch == 2


def test_a_living_primary_is_not_failed_over(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    job = fail_over(stage, "possible_data_loss", to="node2")
    assert job.status == "refused"
    assert "primary_seen_alive" in [obstacle["name"] for obstacle in job.result["obstacles"]]
    with stage.connect(Instance.objects.select_related("server", "cluster").get(name="node1")) as session:
        session.execute("CREATE TABLE still_writable ()")


def test_a_standby_tells_the_timeline_it_received_last_though_its_upstream_is_gone(stage: Stage) -> None:
    """Before its next restart point only the name of its newest WAL file tells; the choice between two standbys rests on it."""
    stage.create()
    stage.standby(name="node2")
    stage.standby(name="node3")
    stage.done("switchover", cluster="orders", to="node2", reason="story", confirm="orders")
    stage.kill("node2")
    stage.done("verify", cluster="orders")
    seen = {row.name: row.observed["timeline"] for row in Instance.objects.exclude(name="node2")}
    assert seen == {"node1": 2, "node3": 2}
