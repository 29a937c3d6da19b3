"""The API: what each route answers. Who may ask is in tests/unit/test_access.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster, Instance, Server
from clusters.selectors import cluster_show
from pgreplica_admin.api import api
from tasks.models import AuditEntry, Job
from tests.factories import JobFactory, ServerFactory, cluster_with_standbys

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]

Call = Callable[..., tuple[int, Any]]


@pytest.fixture
def olga(bearer: Callable[..., Client]) -> Call:
    """olga's program: method, path below /api/v1, body -> status and JSON."""
    client = bearer("olga")

    def call(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        response = client.generic(method, f"/api/v1{path}", "" if body is None else _json(body), "application/json", headers=headers)
        return response.status_code, response.json() if response.content else None

    return call


def _json(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def new_cluster(**changes: Any) -> dict[str, Any]:
    return {"name": "orders", "server": "alpha", "database": "shop", "owner_role": "shop", **changes}


def test_a_cluster_is_shown_as_the_command_shows_it(olga: Call) -> None:
    cluster_with_standbys("orders")
    shown = cluster_show("orders")
    status, body = olga("GET", "/clusters/orders")
    assert status == 200
    assert list(body) == [*shown, "space"]
    del body["space"]
    assert list(body["instances"][1]) == list(shown["instances"][1])
    assert olga("GET", "/clusters") == (200, [body])


def test_creating_a_cluster_answers_with_its_job_and_where_to_follow_it(olga: Call, bearer: Callable[..., Client]) -> None:
    ServerFactory(name="alpha")
    response = bearer("adam").post("/api/v1/clusters", new_cluster(settings={"work_mem": "8MB"}), content_type="application/json")
    job = Job.objects.get()
    assert (response.status_code, response["Location"]) == (202, f"/api/v1/jobs/{job.pk}")
    assert (job.kind, job.requested_by_name, job.source, job.cluster_name) == ("create_cluster", "adam", "api", "orders")
    assert job.params == {
        "server": "alpha", "port": None, "bindir": None, "name": "orders", "postgres_major": 18, "database": "shop", "owner_role": "shop",
        "instance": "node1", "client_networks": ["127.0.0.1/32", "::1/128"], "settings": {"work_mem": "8MB"},
        "image": None, "network": None,
    }  # fmt: skip
    assert olga("GET", f"/jobs/{job.pk}")[1] | {"result": {}} == response.json() | {
        "plan": job.plan, "log_truncated": False, "result": {},
        "steps": [{"position": 1, "name": "look", "title": "Look around", "status": "pending", "attempts": 0, "sentence": "", "hint": "",
                   "progress": {}, "started_at": None, "finished_at": None}],
    }  # fmt: skip


def test_a_password_that_is_given_is_stored_encrypted_and_shown_nowhere(olga: Call) -> None:
    ServerFactory(name="alpha")
    password = "correct horse battery staple"
    status, body = olga("POST", "/clusters", new_cluster(owner_password=password))
    assert status == 202
    assert Cluster.objects.get().owner_password.reveal() == password
    number = body["id"]
    everything = [body, *(olga("GET", path) for path in (f"/jobs/{number}", "/clusters/orders", "/audit", "/jobs"))]
    everything += [list(AuditEntry.objects.values()), list(Job.objects.values())]
    assert password not in str(everything)


def test_every_refused_field_is_named_with_its_sentence_and_nothing_is_made(olga: Call) -> None:
    ServerFactory(name="alpha")
    status, body = olga("POST", "/clusters", {"name": "a;id", "server": "gamma", "port": "5432 -p 22"})
    assert (status, body["error"]["code"], body["error"]["hint"]) == (422, "refused", "Correct the fields that are named.")
    assert {field: len(sentences) for field, sentences in body["error"]["fields"].items()} == {
        "name": 1, "port": 1, "database": 1, "owner_role": 1, "server": 1,
    }  # fmt: skip
    assert not Cluster.objects.exists()


def test_a_mistyped_key_is_refused_not_overlooked(olga: Call) -> None:
    ServerFactory(name="alpha")
    status, body = olga("POST", "/clusters", new_cluster(prot=6000))
    assert (status, list(body["error"]["fields"])) == (422, ["prot"])


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "null", "[" * 100_000, '{"name": NaN}', '{"name": "\\ud800"}', "\x00", "1e999"])
def test_a_body_that_is_not_the_object_expected_is_refused(olga: Call, body: str) -> None:
    status, answer = olga("POST", "/clusters", body)
    assert status in (400, 422)
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"code", "message", "hint", "fields"}


def test_the_same_idempotency_key_gives_the_same_job(olga: Call) -> None:
    cluster_with_standbys("orders")
    numbers = [olga("POST", "/clusters/orders/verify", {}, **{"Idempotency-Key": "night-1"})[1]["id"] for _ in range(3)]
    assert numbers == [Job.objects.get().pk] * 3


def test_a_held_cluster_answers_409_with_a_link_to_the_job_that_holds_it(olga: Call) -> None:
    cluster = cluster_with_standbys("orders")
    holder = JobFactory(kind="add_standby", status="running", cluster=cluster)
    ServerFactory(name="gamma")
    status, body = olga("POST", "/clusters/orders/standbys", {"server": "gamma"})
    assert (status, body["error"]["code"]) == (409, "busy")
    assert body["error"]["job"] == {"id": holder.pk, "url": f"/api/v1/jobs/{holder.pk}"}
    assert body["error"]["message"].startswith(f"Job #{holder.pk} (add standby, running, requested by olga) holds cluster orders.")


def test_a_standby_is_added_with_the_names_the_panel_chooses(olga: Call) -> None:
    cluster_with_standbys("orders")
    ServerFactory(name="gamma")
    status, body = olga("POST", "/clusters/orders/standbys", {"server": "gamma", "max_rate": "50M", "reason": "more reads"})
    assert (status, body["instance"], body["reason"]) == (202, "node1", "more reads")
    standby = Instance.objects.select_related("pair__upstream").get(name="node1")
    assert (standby.role, standby.port, standby.pair.upstream.name, standby.pair.slot) == ("standby", 5432, "orders-1", "pgr_orders_node1")


def test_a_standby_of_a_standby_follows_whom_it_is_told(olga: Call) -> None:
    cluster_with_standbys("orders")
    ServerFactory(name="gamma")
    olga("POST", "/clusters/orders/standbys", {"server": "gamma", "name": "far", "upstream": "orders-2"})
    assert Instance.objects.get(name="far").pair.upstream.name == "orders-2"


def test_removing_a_standby_wants_its_name_once_more(olga: Call) -> None:
    cluster_with_standbys("orders")
    status, body = olga("DELETE", "/clusters/orders/standbys/orders-2?confirm=orders")
    assert (status, body["error"]["fields"]) == (422, {"confirm": ["Type orders-2 to confirm: this was not it."]})
    assert olga("DELETE", "/clusters/orders/standbys/orders-2?confirm=orders-2")[0] == 202


def test_the_primary_is_not_removed_as_if_it_were_a_standby(olga: Call) -> None:
    cluster_with_standbys("orders")
    status, body = olga("DELETE", "/clusters/orders/standbys/orders-1?confirm=orders-1")
    assert (status, list(body["error"]["fields"])) == (422, ["instance"])


@pytest.mark.parametrize(("act", "kind"), [("start", "start_instance"), ("stop", "stop_instance"), ("restart", "restart_instance")])
def test_instances_are_started_stopped_and_restarted(olga: Call, act: str, kind: str) -> None:
    cluster_with_standbys("orders")
    body = {} if act == "start" else {"confirm": "orders-2"}
    status, job = olga("POST", f"/clusters/orders/instances/orders-2/{act}", body)
    assert (status, job["kind"], job["instance"]) == (202, kind, "orders-2")


def test_a_plan_is_shown_and_nothing_is_made(olga: Call) -> None:
    ServerFactory(name="alpha")
    data = new_cluster()
    status, body = olga("POST", "/clusters/orders/plan", {"kind": "create_cluster", "data": data})
    assert (status, body["plan"][0]["items"]) == (200, [{"type": "command", "server": "alpha", "text": "true"}])
    assert (Cluster.objects.count(), Job.objects.count(), AuditEntry.objects.filter(job_id__isnull=False).count()) == (0, 0, 0)
    assert olga("POST", "/clusters", data | {"plan_hash": body["plan_hash"]})[0] == 202


def test_a_plan_that_has_changed_is_refused(olga: Call) -> None:
    ServerFactory(name="alpha")
    status, body = olga("POST", "/clusters", new_cluster(plan_hash="0" * 64))
    assert (status, list(body["error"]["fields"])) == (422, ["plan_hash"])
    assert not Cluster.objects.exists()


def test_a_server_is_registered_changed_and_forgotten_each_in_the_audit_trail(bearer: Callable[..., Client]) -> None:
    adam = bearer("adam")
    values = {"name": "alpha", "address": "10.0.0.5", "base_directory": "/srv/pg//", "run_as": "postgres"}
    made = adam.post("/api/v1/servers", values, content_type="application/json")
    assert (made.status_code, made.json()["base_directory"]) == (201, "/srv/pg")
    changed = adam.patch("/api/v1/servers/alpha", {"address": "10.0.0.6"}, content_type="application/json")
    assert (changed.status_code, changed.json()["address"], changed.json()["run_as"]) == (200, "10.0.0.6", "postgres")
    assert adam.delete("/api/v1/servers/alpha").status_code == 204
    assert not Server.objects.exists()
    entries = AuditEntry.objects.order_by("number").values_list("actor", "action", "target")
    assert list(entries)[1:] == [("adam", f"server_{act}", "alpha") for act in ("add", "change", "remove")]


def test_a_server_check_is_a_job(olga: Call) -> None:
    ServerFactory(name="alpha")
    status, job = olga("POST", "/servers/alpha/check", {})
    assert (status, job["kind"], job["server"], job["cluster"]) == (202, "check_server", "alpha", None)


def test_a_job_is_cancelled_and_resumed(olga: Call) -> None:
    cluster = cluster_with_standbys("orders")
    number = JobFactory(kind="verify", status="queued", cluster=cluster).pk
    assert olga("POST", f"/jobs/{number}/cancel", {"reason": "not now"})[1]["status"] == "canceled"
    assert olga("POST", f"/jobs/{number}/resume", {})[1]["status"] == "queued"


def test_jobs_are_listed_newest_first_and_by_pages(olga: Call) -> None:
    numbers = [job.pk for job in JobFactory.create_batch(5)][::-1]
    assert [job["id"] for job in olga("GET", "/jobs?limit=2")[1]] == numbers[:2]
    assert [job["id"] for job in olga("GET", f"/jobs?limit=2&before={numbers[1]}")[1]] == numbers[2:4]
    assert olga("GET", "/jobs?status=running") == (200, [])


def test_clusters_and_servers_are_listed_by_name_and_by_pages(olga: Call) -> None:
    for name in ("orders", "bills", "stock"):
        cluster_with_standbys(name, standbys=0)
    for what in ("clusters", "servers"):
        names = [row["name"] for row in olga("GET", f"/{what}")[1]]
        assert names == sorted(names)
        assert [row["name"] for row in olga("GET", f"/{what}?limit=1&after={names[0]}")[1]] == [names[1]]
        assert olga("GET", f"/{what}?after={names[-1]}") == (200, [])
        assert olga("GET", f"/{what}?after=%00")[0] == 422


@pytest.mark.parametrize("jobs", [1, 40])
def test_listing_jobs_takes_a_constant_number_of_queries(jobs: int, bearer: Callable[..., Client], django_assert_max_num_queries) -> None:
    JobFactory.create_batch(jobs)
    vera = bearer("vera")
    vera.get("/api/v1/jobs")  # the token's last use is written once a minute
    with django_assert_max_num_queries(4):  # the token, the two sorts of permissions, the jobs
        assert len(vera.get("/api/v1/jobs").json()) == jobs
    with django_assert_max_num_queries(5):
        assert len(vera.get("/api/v1/clusters").json()) == jobs


def test_the_audit_trail_is_listed_and_verified(olga: Call) -> None:
    cluster_with_standbys("orders")
    olga("DELETE", "/clusters/orders/standbys/orders-2?confirm=orders-2&reason=worn")
    status, entries = olga("GET", "/audit")
    assert (status, entries[0]["action"], entries[0]["reason"], entries[0]["cluster_name"]) == (200, "remove_standby", "worn", "orders")
    assert olga("GET", "/audit/verify") == (
        200, {"intact": True, "entries": entries[0]["number"], "head": entries[0]["hash"], "first_fault": None, "sentence": ""},
    )  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/clusters/nobody",
        "/clusters/a%00b",
        "/servers/%E2%80%AE",
        "/jobs/999999999999999999999999999",
        "/jobs/0",
        "/nowhere",
        "/",
        "/jobs/-1",
    ],
)
def test_what_is_not_there_is_answered_in_the_one_shape(olga: Call, path: str) -> None:
    status, body = olga("GET", path)
    assert (status, body["error"]["code"], body["error"]["fields"]) == (404, "not_found", {})


@pytest.mark.parametrize("query", ["before=x", "before=-1", "limit=0", "limit=501", "limit=1e3", "before=99999999999999999999999"])
def test_a_bad_query_is_refused_or_finds_nothing(olga: Call, query: str) -> None:
    assert olga("GET", f"/jobs?{query}")[0] in (200, 422)


def test_a_wrong_method_is_answered_in_the_one_shape(olga: Call) -> None:
    status, body = olga("PUT", "/clusters/orders", {})
    assert (status, body["error"]["code"], body["error"]["hint"]) == (405, "method_not_allowed", "It knows: DELETE, GET.")


def test_a_fault_of_ours_tells_the_caller_a_number_and_the_log_the_rest(olga: Call, monkeypatch, caplog) -> None:
    monkeypatch.setattr("tasks.api.clusters.cluster_list", lambda *page: 1 / 0)
    status, body = olga("GET", "/clusters")
    number = body["error"]["hint"].split()[6].rstrip(".")
    assert (status, body["error"]["code"]) == (500, "internal")
    assert "division" not in str(body)
    assert number in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_the_openapi_page_loads_from_this_host_only(signed_in: Callable[[str], Client]) -> None:
    page = signed_in("vera").get("/api/v1/docs")
    assert page.status_code == 200
    assert "http" not in page.content.decode().replace("http://www.w3.org", "")
    assert "script-src 'self' 'unsafe-eval'" in page["Content-Security-Policy"]
    assert page.content.decode().count("<script src=") == 2
    assert 'data-api-csrf="true"' in page.content.decode()


def test_the_documentation_says_which_keys_are_needed() -> None:
    schemas = api.get_openapi_schema()["components"]["schemas"]
    assert schemas["NewCluster"]["required"] == ["name", "server", "database", "owner_role"]
    assert schemas["NewStandby"]["required"] == ["server"]
