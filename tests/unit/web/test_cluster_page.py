"""The page of one cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from clusters.models import Cluster, Instance
from clusters.postgres.facts import InstanceFacts, Lsn, SlotRow
from tasks.kinds import Status
from tests.factories import ClusterFactory, InstanceFactory, JobFactory, PairFactory, VerificationFactory, cluster_with_standbys
from tests.unit.clusters.postgres import pair as facts
from tests.unit.web.conftest import Get, queries_of, text_of

pytestmark = pytest.mark.django_db
ORDERS = "/clusters/orders/"


@pytest.fixture
def orders() -> Cluster:
    return cluster_with_standbys("orders", standbys=2)


def observe(cluster: Cluster, name: str, **fields: object) -> None:
    Instance.objects.filter(cluster=cluster, name=name).update(**fields)


def links(page: str) -> set[str]:
    return set(re.findall(r'href="(/[^"#?]*)', page))


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        ("stopped", "Declared standby, but it does not run."),
        ("unreachable", "Declared standby, but it did not answer."),
        ("primary", "Declared standby, but observed as primary."),
        ("unknown", "Declared standby; nobody has looked at it yet."),
    ],
)
def it_says_in_words_where_declared_and_observed_differ(get: Get, orders: Cluster, observed: str, words: str) -> None:
    observe(orders, "orders-2", observed_role=observed)
    page = text_of(get("vera", ORDERS))
    assert page.count(words) == 2  # among what to know, and in the table
    assert "orders-2:" in page


def it_shows_the_picture_with_the_same_words_for_those_who_do_not_see_it(get: Get, orders: Cluster) -> None:
    page = get("vera", ORDERS)
    titles = re.findall(r'<svg[^>]*role="group"[^>]*>\s*<title[^>]*>([^<]*)</title>', page)
    assert len(titles) == 2  # one for wide pages, one for narrow ones
    for title in titles:
        assert "orders-1: primary, seen just now." in title  # no monitor watches
        assert "orders-2 follows orders-1: streaming · async, lag 0" in title


def it_names_lag_in_bytes_and_in_seconds(get: Get, orders: Cluster) -> None:
    words = text_of(get("vera", ORDERS))
    assert "Lag in bytes Lag in seconds" in words
    assert "streaming · async 0 bytes 0.0 s pgr_orders_orders_2" in words


def it_gives_the_connection_strings_without_a_password(get: Get, orders: Cluster) -> None:
    page = get("vera", ORDERS).replace("&amp;", "&")
    ports = dict(orders.instances.values_list("name", "port"))
    hosts = ",".join(f"192.0.2.10:{ports[f'orders-{n}']}" for n in (1, 2, 3))
    assert f"postgresql://orders@{hosts}/orders?target_session_attrs=read-write</code>" in page
    assert f"postgresql://orders@{hosts}/orders?target_session_attrs=prefer-standby</code>" in page
    assert orders.owner_password.reveal() not in page


def it_shows_findings_with_value_threshold_and_cure(get: Get, orders: Cluster) -> None:
    pair = orders.instances.get(name="orders-2").pair
    finding = {
        "name": "lag",
        "severity": "warns",
        "sentence": "It is behind.",
        "value": "70 MB",
        "threshold": "64 MB",
        "cure": "Look there.",
    }
    VerificationFactory(pair=pair, verdict="warning", findings=[finding])
    words = text_of(get("vera", ORDERS))
    assert "orders-1 → orders-2: It is behind. Found: 70 MB · wanted: 64 MB Look there." in words


SLOT = SlotRow("pgr_orders_orders_2", "physical", False, True, 7, Lsn.parse("0/3000000"), "reserved")


@pytest.mark.parametrize(
    ("slots", "words"),
    [
        ((SLOT,), "pgr_orders_orders_2 in use · reserved · keeps 16.0 MB of WAL"),
        ((replace(SLOT, active=False, wal_status="lost", restart_lsn=None),), "not in use · lost"),
        ((), "There is no such slot on orders-1."),
    ],
)
def it_says_what_each_slot_keeps(get: Get, orders: Cluster, slots: tuple[SlotRow, ...], words: str) -> None:
    facts = InstanceFacts(180006, "18.6", 1.0, False, "74", True, 3, wal_lsn=Lsn.parse("0/4000000"), slots=slots)
    observe(orders, "orders-1", observed=facts.as_row())
    page = text_of(get("vera", ORDERS))
    assert words in page
    assert "PostgreSQL 18.6" in page
    assert "TLI 3 0/4000000" in page


def it_offers_an_operator_what_fits_the_state(get: Get, orders: Cluster) -> None:
    observe(orders, "orders-2", observed_role="stopped")
    offered = links(get("olga", ORDERS))
    assert offered >= {
        "/clusters/orders/add-standby/", "/clusters/orders/orders-1/stop/", "/clusters/orders/orders-1/restart/",
        "/clusters/orders/orders-2/start/", "/clusters/orders/orders-3/remove/",
    }  # fmt: skip
    assert not offered & {
        "/clusters/orders/orders-1/start/", "/clusters/orders/orders-2/stop/",
        "/clusters/orders/orders-1/remove/", "/clusters/orders/remove/",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("orders-1", "It runs already."),
        ("orders-1", "It is the primary. Only a standby can be removed."),
        ("orders-2", "orders-4 follow it. Remove them first."),
    ],
)
def it_says_why_something_cannot_be_asked_for(get: Get, orders: Cluster, name: str, reason: str) -> None:
    cascaded = InstanceFactory(cluster=orders, name="orders-4", role="standby")
    PairFactory(upstream=orders.instances.get(name="orders-2"), standby=cascaded)
    menu = get("olga", ORDERS).partition(f'id="menu-{name}"')[2].partition("</details>")[0]
    assert reason in menu


def it_gives_a_viewer_no_button_that_works(get: Get, orders: Cluster) -> None:
    page = get("vera", ORDERS)
    assert [link for link in sorted(links(page)) if re.match(r"/clusters/orders/.+", link)] == [
        "/clusters/orders/board/",
        "/clusters/orders/charts/",
        "/clusters/orders/verifications/",
    ]
    assert '<form method="post" action="/clusters/' not in page
    assert "tasks.run_add_standby" in text_of(page)


def it_names_the_job_that_holds_the_cluster_and_leads_to_it(get: Get, orders: Cluster) -> None:
    job = JobFactory(kind="add_standby", status=Status.RUNNING, cluster=orders)
    page = get("olga", ORDERS)
    assert f"Job #{job.pk} (add standby, asked for by olga) holds this cluster: running" in text_of(page)
    assert f'href="/jobs/{job.pk}/"' in page
    assert "/clusters/orders/add-standby/" not in links(page)
    assert '<form method="post" action="/clusters/orders/verify/">' in page  # a look is always possible


def it_tells_what_an_operator_must_do_when_a_job_waits_for_one(get: Get, orders: Cluster) -> None:
    JobFactory(kind="restart_instance", status=Status.NEEDS_OPERATOR, cluster=orders, hint="Free some disk space on alpha.")
    assert "Free some disk space on alpha." in text_of(get("vera", ORDERS))


def it_hides_jobs_from_those_who_may_not_see_them(signed_in: Callable[[str], Client], people: dict[str, User], orders: Cluster) -> None:
    people["vera"].groups.clear()
    people["vera"].user_permissions.set(Permission.objects.filter(codename="view_cluster"))
    JobFactory(cluster=orders, summary="What came of it")
    assert "What came of it" not in signed_in("vera").get(ORDERS).content.decode()


HOSTILE = "<script>alert(1)</script>{{ 7*7 }}'\"&"


def it_writes_hostile_text_as_text(get: Get, orders: Cluster) -> None:
    Cluster.objects.filter(pk=orders.pk).update(database=HOSTILE[:60], owner_role=HOSTILE[:60], settings={HOSTILE: HOSTILE})
    pair = orders.instances.get(name="orders-2").pair
    VerificationFactory(
        pair=pair, verdict="failed", findings=[{"severity": "blocks", "sentence": HOSTILE, "value": HOSTILE, "cure": HOSTILE}]
    )
    observe(orders, "orders-2", observed={"timeline": HOSTILE, "replay_lsn": HOSTILE, "version": HOSTILE})
    JobFactory(cluster=orders, kind="verify", summary=HOSTILE, requested_by_name=HOSTILE)
    for page in (get("olga", ORDERS), get("olga", "/admin/")):
        assert "<script>alert" not in page
        assert "{{ 7*7 }}" in text_of(page)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        for attribute in re.findall(r'(?:x-|@|:)[\w.:-]+="([^"]*)"', page):  # what Alpine evaluates
            assert "alert" not in attribute


def it_asks_the_database_the_same_number_of_questions_for_30_standbys_as_for_2(signed_in: Callable[[str], Client]) -> None:
    client = signed_in("olga")
    JobFactory(cluster=cluster_with_standbys("small", standbys=2))
    big = cluster_with_standbys("big", standbys=30)
    for instance in big.instances.filter(role="standby"):
        JobFactory(cluster=big, instance=instance)
        VerificationFactory(pair=instance.pair, verdict="warning", findings=[{"severity": "warns", "sentence": "Behind."}])
    few, many = queries_of(client, "/clusters/small/"), queries_of(client, "/clusters/big/")
    assert len(many) == len(few) <= 20


def it_shows_a_cluster_that_was_never_made(get: Get) -> None:
    ClusterFactory(name="orders", lifecycle="planned", system_identifier="")
    words = text_of(get("olga", ORDERS))
    assert "not created" in words
    assert "This cluster has no instance." in words


def it_answers_404_for_a_name_that_no_cluster_has(signed_in: Callable[[str], Client]) -> None:
    response = signed_in("vera").get("/clusters/nowhere/")
    assert response.status_code == 404
    assert "There is nothing at this address" in response.content.decode()


def it_says_what_holds_of_a_commit_and_lifts_out_what_weakens_it(get: Get, orders: Cluster) -> None:
    Cluster.objects.update(sync_mode="any", sync_count=1)
    names = 'ANY 1 ("orders-2", "orders-3")'
    senders = tuple(replace(facts.SENDER, application_name=name, sync_state="quorum") for name in ("orders-2", "orders-3"))
    seen = facts.primary(senders=senders, settings={"synchronous_standby_names": names}, weak_sync=("role app",))
    observe(orders, "orders-1", observed=seen.as_row())
    page = get("vera", ORDERS)
    assert "Every commit is on disk on the primary and on 1 of orders-2, orders-3 before it is acknowledged" in text_of(page)
    assert "<strong>except for the role app (synchronous_commit below on)</strong>" in page
    assert "A session may SET synchronous_commit for itself" in text_of(page)
    observe(orders, "orders-1", observed=facts.primary(settings={"synchronous_standby_names": ""}).as_row())
    page = text_of(get("vera", ORDERS))
    assert "Commits wait for no standby (asynchronous): a failover may lose the last commits" in page
    assert "and this is not what the panel declares" in page


def it_lists_the_slots_and_offers_to_drop_those_of_nobody(get: Get, orders: Cluster) -> None:
    slots = (
        replace(facts.HELD, name="pgr_orders_orders_2", restart_lsn=Lsn(facts.END - 2 * facts.MB)),
        replace(facts.HELD, name="backup_tool", active=False, pid=None),
    )
    observe(orders, "orders-1", observed=facts.primary(slots=slots).as_row())
    words = text_of(get("adam", ORDERS))
    assert "pgr_orders_orders_2 orders-1 orders-2 physical · in use · reserved 2.0 MB 10.0 GB" in words
    assert "backup_tool orders-1 unknown physical · not in use · reserved" in words
    found = re.findall(r'href="(/clusters/orders/orders-1/drop/\?[^"]*)"', get("adam", ORDERS))
    assert found == ["/clusters/orders/orders-1/drop/?slot=backup_tool"]
    assert "/drop/" not in get("vera", ORDERS)
    page = get("adam", found[0])
    assert 'value="backup_tool"' in page


def it_warns_that_commits_will_wait_while_a_standby_is_stopped(get: Get, orders: Cluster) -> None:
    address = "/clusters/orders/orders-2/stop/"
    assert "commit" not in text_of(get("adam", address)).partition("This is a standby")[2].partition("upstream keep WAL for it.")[2][:80]
    Cluster.objects.update(sync_mode="any", sync_count=1)
    assert "Commits wait for 1 standbys; 1 others stream." in text_of(get("adam", address))
    Cluster.objects.update(sync_count=2)
    assert "nobody can commit until this one is back" in text_of(get("adam", address))
