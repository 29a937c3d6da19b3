"""What pages, API and commands are told about clusters and servers."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.utils import timezone

from clusters import selectors
from clusters.models import Cluster, Instance, ReplicationPair
from clusters.postgres.spec import Member, Upstream
from tests.factories import ClusterFactory, InstanceFactory, PairFactory, ServerFactory, VerificationFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db

AT = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def orders() -> Cluster:
    """`orders`: node1 on alpha, node2 on beta that follows it."""
    cluster = ClusterFactory(name="orders", database="shop", owner_role="shop owner")
    fields = {"cluster": cluster, "observed": {"timeline": 2}, "observed_at": AT}
    primary = InstanceFactory(name="node1", server=ServerFactory(name="alpha", address="192.0.2.10"), port=5433, **fields)
    server = ServerFactory(name="beta", address="2001:db8::5")
    standby = InstanceFactory(name="node2", server=server, port=5434, role="standby", **fields)
    pair = PairFactory(upstream=primary, standby=standby, slot="pgr_orders_node2", lag_bytes=120, lag_seconds=0.5)
    VerificationFactory(pair=pair, verdict="failed", at=timezone.now() - dt.timedelta(hours=1))
    VerificationFactory(pair=pair, verdict="ok")
    return cluster


def test_cluster_show_is_what_scripts_rely_on() -> None:
    orders()
    common = {"role": "primary", "state": "running", "timeline": 2, "observed_at": AT}
    no_pair = {"upstream": None, "slot": None, "sync_state": None, "lag_bytes": None, "lag_seconds": None}
    pair = {"upstream": "node1", "slot": "pgr_orders_node2", "sync_state": "async", "lag_bytes": 120, "lag_seconds": 0.5}
    assert selectors.cluster_show("orders") == {
        "name": "orders",
        "state": "running",
        "verdict": "ok",
        "epoch": 1,
        "guarantee": "asynchronous",
        "connection_string": "postgresql://shop%20owner@192.0.2.10:5433,[2001:db8::5]:5434/shop?target_session_attrs=read-write",
        "primary": "node1",
        "instances": [
            {"name": "node1", "server": "alpha", "host": "192.0.2.10", "port": 5433} | common | no_pair,
            {"name": "node2", "server": "beta", "host": "2001:db8::5", "port": 5434}
            | common
            | {"role": "standby", "state": "streaming"}
            | pair,
        ],
    }


def state(cluster: Cluster) -> tuple[str, str, str, str | None]:
    shown = selectors.cluster_show(cluster.name)
    return shown["state"], shown["verdict"], shown["guarantee"], shown["primary"]


def test_a_cluster_whose_standby_does_not_stream_is_degraded_and_guarantees_nothing() -> None:
    cluster = orders()
    ReplicationPair.objects.update(state="")
    VerificationFactory(pair=ReplicationPair.objects.get(), verdict="failed")
    assert state(cluster) == ("degraded", "failed", "none", "node1")
    assert selectors.cluster_show("orders")["instances"][1]["state"] == "disconnected"


def test_a_cluster_with_a_synchronous_standby_says_so() -> None:
    cluster = orders()
    ReplicationPair.objects.update(sync_state="quorum")
    assert state(cluster) == ("running", "ok", "synchronous", "node1")


def test_a_stopped_primary_is_shown_in_its_declared_role_and_as_stopped() -> None:
    cluster = orders()
    Instance.objects.filter(name="node1").update(observed_role="stopped")
    assert state(cluster) == ("stopped", "ok", "asynchronous", "node1")


def test_two_observed_primaries_are_shown_as_they_are() -> None:
    cluster = orders()
    Instance.objects.filter(name="node2").update(observed_role="primary")
    assert state(cluster)[0] == "degraded"
    assert [item["role"] for item in selectors.cluster_show("orders")["instances"]] == ["primary", "primary"]


def test_a_standby_seen_as_the_only_primary_is_the_primary() -> None:
    cluster = orders()
    Instance.objects.filter(name="node1").update(observed_role="standby")
    Instance.objects.filter(name="node2").update(observed_role="primary")
    assert state(cluster)[3] == "node2"


def test_a_planned_cluster_is_planned_and_its_pair_unknown() -> None:
    cluster = orders()
    Cluster.objects.update(lifecycle="planned")
    ReplicationPair.objects.get().verifications.all().delete()
    assert state(cluster) == ("planned", "unknown", "asynchronous", "node1")


def test_a_name_that_no_row_can_have_is_not_found() -> None:
    for name in ("nobody", "a\x00b", "\ud800"):
        with pytest.raises(Cluster.DoesNotExist):
            selectors.cluster_show(name)


@pytest.mark.parametrize("clusters", [1, 40])
def test_showing_clusters_takes_two_queries_however_many_there_are(clusters: int, django_assert_num_queries) -> None:
    for number in range(clusters):
        cluster_with_standbys(f"orders{number}", standbys=1 + number % 3)
    with django_assert_num_queries(2):
        assert len(selectors.cluster_list()) == clusters
    with django_assert_num_queries(2):
        selectors.cluster_show("orders0")


@pytest.mark.parametrize("servers", [1, 40])
def test_showing_servers_takes_one_query_however_many_there_are(servers: int, django_assert_num_queries) -> None:
    InstanceFactory.create_batch(servers)
    with django_assert_num_queries(1):
        assert [server["instances"] for server in selectors.server_list()] == [1] * servers


def test_the_list_is_readable_when_the_stored_secrets_are_not() -> None:
    orders()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE clusters_cluster SET owner_password = 'not ciphertext'")
    assert [cluster["name"] for cluster in selectors.cluster_list()] == ["orders"]


def test_the_spec_of_a_standby_names_its_upstream_and_every_member() -> None:
    orders()
    spec = selectors.instance_spec(selectors.instance_get("orders", "node2"))
    primary, standby = Member("node1", "192.0.2.10", 5433), Member("node2", "2001:db8::5", 5434)
    assert (spec.cluster, spec.name, spec.server, spec.role, spec.major) == ("orders", "node2", "beta", "standby", 18)
    assert spec.upstream == Upstream("node1", "192.0.2.10", 5433, "pgr_orders_node2")
    assert spec.members == (primary, standby)
    assert (spec.client_networks, dict(spec.settings)) == (("192.0.2.0/24",), {"shared_buffers": "512MB"})


def test_the_spec_of_a_primary_has_no_upstream() -> None:
    orders()
    assert selectors.instance_spec(selectors.instance_get("orders", "node1")).upstream is None
