"""Requests about an instance that returns and about kept data: what the forms refuse from the rows alone; what is shown of a copy."""

from __future__ import annotations

from typing import Any

import pytest

from clusters.copies import copy_data, kept_copies
from clusters.forms import REQUEST_FORMS
from clusters.models import Cluster, Instance, KeptCopy, Server
from clusters.services import cluster_forget, copy_gone, copy_record, instance_quarantine
from tests.factories import PairFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db


@pytest.fixture
def orders() -> Cluster:
    return cluster_with_standbys("orders", standbys=2)


def row(cluster: Cluster, number: int) -> Instance:
    return cluster.instances.get(name=f"orders-{number}")


def kept(cluster: Cluster, number: int = 2, origin: str = "diverged", job: int = 9) -> KeptCopy:
    instance = row(cluster, number)
    path = f"/srv/pgreplica/orders/quarantine/{instance.name}-{job}"
    return copy_record(instance, origin=KeptCopy.Origin(origin), path=path, job_id=job)


def refused(kind: str, **data: Any) -> dict[str, list[str]]:
    form = REQUEST_FORMS[kind]({"cluster": "orders", **data})
    return {} if form.is_valid() else form.messages()


def it_rejoins_what_is_in_quarantine_or_does_not_stream(orders: Cluster) -> None:
    ask = {"instance": "orders-2", "confirm": "orders-2"}
    assert refused("rejoin", **ask) == {"instance": ["It was seen streaming, and is not in quarantine: there is nothing to rejoin."]}
    instance_quarantine(row(orders, 2), "it was the primary")
    assert refused("rejoin", **ask) == {}
    assert "instance" in refused("rejoin", instance="orders-1", confirm="orders-1")
    assert refused("rejoin", **ask | {"confirm": "orders"}) == {"confirm": ["Type orders-2 to confirm: this was not it."]}
    assert list(refused("rejoin", **ask, up_to="anything")) == ["up_to"]
    assert list(refused("rejoin", **ask, flags=["force"])) == ["flags"]
    form = REQUEST_FORMS["rejoin"]({"cluster": "orders", **ask})
    assert form.is_valid()
    assert form.params() == {"cluster": "orders", "instance": "orders-2", "up_to": "rewind", "flags": []}


def it_restores_a_standbys_own_copy(orders: Cluster) -> None:
    copy = kept(orders)
    ask = {"instance": "orders-2", "copy": copy.pk, "confirm": "orders-2"}
    assert refused("restore_copy", **ask) == {}
    assert list(refused("restore_copy", **ask | {"instance": "orders-3", "confirm": "orders-3"})) == ["copy"]
    assert list(refused("restore_copy", **ask | {"copy": "1; rm"})) == ["copy"]
    assert list(refused("restore_copy", instance="orders-1", copy=kept(orders, 1).pk, confirm="orders-1")) == ["instance"]
    PairFactory(upstream=row(orders, 2))
    assert list(refused("restore_copy", **ask)) == ["instance"]
    assert list(refused("restore_copy", **ask | {"copy": kept(orders, origin="removed", job=10).pk})) == ["instance", "copy"]


def it_purges_what_is_there_also_of_a_cluster_that_is_gone(orders: Cluster) -> None:
    copy = kept(orders)
    cluster_forget(orders)
    assert refused("purge_copy", copy=copy.pk, confirm="orders") == {}
    assert list(refused("purge_copy", copy=copy.pk, confirm="")) == ["confirm"]
    assert list(refused("purge_copy", copy=copy.pk + 1, confirm="orders")) == ["copy"]
    assert list(REQUEST_FORMS["purge_copy"]({"cluster": "billing", "copy": copy.pk, "confirm": "billing"}).errors) == ["copy"]
    copy_gone(copy, "purged")
    assert list(refused("purge_copy", copy=copy.pk, confirm="orders")) == ["copy"]


def it_shows_how_to_start_a_copy_beside_the_running_cluster(orders: Cluster) -> None:
    copy = kept(orders)
    (shown,) = kept_copies("orders")
    line = shown["start_by_hand"]
    assert line.startswith(
        f"mkdir -p -m 700 /srv/pgreplica/.run/k{copy.pk} && /usr/lib/postgresql/18/bin/pg_ctl start -D {copy.path}/data "
    )
    for option in ("listen_addresses=", "primary_conninfo=", "primary_slot_name=", "synchronous_standby_names=", "archive_mode=off"):
        assert f" {option}" in line
    assert (shown["id"], shown["origin"], shown["job"]) == (copy.pk, "diverged", 9)
    assert copy_data(kept(orders, origin="removed", job=10)).endswith("orders-2-10/volumes/postgres/data")
    cluster_forget(orders)
    assert len(kept_copies("orders")) == 2
    assert kept_copies("or\0ders") == kept_copies("orders")
    assert kept_copies("billing") == []


def it_shows_how_to_read_a_copy_in_a_container_of_its_own(orders: Cluster) -> None:
    copy = kept(orders)
    Server.objects.filter(pk=copy.server_id).update(runtime="docker", facts={"owner": "105:112"})
    Instance.objects.filter(server=copy.server_id).update(bindir="", image="postgres:16")
    (shown,) = kept_copies("orders")
    line = shown["start_by_hand"]
    assert line.startswith("docker run --rm --interactive --tty --network=none --user=105:112 ")
    assert f"--mount=type=bind,source={copy.path},target={copy.path} --entrypoint=sh postgres:16 -c " in line
    assert "mkdir" not in line
    cluster_forget(orders)
    (shown,) = kept_copies("orders")
    assert f"""postgres:"$(cat {copy.path}/data/PG_VERSION)" -c """ in shown["start_by_hand"]
