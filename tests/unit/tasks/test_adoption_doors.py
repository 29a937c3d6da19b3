"""The API and the commands about PostgreSQL that the panel has not made, and what an adopted cluster refuses whoever asks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from clusters.models import Cluster, Discovery
from tasks.actor import actor_system
from tasks.kinds import KINDS
from tasks.models import Job
from tasks.services import RequestRefused, job_request
from tests.factories import ServerFactory, as_adopted, cluster_with_standbys
from tests.unit.clusters.postgres.handmade import follower, well_made
from tests.unit.clusters.postgres.pair import SYSTEM
from tests.unit.tasks.test_commands import Run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]


@pytest.fixture
def found() -> Discovery:
    for name in ("alpha", "beta"):
        ServerFactory(name=name)
    rows = [each.as_row() for each in (well_made(restart="always"), follower())]
    return Discovery.objects.create(job_id=41, servers={"alpha": [], "beta": ["No engine."]}, found=rows)


def it_shows_over_the_api_what_was_found(bearer: Callable[..., Client], found: Discovery) -> None:
    client = bearer("vera", "read")
    answer = client.get("/api/v1/discoveries/41").json()
    (cluster,) = answer["clusters"]
    assert (answer["servers"]["beta"], cluster["system_identifier"], cluster["adoptable"]) == (["No engine."], SYSTEM, True)
    primary, standby = cluster["instances"]
    assert [finding["name"] for finding in primary["findings"]] == ["restart_unguarded"]
    assert (standby["upstream"], standby["replication"], standby["findings"]) == ("alpha/db", "streaming", [])
    assert client.get("/api/v1/discoveries/42").status_code == 404


def it_adopts_takes_over_and_forgets_over_the_api(bearer: Callable[..., Client], found: Discovery) -> None:
    client = bearer("adam")
    body = {"system_identifier": SYSTEM, "name": "shop"}
    answer = client.post("/api/v1/discoveries/41/adopt", body, content_type="application/json")
    assert (answer.status_code, answer.json()["kind"]) == (202, "adopt_cluster")
    Job.objects.update(status="done")
    for act in ("take-over", "forget"):
        answer = client.post(f"/api/v1/clusters/shop/{act}", {"confirm": "shop"}, content_type="application/json")
        assert answer.status_code == 202, answer.content
        Job.objects.update(status="done")


def it_prints_what_was_found_and_adopts_the_only_cluster_of_a_report(found: Discovery) -> None:
    printed = Run("server", "found", "41").out
    assert f"Cluster {SYSTEM}:" in printed
    assert "  alpha/db: primary, PostgreSQL 16" in printed
    assert "flag   restart_unguarded: restart: always" in printed
    assert "beta: No engine." in printed
    assert Run("cluster", "adopt", "shop", "--discovery", "41").code == 0
    assert Job.objects.get().params == {"discovery": 41, "system_identifier": SYSTEM, "name": "shop", "database": "shop"}
    assert Run("server", "discover", "alpha").code == 0
    assert Job.objects.latest("id").params == {"servers": ["alpha"]}
    assert Run("server", "discover", "nowhere").code == 2


def it_names_what_keeps_a_cluster_from_being_adopted(found: Discovery) -> None:
    cases = (
        ({"discovery": 40, "system_identifier": SYSTEM, "name": "shop"}, "That job found no such cluster"),
        ({"discovery": 41, "system_identifier": "1", "name": "shop"}, "That job found no such cluster"),
        ({"discovery": "x", "system_identifier": SYSTEM, "name": "shop"}, "number of the job"),
        ({"discovery": 41, "system_identifier": "$(id)", "name": "shop"}, "system identifier"),
        ({"discovery": 41, "system_identifier": SYSTEM, "name": "shop", "database": "other"}, "no such database. It has: shop"),
    )
    for data, said in cases:
        with pytest.raises(RequestRefused, match=said):
            job_request(kind="adopt_cluster", actor=actor_system("operator", "command"), data=data)
    assert not Cluster.objects.exists()


@pytest.mark.parametrize("taken_over", [False, True])
def it_lets_an_adopted_cluster_do_only_what_the_table_says(taken_over: bool) -> None:
    cluster = cluster_with_standbys("orders")
    as_adopted(cluster)
    ServerFactory(name="far")
    if taken_over:
        Cluster.objects.update(taken_over_at=timezone.now())
    refused = set()
    for kind in KINDS.values():
        data = {"cluster": "orders", "instance": "orders-2", "server": "far", "confirm": "orders", "reason": "a test", "to": "orders-2"}
        try:
            job_request(kind=kind.name, actor=actor_system("operator", "command"), data={**data, "new_cluster": "copy"})
        except RequestRefused as error:
            refused |= {kind.name} if "adopted" in str(error) else set()
        Job.objects.update(status="done")
    allowed = {kind.name for kind in KINDS.values() if kind.adopted == "watched" or (taken_over and kind.adopted == "taken_over")}
    assert refused & allowed == set()
    assert {"switchover", "failover", "add_standby", "remove_cluster"} <= refused
