"""The page of the eligibility board."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from clusters.models import Cluster, Instance
from tests.factories import ClusterFactory, JobFactory
from tests.unit.observed import change, observed_cluster
from tests.unit.web.conftest import Get, queries_of, text_of

pytestmark = pytest.mark.django_db
BOARD = "/clusters/orders/board/"


@pytest.fixture
def orders() -> Cluster:
    return observed_cluster()


def section(page: str, name: str) -> str:
    return text_of(f'id="content"{page.partition(f"{name}-title")[2].partition("</section>")[0]}')


def it_says_that_all_is_well(get: Get, orders: Cluster) -> None:
    page = get("vera", BOARD)
    words = text_of(page)
    assert "orders-2 can" in re.sub(r"check_circle ", "", words)
    assert "the panel would choose it" in words
    assert "In the way" not in words
    assert "Not known yet" not in words
    assert "It replays." in section(page, "well")


def it_puts_what_is_in_the_way_first_with_value_threshold_and_cure(get: Get, orders: Cluster) -> None:
    change(
        orders,
        "orders-2",
        replay_state="paused",
        settings={**orders.instances.get(name="orders-2").observed["settings"], "max_connections": "5"},
    )
    change(orders, "orders-1", long_transaction_seconds=90.0)
    page = get("vera", BOARD)
    failing = section(page, "failing")
    assert "Replay on orders-2 does not go on (paused)." in failing
    assert "Found: paused · wanted: not paused" in failing
    assert "Resume it: SELECT pg_wal_replay_resume()." in failing
    assert failing.index("max_connections = 5") < failing.index("open for 90 seconds")  # what blocks before what is only to know
    assert page.index("failing-title") < page.index("well-title")
    assert 'data-label="orders-3"' in page  # a narrow page names the standby in each block


def it_says_what_nobody_has_seen(get: Get, orders: Cluster) -> None:
    Instance.objects.update(surroundings={})
    assert "It admits the old primary and the other standbys." in section(get("vera", BOARD), "unknown")


@pytest.mark.parametrize(("act", "words"), [("failover", "The primary is gone"), ("promote", "outside the cluster")])
def it_shows_the_board_of_each_act(get: Get, orders: Cluster, act: str, words: str) -> None:
    page = get("vera", f"{BOARD}?act={act}")
    assert words in text_of(page)
    assert f'<a href="?act={act}" aria-current="page">' in page
    if act == "failover":
        assert "only with: primary_seen_alive, possible_data_loss" in text_of(page)


def it_offers_to_look_again(get: Get, orders: Cluster) -> None:
    assert '<form method="post" action="/clusters/orders/verify/">' in get("olga", BOARD)
    JobFactory(kind="add_standby", status="running", cluster=orders)
    assert '<form method="post" action="/clusters/orders/verify/">' in get("olga", BOARD)  # a look is always possible
    viewer = get("vera", BOARD)
    assert '<form method="post" action="/clusters/' not in viewer
    assert "tasks.run_verify" in text_of(viewer)


def it_shows_how_old_the_look_is(get: Get, orders: Cluster) -> None:
    Instance.objects.filter(name="orders-3").update(observed_at=timezone.now() - timedelta(minutes=42))
    words = text_of(get("vera", BOARD))
    assert "42 min ago" in words
    assert "The last look at orders-3 is 2520 seconds old (limit 600)" in words


def it_is_linked_from_the_page_of_the_cluster(get: Get, orders: Cluster) -> None:
    assert f'href="{BOARD}"' in get("vera", "/clusters/orders/")


def it_shows_a_cluster_without_standbys(get: Get) -> None:
    ClusterFactory(name="orders")
    assert "This cluster has no standby." in text_of(get("vera", BOARD))


def it_answers_404_for_what_is_not_there(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("vera")
    assert client.get(f"{BOARD}?act=dance").status_code == 404
    assert client.get("/clusters/nowhere/board/").status_code == 404


def it_writes_hostile_text_as_text(get: Get, orders: Cluster) -> None:
    hostile = "<script>alert(1)</script>{{ 7*7 }}"
    change(orders, "orders-2", replay_state=hostile, collation_mismatches=[hostile])
    page = get("vera", BOARD)
    assert "<script>alert" not in page
    assert "{{ 7*7 }}" in text_of(page)


def it_asks_the_database_the_same_number_of_questions_for_30_standbys_as_for_2(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("olga")
    observed_cluster("big", standbys=30)
    few, many = queries_of(client, BOARD), queries_of(client, "/clusters/big/board/")
    assert len(many) == len(few) <= 12
