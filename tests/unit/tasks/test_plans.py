"""Each kind's real plan, as the API shows it: it can be made from the rows alone, and no secret is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster, Discovery, KeptCopy
from clusters.services import copy_record, instance_quarantine
from tasks.kinds import KINDS
from tasks.models import Job
from tasks.sheets import job_runbook
from tests.factories import ServerFactory, as_adopted, cluster_with_standbys
from tests.unit.clusters.postgres.handmade import follower, well_made
from tests.unit.clusters.postgres.pair import SYSTEM

pytestmark = pytest.mark.django_db

DATA: dict[str, dict[str, Any]] = {
    "check_server": {"server": "alpha"},
    "read_host_key": {"server": "far"},
    "discover": {"servers": ["alpha"]},
    "adopt_cluster": {"discovery": 41, "system_identifier": SYSTEM, "name": "billing"},
    "take_over": {"confirm": "orders"},
    "forget_cluster": {"confirm": "orders"},
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
    adoption_begun(kind, cluster)
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


def adoption_begun(kind: str, cluster: Cluster) -> None:
    """What such a kind needs beforehand: something that was found, or was adopted."""
    if kind == "adopt_cluster":
        Discovery.objects.create(job_id=41, found=[well_made().as_row(), follower(server="far").as_row()])
    if kind in ("take_over", "forget_cluster"):
        as_adopted(cluster)


def test_the_plan_of_a_take_over_shows_each_file_and_where_a_person_would_type(bearer: Callable[..., Client]) -> None:
    cluster = cluster_with_standbys("orders")
    as_adopted(cluster)
    client = bearer("adam")
    body = {"kind": "take_over", "data": {"confirm": "orders"}}
    plan = client.post("/api/v1/clusters/orders/plan", body, content_type="application/json").json()["plan"]
    files = [(item["path"], item["diff"]) for step in plan for item in step["items"] if item["type"] == "file"]
    assert files[0][0] == "/srv/pg_hba.conf"
    assert '+host  "postgres"  "pgreplica_panel"' in files[0][1]
    assert "-local all all trust" not in files[0][1]
    commands = [item["text"] for step in plan for item in step["items"] if item["type"] == "command"]
    assert commands[0].startswith("docker exec --interactive --user=999:999 --env=LC_ALL=C db cp -p /var/lib/postgresql/data/pg_hba.conf ")
    job = Job(kind="take_over", cluster=cluster, cluster_name="orders", plan=plan)
    sheet = job_runbook(job)[1]
    assert "docker exec --interactive --user=999:999 --env=LC_ALL=C db psql --no-psqlrc" in sheet


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
