"""A standby leaves its cluster on real PostgreSQL: two clusters afterwards, each with its own primary, each going its own way."""

from __future__ import annotations

import pytest

from clusters.models import Cluster, Instance
from tests.stage import Stage

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_standby_becomes_a_cluster_of_its_own(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.standby(name="node3")
    job = stage.done("promote", cluster="orders", instance="node2", new_cluster="orders-test", reason="story", confirm="node2")
    assert job.result["new_cluster"] == "orders-test"
    assert stage.writable("orders") == ["node1"]
    assert stage.writable("orders-test") == ["node2"]
    assert stage.slots("node1") == {"pgr_orders_node3"}
    new = Cluster.objects.get(name="orders-test")
    assert (new.lifecycle, new.epoch, new.system_identifier) == ("ready", 2, Cluster.objects.get(name="orders").system_identifier)
    assert not (stage.base / "orders/node2").exists()
    assert "15432" not in (stage.base / "orders-test/node2/conf/replication.conf").read_text()
    stage.standby("orders-test", name="node5")
    stage.done("verify", cluster="orders")
    assert Instance.objects.filter(cluster=new).count() == 2
