"""The forecasts of many instances, and where they are shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone, translation

from clusters.models import Cluster, Instance, InstanceState, KeptCopy, Server
from tasks.forecasts import forecasts_of
from tasks.views.space import about
from tests.unit.observed import observed_cluster
from tests.unit.web.conftest import text_of

pytestmark = pytest.mark.django_db

GB = 1024**3
SLOT = {"name": "pgr_orders_orders_2", "active": False, "wal_status": "reserved", "safe_bytes": 2 * GB, "retained_bytes": GB}


@pytest.fixture
def orders() -> Cluster:
    """orders-1 has an idle slot and a disk that fills; the disk of orders-2 was looked at an hour ago; orders-3 was never asked."""
    cluster = observed_cluster()
    now = timezone.now()
    first, second = cluster.instances.order_by("name")[:2]
    first.observed = {**first.observed, "settings": {**first.observed.get("settings", {}), "archive_mode": "on"}}
    first.save()
    cluster.instances.get(name="orders-2").pair.__class__.objects.filter(standby=second).update(slot=SLOT["name"])
    for instance, disk_at, slots in ((first, now, [SLOT]), (second, now - dt.timedelta(hours=1), [])):
        InstanceState.objects.create(
            instance=instance,
            tried_at=now,
            answered_at=now,
            since=now,
            role="primary",
            sampled={"slots": slots},
            wal_rate_mean=GB / 3600,
            disk_free_bytes=90 * GB,
            disk_total_bytes=100 * GB,
            disk_rate=30 * GB / 3600,
            disk_at=disk_at,
        )
    KeptCopy.objects.create(cluster_name="x", instance_name="y", server=first.server, origin="diverged", path="/q", size_bytes=GB, job_id=1)
    return cluster


def it_reads_the_rows_of_any_number_in_three_queries(orders: Cluster, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):
        first, second = forecasts_of(clusters=[orders.pk])
    assert (first.instance, first.disk.outlook, first.disk.seconds) == ("orders-1", "filling", pytest.approx(3 * 3600))
    assert "Purge" in first.disk.cures[0]
    assert "archiving" in first.disk.cures[1]
    (slot,) = first.slots
    assert (slot.seen.owner, slot.forecast.seconds) == ("orders-2", pytest.approx(2 * 3600))
    assert (second.disk.outlook, second.disk.sentence) == ("unknown", "Not known: the last look at this disk is 60 minutes old.")
    more = observed_cluster("more")
    for instance in more.instances.all():
        InstanceState.objects.create(instance=instance, tried_at=timezone.now(), since=timezone.now(), role="unreachable", missed=5)
    with django_assert_num_queries(3):
        found = forecasts_of()
    assert len(found) == 2 + more.instances.count()
    assert [one.instance for one in forecasts_of(servers=[Instance.objects.get(name="orders-2").server_id]) if one.cluster == "orders"]


def it_says_nothing_of_slots_that_were_heard_of_long_ago(orders: Cluster) -> None:
    InstanceState.objects.update(answered_at=timezone.now() - dt.timedelta(minutes=10))  # a monitor that has ended
    first, _second = forecasts_of(clusters=[orders.pk])
    assert first.slots[0].forecast.outlook == "unknown"


def it_is_on_the_pages_of_cluster_and_server(client: Client, people: dict[str, User], orders: Cluster) -> None:
    client.force_login(people["vera"])
    server = Server.objects.get(instances__name="orders-1")
    for address, name in (("/clusters/orders/", "orders-1"), (f"/servers/{server.name}/", "orders/orders-1")):
        text = text_of(client.get(address).content.decode())
        assert f"{name} Disk 90.0 GB free of 100 GB" in text
        assert "in about 3 hours" in text
        assert "Slot pgr_orders_orders_2" in text
        assert "Bring orders-2 back" in text
    text = text_of(client.get("/clusters/orders/").content.decode())
    assert "not known Not known: the last look at this disk is 60 minutes old." in text


def it_is_in_the_api_and_in_the_metrics(bearer: Callable[..., Client], orders: Cluster) -> None:
    vera = bearer("vera", "read")
    space = vera.get("/api/v1/clusters/orders").json()["space"]
    assert [(row["instance"], row["slot"], row["outlook"]) for row in space] == [
        ("orders-1", None, "filling"), ("orders-1", SLOT["name"], "filling"), ("orders-2", None, "unknown"),
    ]  # fmt: skip
    assert space[1]["bytes_per_second"] == GB / 3600
    told = [line for line in vera.get("/metrics").content.decode().splitlines() if not line.startswith("#")]
    values = {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in told if "orders-1" in line}
    assert values["pgreplica_disk_full_seconds"] == pytest.approx(3 * 3600)
    assert values["pgreplica_slot_lost_seconds"] == pytest.approx(2 * 3600)
    assert values["pgreplica_disk_total_bytes"] == 100 * GB
    assert not [line for line in told if line.startswith("pgreplica_disk_") and "orders-2" in line]  # too old to be told


def test_a_forecast_is_said_no_more_exactly_than_it_is() -> None:
    with translation.override("en"):
        said = [about(seconds) for seconds in (20, 60, 3000, 10_000, 86_400, 400_000)]
    assert said == [
        "in less than a minute", "in about 1 minute", "in about 50 minutes", "in about 3 hours", "in about 24 hours", "in about 5 days",
    ]  # fmt: skip
