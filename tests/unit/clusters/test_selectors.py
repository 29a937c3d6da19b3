"""What pages, API and commands are told about clusters and servers."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from clusters import selectors
from clusters.models import Cluster, Instance, ReplicationPair
from clusters.postgres.facts import Lsn
from clusters.postgres.spec import Member, Upstream
from tests.factories import ClusterFactory, InstanceFactory, PairFactory, ServerFactory, VerificationFactory, cluster_with_standbys
from tests.unit.clusters.postgres import pair as facts

pytestmark = pytest.mark.django_db

SENDER = replace(facts.SENDER, application_name="node2")
HELD = replace(facts.HELD, name="pgr_orders_node2", restart_lsn=Lsn(facts.END - facts.MB))
AT = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def orders() -> Cluster:
    """`orders`: node1 on alpha, node2 on beta that follows it."""
    cluster = ClusterFactory(name="orders", database="shop", owner_role="shop owner")
    fields = {"cluster": cluster, "observed": {"timeline": 2}, "observed_at": AT}
    seen = fields | {"observed": facts.primary(timeline=2, senders=(SENDER,), slots=(HELD,)).as_row()}
    primary = InstanceFactory(name="node1", server=ServerFactory(name="alpha", address="192.0.2.10"), port=5433, **seen)
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
        "guarantee_sentence": "Commits wait for no standby (asynchronous): a failover may lose the last commits.",
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


def look(**seen: Any) -> None:
    """The last look at the primary saw this."""
    Instance.objects.filter(name="node1").update(observed=facts.primary(timeline=2, **seen).as_row())


def state(cluster: Cluster) -> tuple[str, str, str, str | None]:
    shown = selectors.cluster_show(cluster.name)
    return shown["state"], shown["verdict"], shown["guarantee"], shown["primary"]


def test_a_cluster_whose_standby_does_not_stream_is_degraded_and_guarantees_nothing() -> None:
    cluster = orders()
    ReplicationPair.objects.update(state="")
    look(senders=())
    VerificationFactory(pair=ReplicationPair.objects.get(), verdict="failed")
    assert state(cluster) == ("degraded", "failed", "none", "node1")
    assert selectors.cluster_show("orders")["instances"][1]["state"] == "disconnected"


def test_a_cluster_with_a_synchronous_standby_says_so() -> None:
    cluster = orders()
    Cluster.objects.update(sync_mode="any", sync_count=1)
    look(senders=(replace(SENDER, sync_state="quorum"),), settings={"synchronous_standby_names": 'ANY 1 ("node2")'})
    assert state(cluster) == ("running", "ok", "synchronous", "node1")
    sentence = "Every commit is on disk on the primary and on node2 before it is acknowledged."
    assert selectors.cluster_show("orders")["guarantee_sentence"] == sentence


def test_a_stopped_primary_is_shown_in_its_declared_role_and_as_stopped() -> None:
    cluster = orders()
    Instance.objects.filter(name="node1").update(observed_role="stopped")
    assert state(cluster) == ("stopped", "ok", "unknown", "node1")


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


def test_commits_wait_for_standbys_that_are_made_follow_the_primary_and_are_not_in_quarantine() -> None:
    cluster = orders()
    primary = Instance.objects.get(name="node1")
    rows = {name: InstanceFactory(cluster=cluster, name=name, role="standby") for name in ("node3", "node4", "node5")}
    PairFactory(upstream=primary, standby=rows["node3"])
    PairFactory(upstream=rows["node3"], standby=rows["node4"])
    PairFactory(upstream=primary, standby=rows["node5"])
    Instance.objects.filter(name="node5").update(lifecycle="planned")
    Cluster.objects.update(sync_mode="any", sync_count=1)

    def names(instance: str) -> str:
        return selectors.instance_spec(selectors.instance_get("orders", instance)).synchronous

    assert names("node1") == 'ANY 1 ("node2", "node3")'
    assert names("node2") == 'ANY 1 ("node1", "node3")'
    assert names("node3") == 'ANY 1 ("node1", "node2", "node4")'
    Instance.objects.filter(name="node5").update(lifecycle="ready", quarantined_at=AT)
    assert names("node1") == 'ANY 1 ("node2", "node3")'
    Cluster.objects.update(sync_count=3)
    assert names("node1") == 'ANY 3 ("node2", "node3", "node5")'


def test_the_slots_of_a_cluster_with_their_owners() -> None:
    orders()
    slots = (
        HELD,
        replace(HELD, name="pgr_orders_node1", active=False, pid=None),
        replace(HELD, name="backup", active=False, pid=None, restart_lsn=None, safe_wal_size=None),
    )
    look(slots=slots)
    shown = {slot["slot"]: slot for slot in selectors.cluster_slots("orders")}
    assert {name: slot["owner"] for name, slot in shown.items()} == {
        "pgr_orders_node2": "node2", "pgr_orders_node1": "unknown", "backup": "unknown",
    }  # fmt: skip
    assert shown["pgr_orders_node2"] == {
        "instance": "node1", "slot": "pgr_orders_node2", "owner": "node2", "type": "physical", "active": True, "temporary": False,
        "wal_status": "reserved", "restart_lsn": "1/2F00060", "retained_bytes": facts.MB, "safe_bytes": 10 * facts.GB, "observed_at": AT,
    }  # fmt: skip
    assert (shown["backup"]["retained_bytes"], shown["backup"]["safe_bytes"], shown["backup"]["restart_lsn"]) == (None, None, None)


@pytest.mark.parametrize("standbys", [1, 20])
def test_showing_slots_takes_two_queries_however_many_there_are(standbys: int, django_assert_num_queries) -> None:
    cluster_with_standbys("orders", standbys=standbys)
    held = tuple(replace(HELD, name=f"slot_{number}") for number in range(standbys))
    Instance.objects.filter(role="primary").update(observed=facts.primary(slots=held).as_row())
    with django_assert_num_queries(2):
        assert len(selectors.cluster_slots("orders")) == standbys


def test_a_slot_that_a_standby_was_only_seen_to_use_is_its_too() -> None:
    orders()
    look(slots=(replace(HELD, name="by_hand", active=False, pid=None),))
    used = facts.standby(settings={"primary_slot_name": "by_hand"}, receiver=None)
    Instance.objects.filter(name="node2").update(observed=used.as_row())
    assert [slot["owner"] for slot in selectors.cluster_slots("orders")] == ["node2"]
