"""The fleet page."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from clusters.models import Cluster
from tasks.kinds import Status
from tasks.verdicts import VERDICTS, clusters_ranked
from tests.factories import (
    ClusterFactory,
    InstanceFactory,
    JobFactory,
    PairFactory,
    ServerFactory,
    StepFactory,
    VerificationFactory,
    cluster_with_standbys,
)
from tests.unit.kept import keep
from tests.unit.web.conftest import Get, queries_of, text_of

pytestmark = pytest.mark.django_db
LONG_AGO = dt.timedelta(hours=5)
SPARK = re.compile(r"Lag: now 0 bytes, highest of the hour [\d.]+ [kM]B\.")


def named(name: str, *, standby: dict[str, object] | None = None, primary: dict[str, object] | None = None, verdict: str = "ok") -> Cluster:
    """A cluster of two, with what was observed of each."""
    cluster = ClusterFactory(name=name)
    upstream = InstanceFactory(cluster=cluster, name="node1", **(primary or {}))
    follower = InstanceFactory(cluster=cluster, name="node2", role="standby", **(standby or {}))
    VerificationFactory(pair=PairFactory(upstream=upstream, standby=follower), verdict=verdict)
    return cluster


def every_verdict() -> None:
    """One cluster for each verdict, named after it; made in another order than the page shows."""
    named("ok")
    ClusterFactory(name="changing", lifecycle="planned")
    JobFactory(kind="create_cluster", status=Status.RUNNING, cluster=Cluster.objects.get(name="changing"))
    ClusterFactory(name="not-created", lifecycle="planned")
    InstanceFactory(cluster=ClusterFactory(name="alone"))
    named("warning", verdict="warning")
    named("stale", standby={"observed_at": timezone.now() - LONG_AGO})
    named("unknown", verdict="unknown")
    named("standby-down", standby={"observed_role": "unreachable"})
    named("failed", verdict="failed")
    JobFactory(kind="restart_instance", status=Status.NEEDS_OPERATOR, cluster=named("needs-operator"))
    named("primary-down", primary={"observed_role": "stopped"})
    named("roles-differ", standby={"observed_role": "primary"})


def it_sorts_the_worst_first() -> None:
    every_verdict()
    shown = [(cluster.name, VERDICTS[cluster.rank].name) for cluster in clusters_ranked()]
    assert shown == [(verdict.name.replace("_", "-"), verdict.name) for verdict in VERDICTS]


def it_judges_by_the_last_look_only() -> None:
    cluster = named("orders", verdict="failed")
    pair = cluster.instances.get(name="node2").pair
    VerificationFactory(pair=pair, verdict="ok", at=timezone.now() + dt.timedelta(seconds=1))
    assert [VERDICTS[row.rank].name for row in clusters_ranked()] == ["ok"]


def it_does_not_count_a_standby_that_is_still_being_made() -> None:
    cluster = named("orders")
    standby = InstanceFactory(cluster=cluster, name="node3", role="standby", lifecycle="planned", observed_role="unknown", observed_at=None)
    PairFactory(upstream=cluster.instances.get(name="node1"), standby=standby, state="", observed_at=None)
    assert [VERDICTS[row.rank].name for row in clusters_ranked()] == ["ok"]


def it_shows_each_cluster_with_primary_standbys_lag_age_and_last_job(get: Get) -> None:
    alpha = ServerFactory(name="alpha")
    cluster = ClusterFactory(name="orders", database="shop")
    primary = InstanceFactory(cluster=cluster, name="node1", server=alpha, port=5432)
    standby = InstanceFactory(cluster=cluster, name="node2", role="standby", observed_at=timezone.now() - dt.timedelta(minutes=4))
    VerificationFactory(pair=PairFactory(upstream=primary, standby=standby, lag_bytes=16384, lag_seconds=0.2))
    job = JobFactory(kind="verify", cluster=cluster)
    row = text_of(get("vera", "/admin/")).partition("Last job")[2]
    for words in ("orders", "PostgreSQL 18 · shop", "replicating", "node1", "alpha:5432", "1 of 1", "16.0 kB", "0.2 s", "4 min ago"):
        assert words in row
    assert f"#{job.pk} verify" in row


def it_says_why_a_cluster_is_unwell(get: Get) -> None:
    named("orders", standby={"observed_role": "primary"})
    assert "node2: Declared standby, but observed as primary." in text_of(get("vera", "/admin/"))


def it_greys_what_is_old_and_says_how_old(get: Get) -> None:
    named("orders", standby={"observed_at": timezone.now() - LONG_AGO})
    page = get("vera", "/admin/")
    assert re.search(r'<time class="pg-age pg-stale"[^>]*>.*?5 h ago</time>', page)
    assert "not observed lately" in page


def it_leads_a_newcomer_to_the_first_cluster(get: Get) -> None:
    ServerFactory()
    page = get("olga", "/admin/")
    assert "No cluster yet" in page
    assert 'href="/clusters/create/"' in page


def it_tells_a_newcomer_without_a_server_how_to_register_one(get: Get) -> None:
    assert "./pgreplica server add --help" in text_of(get("olga", "/admin/"))


def it_gives_a_viewer_no_way_to_create(get: Get) -> None:
    named("orders")
    page = get("vera", "/admin/")
    assert 'href="/clusters/create/"' not in page
    assert re.search(r'<button type="button" class="pg-button" disabled title="[^"]*tasks.run_create_cluster', page)


def it_shows_nothing_to_somebody_without_rights(get: Get) -> None:
    named("orders")
    page = text_of(get("otto", "/admin/"))
    assert "orders" not in page
    assert "Ask an administrator for the group “viewer”" in page


def it_shows_jobs_under_way_with_their_step_and_those_that_need_a_person_first(get: Get) -> None:
    running = JobFactory(kind="add_standby", status=Status.RUNNING, cluster=named("orders"))
    StepFactory(job=running, position=3, title="Copy the data", status="running", progress={"done": 30, "total": 60})
    JobFactory(kind="restart_instance", status=Status.NEEDS_OPERATOR, cluster=named("billing"))
    words = text_of(get("vera", "/admin/"))
    assert words.index("needs an operator") < words.index("Copy the data · 50 %")


def it_shows_what_people_asked_for_not_the_schedules_rounds(get: Get) -> None:
    cluster = named("orders")
    asked = JobFactory(kind="restart_instance", cluster=cluster)
    JobFactory(kind="verify", status=Status.RUNNING, cluster=cluster, source="schedule", summary="The schedule's")
    assert f"#{asked.pk} restart instance" in text_of(get("vera", "/admin/"))
    for address in ("/admin/", "/clusters/orders/"):
        page = get("vera", address)
        assert "Verify · orders" not in text_of(page)
        assert "The schedule's" not in text_of(page)


def it_finds_by_name_and_by_verdict(get: Get) -> None:
    named("orders")
    named("orders-archive", verdict="failed")
    named("billing", verdict="failed")
    page = get("vera", "/admin/?q=orders&verdict=failed")
    assert 'href="/clusters/orders-archive/"' in page
    assert 'href="/clusters/orders/"' not in page
    assert 'href="/clusters/billing/"' not in page


@pytest.mark.parametrize("query", ["q=%00", "verdict=nonsense", "page=-1", "page=abc", "page=9999", "q=%27%22%3E%3Cscript%3E"])
def it_survives_hostile_addresses(get: Get, query: str) -> None:
    named("orders")
    assert "<script>alert" not in get("vera", f"/admin/?{query}")


def it_asks_the_database_the_same_number_of_questions_for_300_clusters_as_for_3(signed_in: Callable[[str], Client]) -> None:
    client = signed_in("olga")
    for number in range(3):
        JobFactory(cluster=cluster_with_standbys(f"few-{number}", standbys=2))
    JobFactory(kind="add_standby", status=Status.RUNNING, cluster=Cluster.objects.get(name="few-1"))
    few = queries_of(client, "/admin/")
    for number in range(300):
        JobFactory(cluster=cluster_with_standbys(f"many-{number}", standbys=1))
    many = queries_of(client, "/admin/")
    assert len(many) == len(few) <= 20
    assert "Page 1 of 7" in text_of(client.get("/admin/").content.decode())


def it_never_reads_a_secret(signed_in: Callable[[str], Client]) -> None:
    cluster_with_standbys("orders")
    client = signed_in("olga")
    for address in (
        "/admin/",
        "/clusters/orders/",
        "/admin/clusters/cluster/",
        "/admin/clusters/instance/",
        "/admin/clusters/replicationpair/",
    ):
        assert [sql for sql in queries_of(client, address) if "_password" in sql] == []


def it_sends_the_root_to_the_fleet(signed_in: Callable[[str], Client]) -> None:
    response = signed_in("vera").get("/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


def it_sends_a_stranger_to_sign_in(client: Client) -> None:
    response = client.get("/clusters/orders/")
    assert (response.status_code, response["Location"]) == (302, "/admin/login/?next=/clusters/orders/")


def it_draws_the_lag_of_the_last_hour_in_one_question_for_all_clusters(signed_in: Callable[[str], Client], get: Get) -> None:
    clusters = [named("orders")]
    keep(clusters)
    client = signed_in("vera")
    before = len(queries_of(client, "/admin/"))
    words = re.findall(r'<svg class="pg-spark"[^>]*role="img" aria-label="([^"]*)"', get("vera", "/admin/"))
    assert words == [SPARK.fullmatch(words[0])[0]]  # type: ignore[index]
    assert re.findall(r'class="pg-spark"[^>]* aria-label="([^"]*)"', get("vera", "/clusters/orders/")) == words
    keep([named(f"more-{number}") for number in range(5)])
    assert len(queries_of(client, "/admin/")) == before
    assert get("vera", "/admin/").count('class="pg-spark"') == 6
    named("silent")
    assert get("vera", "/admin/").count('class="pg-spark"') == 6  # nothing is drawn of what nobody asked
