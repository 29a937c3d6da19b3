"""Whose slot a slot is."""

from __future__ import annotations

import pytest

from clusters.models import Cluster, Instance, ReplicationPair
from clusters.postgres.names import slot_name
from clusters.slots import Owner, slot_owner
from tests.unit.observed import observed_cluster

pytestmark = pytest.mark.django_db


@pytest.fixture
def orders() -> Cluster:
    return observed_cluster()


def owner(cluster: Cluster, on: str, slot: str) -> Owner | None:
    pairs = ReplicationPair.objects.filter(standby__cluster=cluster)
    return slot_owner(cluster, Instance.objects.get(name=on), slot, cluster.instances.select_related("server"), pairs)


def it_is_of_the_pair_that_declares_it(orders: Cluster) -> None:
    assert owner(orders, "orders-1", slot_name("orders", "orders-2")) == Owner("orders-2", True)


def it_keeps_the_wal_of_a_member_that_follows_nobody_for_its_return(orders: Cluster) -> None:
    ReplicationPair.objects.filter(standby__name="orders-2").delete()
    assert owner(orders, "orders-1", slot_name("orders", "orders-2")) == Owner("orders-2", True)


def it_is_nobodys_where_a_promotion_that_was_taken_back_has_left_it(orders: Cluster) -> None:
    """Made on the candidate for the old primary, and not dropped since the candidate's server was gone."""
    assert owner(orders, "orders-2", slot_name("orders", "orders-1")) is None
