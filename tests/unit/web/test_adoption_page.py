"""The pages about PostgreSQL that the panel has not made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from clusters.models import Cluster, Discovery
from tasks.models import Job
from tests.factories import ServerFactory, as_adopted, cluster_with_standbys
from tests.unit.clusters.postgres.handmade import follower, line, well_made
from tests.unit.web.conftest import Get, post, text_of

pytestmark = pytest.mark.django_db
NUMBER = 41


@pytest.fixture
def report() -> Discovery:
    for name in ("alpha", "beta"):
        ServerFactory(name=name, address=f"192.0.2.{len(name)}")
    handmade = well_made(restart="always", hba=(line("all", "trust", "172.0.0.0", "255.0.0.0"),))
    lost = well_made(name="<script>alert(1)</script>", observed={}, state="exited", error="psql says: <b>no</b>")
    found = [each.as_row() for each in (handmade, follower(), lost)]
    return Discovery.objects.create(job_id=NUMBER, servers={"alpha": [], "beta": ["The engine does not answer."]}, found=found)


def it_shows_the_cluster_with_each_finding_and_its_cure(get: Get, report: Discovery) -> None:
    page = get("adam", f"/adopt/{NUMBER}/")
    words = text_of(page)
    assert "A cluster of 2 instances" in words
    assert "restart: always and no guard before a start" in words
    assert "docker update --restart=no db" in words
    assert "In the manual: Primary, step 6: pg_hba.conf" in words
    assert "beta : The engine does not answer." in words
    assert "<script>alert" not in page
    assert f'href="/adopt/{NUMBER}/{well_made().facts.system_identifier}/"' in page  # type: ignore[union-attr]


def it_shows_a_viewer_the_report_without_a_way_to_adopt(get: Get, report: Discovery) -> None:
    page = get("vera", f"/adopt/{NUMBER}/")
    assert "tasks.run_adopt_cluster" in page
    assert f'href="/adopt/{NUMBER}/7' not in page


def it_asks_for_a_look_on_the_chosen_servers(signed_in: Callable[[str], Client], report: Discovery) -> None:
    answer = post(signed_in("olga"), "/adopt/", {"servers": ["alpha"]})
    job = Job.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/jobs/{job.pk}/")
    assert (job.kind, job.params, job.mutating) == ("discover", {"servers": ["alpha"]}, False)


def it_adopts_what_was_found_and_nothing_else(signed_in: Callable[[str], Client], report: Discovery) -> None:
    client, identifier = signed_in("adam"), well_made().facts.system_identifier  # type: ignore[union-attr]
    address = f"/adopt/{NUMBER}/{identifier}/"
    page = post(client, address, {"action": "look", "name": "shop"})
    assert Cluster.objects.count() == 0
    found = page.context["asking"].preview
    post(client, address, {"action": "run", "name": "shop", "plan_hash": found.plan_hash})
    cluster = Cluster.objects.get()
    assert (cluster.name, cluster.is_watched, cluster.database, cluster.owner_role) == ("shop", True, "shop", "shop")
    assert list(cluster.instances.order_by("name").values_list("name", "role", "port", "layout__container")) == [
        ("node1", "primary", 5432, "db"),
        ("node2", "standby", 5433, "db2"),
    ]
    again = post(client, address, {"action": "look", "name": "other"})
    assert "It is the cluster shop of this panel already." in text_of(again.content.decode())


def it_offers_for_an_adopted_cluster_only_what_can_be_done(get: Get) -> None:
    cluster = cluster_with_standbys("orders")
    as_adopted(cluster)
    page = get("adam", f"/clusters/{cluster.name}/")
    assert "Adopted and only watched" in text_of(page)
    assert "/clusters/orders/forget/" in page
    assert "/clusters/orders/take-over/" in page
    assert "menu-orders-2" not in page
    for act in ("switchover", "add-standby", "remove", "set-sync"):
        assert f"/clusters/orders/{act}/" not in page


def it_says_beside_a_dead_primary_that_was_adopted_why_the_panel_does_not_promote(get: Get) -> None:
    cluster = cluster_with_standbys("orders")
    as_adopted(cluster)
    cluster.instances.filter(role="primary").update(observed_role="stopped")
    page = get("adam", "/clusters/orders/")
    assert "the panel does not do this with them yet" in page
    assert "/clusters/orders/failover/" not in page


def it_refuses_what_would_change_an_adopted_cluster(signed_in: Callable[[str], Client]) -> None:
    as_adopted(cluster_with_standbys("orders"))
    page = signed_in("adam").get("/clusters/orders/orders-2/stop/")
    assert "the panel does not do this with them yet" in text_of(page.content.decode())
