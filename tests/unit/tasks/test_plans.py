"""Each kind's real plan, as the API shows it: it can be made from the rows alone, and no secret is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster, KeptCopy
from clusters.services import copy_record, instance_quarantine
from tasks.kinds import KINDS
from tests.factories import ServerFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db

DATA: dict[str, dict[str, Any]] = {
    "check_server": {"server": "alpha"},
    "read_host_key": {"server": "far"},
    "create_cluster": {"server": "alpha", "database": "shop", "owner_role": "shop", "owner_password": "correct horse battery staple"},
    "add_standby": {"server": "alpha", "name": "far"},
    "verify": {},
    "start_instance": {"instance": "orders-2"},
    "stop_instance": {"instance": "orders-2", "confirm": "orders-2"},
    "restart_instance": {"instance": "orders-2", "confirm": "orders-2"},
    "switchover": {"to": "orders-2", "reason": "kernel update", "confirm": "orders"},
    "failover": {"reason": "alpha burns", "confirm": "orders"},
    "promote": {"instance": "orders-2", "new_cluster": "orders-copy", "reason": "a test", "confirm": "orders-2"},
    "set_sync": {"mode": "any", "count": 1, "confirm": "orders"},
    "create_slot": {"instance": "orders-1", "slot": "backup_tool"},
    "drop_slot": {"instance": "orders-1", "slot": "backup_tool", "confirm": "backup_tool"},
    "rejoin": {"instance": "orders-2", "up_to": "basebackup", "confirm": "orders-2"},
    "restore_copy": {"instance": "orders-2", "copy": "kept", "confirm": "orders-2"},
    "purge_copy": {"copy": "kept", "confirm": "orders"},
    "remove_standby": {"instance": "orders-2", "confirm": "orders-2"},
    "remove_cluster": {"confirm": "orders"},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_plan_of_each_kind(kind: str, bearer: Callable[..., Client]) -> None:
    ServerFactory(name="alpha")
    ServerFactory(name="far", connection="ssh", ssh_user="panel")
    cluster = cluster_with_standbys("orders")
    before = Cluster.objects.count()
    name = "billing" if kind == "create_cluster" else "orders"
    data = dict(DATA[kind])
    if kind == "rejoin":
        instance_quarantine(cluster.instances.get(name="orders-2"), "it was the primary")
    if data.get("copy"):
        data["copy"] = kept_copy(cluster)
    response = bearer("adam").post(f"/api/v1/clusters/{name}/plan", {"kind": kind, "data": data}, content_type="application/json")
    assert response.status_code == 200, response.content
    body = response.json()
    assert [step["title"] for step in body["plan"]]
    assert len(body["plan_hash"]) == 64
    secrets = [cluster.superuser_password, cluster.owner_password, cluster.replication_password, cluster.panel_password]
    assert not [secret for secret in secrets if secret.reveal() in json.dumps(body)]
    assert "correct horse" not in json.dumps(body)
    assert Cluster.objects.count() == before


def kept_copy(cluster: Cluster) -> int:
    """The number of a copy of orders-2."""
    path = "/srv/pgreplica/orders/quarantine/orders-2-1"
    return copy_record(cluster.instances.get(name="orders-2"), origin=KeptCopy.Origin.DIVERGED, path=path, job_id=1).pk


def test_the_same_request_has_the_same_plan(bearer: Callable[..., Client]) -> None:
    ServerFactory(name="alpha")
    client = bearer("adam")
    body = {"kind": "create_cluster", "data": DATA["create_cluster"]}
    hashes = {client.post("/api/v1/clusters/billing/plan", body, content_type="application/json").json()["plan_hash"] for _ in range(2)}
    assert len(hashes) == 1
