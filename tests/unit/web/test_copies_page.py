"""Kept copies on the page of their cluster, and the pages that ask to rejoin, restore and purge."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from clusters.models import Cluster, KeptCopy
from clusters.services import copy_gone, copy_record, instance_quarantine
from tests.factories import JobFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, queries_of, text_of

pytestmark = pytest.mark.django_db
ORDERS = "/clusters/orders/"


@pytest.fixture
def orders() -> Cluster:
    return cluster_with_standbys("orders", standbys=2)


def kept(cluster: Cluster, origin: str = "diverged", number: int = 17) -> KeptCopy:
    row = cluster.instances.get(name="orders-2")
    path = f"/srv/pgreplica/orders/quarantine/orders-2-{number}"
    job = JobFactory(cluster=cluster)
    values = {"size_bytes": 3 * 1024**3, "timeline": 4, "end_lsn": "0/5000060"}
    return copy_record(row, origin=KeptCopy.Origin(origin), path=path, job_id=job.pk, **values)


def it_lists_them_with_size_age_and_how_to_read_them(get: Get, orders: Cluster) -> None:
    copy = kept(orders)
    copy_gone(kept(orders, "replaced", 16), "purged")
    page = get("adam", ORDERS)
    words = text_of(page)
    assert "Kept copies" in words
    assert "diverged from the new primary 3.0 GB" in words
    assert "TLI 4 0/5000060" in words
    assert "replaced by a new copy" not in words
    assert f"pg_ctl start -D {copy.path}/data" in words
    assert f"config_file={copy.path}/conf/postgresql.conf" in words
    assert set(re.findall(r'href="([^"]*copy=\d+)"', page)) == {
        f"/clusters/orders/orders-2/restore/?copy={copy.pk}", f"/clusters/orders/purge-copy/?copy={copy.pk}",
    }  # fmt: skip


def it_offers_what_the_reader_may_do(get: Get, orders: Cluster) -> None:
    kept(orders)
    assert "?copy=" not in get("vera", ORDERS)
    assert "/purge-copy/" not in get("olga", ORDERS)
    assert "/restore/" in get("olga", ORDERS)
    KeptCopy.objects.update(origin="removed")
    assert "/restore/" not in get("olga", ORDERS)


def it_takes_as_many_queries_however_many_there_are(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    kept(orders)
    client = signed_in("adam")
    few = len(queries_of(client, ORDERS))
    for number in range(20, 30):
        kept(orders, "replaced", number)
    assert len(queries_of(client, ORDERS)) == few


def it_offers_to_rejoin_what_is_astray(get: Get, orders: Cluster) -> None:
    page = text_of(get("olga", ORDERS))
    assert "It streams: there is nothing to rejoin." in page
    assert "It is the declared primary: there is nobody to rejoin." in page
    instance_quarantine(orders.instances.get(name="orders-2"), "it was the primary")
    assert 'href="/clusters/orders/orders-2/rejoin/"' in get("olga", ORDERS)
    asked = text_of(get("olga", "/clusters/orders/orders-2/rejoin/"))
    assert "a new base backup, with the old data put aside" in asked
    assert "No other standby streams: its old data may be the last good copy" in asked
    planned = text_of(get("olga", "/clusters/orders/orders-2/rejoin/?up_to=basebackup"))
    assert "Rejoin" in planned


def it_asks_for_the_name_before_it_restores_or_purges(get: Get, orders: Cluster) -> None:
    copy = kept(orders)
    restore = get("adam", f"/clusters/orders/orders-2/restore/?copy={copy.pk}")
    assert f'value="{copy.pk}"' in restore
    assert "It stays in quarantine" in text_of(restore)
    purge = get("adam", f"/clusters/orders/purge-copy/?copy={copy.pk}")
    assert "deleted for good" in text_of(purge)
