"""What Prometheus is told, who may ask, and that the examples in the documentation ask for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from clusters.models import Cluster, Instance, InstanceState, Monitor, ReplicationPair
from tasks.metrics import METRICS
from tests.factories import JobFactory, VerificationFactory
from tests.unit.observed import observed_cluster

pytestmark = pytest.mark.django_db

EXAMPLES = Path(__file__).resolve().parents[3] / "docs/examples"
SLOT = {"name": "pgr_orders_orders-2", "active": True, "wal_status": "reserved", "safe_bytes": None, "retained_bytes": 4096}
SAMPLED = {"timeline": 3, "connections": 7, "max_connections": 100, "checksum_failures": 0, "replay_paused": False, "slots": [SLOT]}

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def orders() -> Cluster:
    """orders-1 is the primary and answers; orders-2 streams from it and was not heard the last time; orders-3 was never asked."""
    cluster = observed_cluster()
    now = timezone.now()
    Instance.objects.filter(name="orders-1").update(observed_role="primary")
    for name, missed in (("orders-1", 0), ("orders-2", 2)):
        InstanceState.objects.create(
            instance=Instance.objects.get(name=name),
            tried_at=now,
            answered_at=now,
            since=now,
            role="primary",
            missed=missed,
            sampled=SAMPLED,
        )
    ReplicationPair.objects.filter(standby__name="orders-2").update(state="streaming", sync_state="quorum", lag_bytes=512)
    VerificationFactory(pair=ReplicationPair.objects.get(standby__name="orders-2"), verdict="warning")
    JobFactory(kind="verify", status="done")
    return cluster


def scraped(client: Client) -> Samples:
    """(name, values of the labels) -> value."""
    text = client.get("/metrics").content.decode()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(one.name, tuple(one.labels[label] for label in METRICS[one.name][1])): one.value for one in samples}


def it_tells_what_the_rows_say(client: Client, people: dict[str, User], orders: Cluster) -> None:
    client.force_login(people["vera"])
    told = scraped(client)
    first, second = ("orders", "orders-1", orders.instances.get(name="orders-1").server.name), ("orders", "orders-2", "orders-1")
    assert told["pgreplica_cluster_writable_instances", ("orders",)] == 1
    assert told["pgreplica_instance_up", first] == 1
    assert told["pgreplica_instance_role", (*first, "primary")] == 1
    assert told["pgreplica_instance_timeline", first] == 3
    assert told["pgreplica_slot_retained_bytes", ("orders", "orders-1", SLOT["name"])] == 4096
    assert told["pgreplica_replication_streaming", second] == 1
    assert told["pgreplica_replication_sync", second] == 1
    assert told["pgreplica_replication_lag_bytes", second] == 512
    assert told["pgreplica_verification_verdict", (*second, "warning")] == 1
    assert told["pgreplica_jobs", ("verify", "done")] == 1


def it_claims_nothing_of_what_is_not_known(client: Client, people: dict[str, User], orders: Cluster) -> None:
    client.force_login(people["vera"])
    told = scraped(client)
    names = {(name, labels[1]) for name, labels in told if name.startswith("pgreplica_instance_")}
    assert ("pgreplica_instance_up", "orders-3") not in names  # never asked
    assert ("pgreplica_instance_timeline", "orders-2") not in names  # silent: only that it is
    assert [value for (name, labels), value in told.items() if name == "pgreplica_instance_up" and labels[1] == "orders-2"] == [0]
    assert not [labels for name, labels in told if name == "pgreplica_slot_safe_bytes"]  # no limit
    assert ("pgreplica_monitor_instances", ()) not in told


def it_says_how_the_monitor_is(client: Client, people: dict[str, User]) -> None:
    Monitor.objects.create(pk=1, beat_at=timezone.now(), instances=3, interval=5)
    client.force_login(people["vera"])
    told = scraped(client)
    assert told["pgreplica_monitor_instances", ()] == 3
    assert told["pgreplica_monitor_last_round_timestamp_seconds", ()] == pytest.approx(timezone.now().timestamp(), abs=60)


def it_keeps_labels_apart_whatever_a_slot_is_called(client: Client, people: dict[str, User], orders: Cluster) -> None:
    name = 'a"} 1\\n# \\ pgreplica_cluster_writable_instances{cluster="orders"} 2'
    InstanceState.objects.update(sampled={**SAMPLED, "slots": [{**SLOT, "name": name}]})
    client.force_login(people["vera"])
    told = scraped(client)
    assert told["pgreplica_slot_active", ("orders", "orders-1", name)] == 1
    assert told["pgreplica_cluster_writable_instances", ("orders",)] == 1


def it_asks_the_database_equally_often_for_any_number_of_clusters(client: Client, people: dict[str, User], orders: Cluster) -> None:
    client.force_login(people["vera"])

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert client.get("/metrics").status_code == 200
        return len(captured)

    one = queries()
    for number in range(5):
        observed_cluster(f"more{number}")
    assert queries() == one


def it_is_for_those_who_may_see_clusters(
    client: Client, people: dict[str, User], bearer: Callable[..., Client], django_user_model: Any
) -> None:
    refused = client.get("/metrics")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get("/metrics", headers={"Authorization": "Bearer pgr_unknown"}).status_code == 401
    client.force_login(people["vera"])
    assert client.get("/metrics", headers={"Authorization": "Bearer pgr_unknown"}).status_code == 401  # what was sent counts
    client.force_login(django_user_model.objects.create_user("nobody"))
    assert client.get("/metrics").status_code == 403
    assert bearer("vera", "read").get("/metrics").status_code == 200
    assert client.post("/metrics").status_code == 405


# -- the examples


def named(text: str) -> set[str]:
    return set(re.findall(r"pgreplica_[a-z_]+", text))


def test_the_alert_rules_ask_for_metrics_that_there_are() -> None:
    groups = yaml.safe_load((EXAMPLES / "prometheus-alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {"alert", "expr", "for", "labels", "annotations"} <= set.intersection(*map(set, rules))
    assert named(" ".join(rule["expr"] for rule in rules)) <= METRICS.keys()
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning"}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    board = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert named(" ".join(asked)) <= METRICS.keys()
    assert len(asked) >= 8
