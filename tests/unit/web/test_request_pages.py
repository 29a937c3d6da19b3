"""Asking for a job: the form, the plan, the confirmation."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from clusters.adoption_forms import AdoptedClusterRequest
from clusters.forms import REQUEST_FORMS
from clusters.models import Cluster, Instance
from tasks.kinds import KINDS, Status
from tasks.models import Job
from tasks.views.acts import kind_of, place_of, request_url, slug
from tests.factories import JobFactory, ServerFactory, as_adopted, cluster_with_standbys
from tests.unit.web.conftest import Get, post, text_of

pytestmark = pytest.mark.django_db
NEW = {"name": "orders", "database": "shop", "owner_role": "shop", "server": "alpha", "postgres_major": "", "client_networks": "10.0.0.0/8"}
STOP = "/clusters/orders/orders-2/stop/"


@pytest.fixture
def orders() -> Cluster:
    return cluster_with_standbys("orders", standbys=1)


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the confirmation, as the browser would send them back."""
    form = page.partition('id="confirm-form"')[2]
    fields = re.findall(r'<input type="hidden" name="(\w+)"(?: value="([^"]*)")?', form)
    fields += re.findall(r'<textarea name="(\w+)"[^>]*\bhidden\b[^>]*>([^<]*)', form)
    return {name: html.unescape(value) for name, value in fields if name != "csrfmiddlewaretoken"}


def confirmed(client: Client, address: str, answers: dict[str, Any] | None = None, **more: str) -> Any:
    """Through the plan to the confirmation."""
    page = (post(client, address, {"action": "preview", **answers}) if answers else client.get(address)).content.decode()
    return post(client, address, {**hidden(page), **(answers or {}), **more, "action": "run"})


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if place_of(kind) != "found"], ids=lambda kind: kind.name)
def it_has_a_page_for_every_kind_of_job(get: Get, orders: Cluster, kind: Any) -> None:
    if issubclass(REQUEST_FORMS[kind.name], AdoptedClusterRequest):
        as_adopted(orders)
    server = orders.instances.get(name="orders-2").server.name
    if kind.name == "read_host_key":
        server = ServerFactory(connection="ssh", ssh_user="panel").name
    address = request_url(kind, cluster="orders", instance="orders-2", server=server)
    assert kind_of(slug(kind), place_of(kind)) in (kind, None if place_of(kind) == "new" else kind)
    page = get("adam", address)
    assert str(kind.label).capitalize() in text_of(page)
    assert 'name="action" value="run"' in page or 'name="action" value="preview"' in page or "Found" in page or "runs already" in page


def it_shows_the_plan_before_anything_is_made(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    page = post(signed_in("olga"), "/clusters/create/", {**NEW, "action": "preview"}).content.decode()
    words = text_of(page)
    for part in (
        "Nothing has been changed yet",
        "PostgreSQL version 18",
        "Name of the primary node1",
        "initdb",
        "CREATE ROLE",
        "postgresql.conf",
    ):
        assert part in words
    assert Cluster.objects.count() == Job.objects.count() == Instance.objects.count() == 0


def it_makes_the_job_that_was_shown(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    response = confirmed(signed_in("olga"), "/clusters/create/", NEW, reason="The shop needs it")
    job = Job.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/jobs/{job.pk}/")
    assert (job.kind, job.status, job.requested_by_name, job.source, job.reason) == (
        "create_cluster", Status.QUEUED, "olga", "web", "The shop needs it",
    )  # fmt: skip
    assert job.params["client_networks"] == ["10.0.0.0/8"]


def it_refuses_a_plan_that_has_changed_since_it_was_shown(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    client = signed_in("olga")
    page = post(client, "/clusters/create/", {**NEW, "action": "preview"}).content.decode()
    answer = post(client, "/clusters/create/", {**hidden(page), **NEW, "database": "other", "action": "run"}).content.decode()
    assert "The plan has changed since it was shown to you." in text_of(answer)
    assert hidden(answer)["plan_hash"] != hidden(page)["plan_hash"]
    assert Job.objects.count() == 0


def it_shows_the_plan_to_those_who_leave_it_out(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    answer = post(signed_in("olga"), STOP, {"action": "run", "confirm": "orders-2"})
    assert "Nothing has been changed yet" in text_of(answer.content.decode())
    assert Job.objects.count() == 0


def it_makes_one_job_however_often_the_button_is_pressed(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    client = signed_in("olga")
    sent = {**hidden(post(client, "/clusters/create/", {**NEW, "action": "preview"}).content.decode()), **NEW, "action": "run"}
    places = {post(client, "/clusters/create/", sent)["Location"] for _ in range(3)}
    assert places == {f"/jobs/{Job.objects.get().pk}/"}


def it_puts_every_refusal_at_its_field(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    bad = NEW | {"name": "Orders!", "owner_role": "pg_shop", "database": "", "client_networks": "everyone", "action": "preview"}
    page = post(signed_in("olga"), "/clusters/create/", bad).content.decode()
    for name in ("name", "owner_role", "database", "client_networks"):
        assert re.search(rf'id="id_{name}_error1">', page), name
        assert re.search(
            rf'<(?:input|textarea)[^>]*name="{name}"[^>]*aria-describedby="[^"]*id_{name}_error1[^"]*"[^>]*aria-invalid="true"', page
        ), name
    assert 'value="Orders!"' in page  # what was typed stays
    assert Cluster.objects.count() == 0


def it_keeps_what_was_typed_when_one_goes_back(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    page = post(signed_in("olga"), "/clusters/create/", {**NEW, "action": "edit"}).content.decode()
    assert re.search(r'name="database" value="shop"', page)
    assert 'value="preview"' in page


def it_never_writes_a_password_into_a_page(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    secret = "a-Long-Secret-Nobody-Else-Uses-1"
    client = signed_in("olga")
    for action in ("preview", "edit", "run"):
        answer = post(client, "/clusters/create/", {**NEW, "owner_password": secret, "plan_hash": "0" * 64, "action": action})
        assert secret not in answer.content.decode()
    confirmed(client, "/clusters/create/", NEW, owner_password=secret)
    assert Cluster.objects.get().owner_password.reveal() == secret
    assert secret not in str(Job.objects.values_list("params", "plan", "reason").get())


def it_wants_the_name_typed_for_what_hurts(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("olga")
    page = client.get(STOP).content.decode()
    assert "Type orders-2 to confirm." in text_of(page)
    assert "This is a standby: open sessions are cut" in text_of(page)
    answer = confirmed(client, STOP, confirm="orders-1")
    assert answer.status_code == 200
    assert 'id="id_confirm_error1"' in answer.content.decode()
    assert Job.objects.count() == 0
    assert confirmed(client, STOP, confirm="orders-2").status_code == 302
    assert Job.objects.get().instance_name == "orders-2"


def it_warns_before_the_primary_is_stopped(get: Get, orders: Cluster) -> None:
    assert "nobody can write to the cluster until it runs again" in text_of(get("olga", "/clusters/orders/orders-1/stop/"))


def it_takes_the_target_from_the_address_alone(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    cluster_with_standbys("billing")
    confirmed(signed_in("olga"), STOP, cluster="billing", instance="billing-2", confirm="orders-2")
    assert (Job.objects.get().cluster_name, Job.objects.get().instance_name) == ("orders", "orders-2")


def it_verifies_with_one_press(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    response = post(signed_in("olga"), "/clusters/orders/verify/", {"action": "run"})
    assert response["Location"] == f"/jobs/{Job.objects.get(kind='verify').pk}/"


def it_says_which_job_holds_the_cluster(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    holder = JobFactory(kind="add_standby", status=Status.RUNNING, cluster=orders)
    for answer in (signed_in("olga").get(STOP), post(signed_in("olga"), STOP, {"action": "run", "confirm": "orders-2"})):
        page = answer.content.decode()
        assert f"Job #{holder.pk} (add standby, running, requested by olga) holds cluster orders." in text_of(page)
        assert f'href="/jobs/{holder.pk}/"' in page
        assert 'value="run"' not in page


@pytest.mark.parametrize("who", ["vera", "otto"])
@pytest.mark.parametrize("address", ["/clusters/create/", "/clusters/orders/add-standby/", "/clusters/orders/verify/", STOP])
def it_answers_403_to_those_who_may_not(signed_in: Callable[[str], Client], orders: Cluster, who: str, address: str) -> None:
    client = signed_in(who)
    assert client.get(address).status_code == 403
    assert post(client, address, {"action": "run", **NEW, "confirm": "orders-2"}).status_code == 403
    assert Job.objects.count() == 0


def it_answers_403_without_the_forms_own_token(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    assert signed_in("olga").post("/clusters/orders/verify/", {"action": "run"}).status_code == 403
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    "address",
    ["/clusters/orders/nonsense/", "/clusters/orders/node9/stop/", "/clusters/nowhere/verify/", "/clusters/orders/orders-2/verify/"],
)
def it_answers_404_for_what_is_not_there(signed_in: Callable[[str], Client], orders: Cluster, address: str) -> None:
    assert signed_in("olga").get(address).status_code == 404


def it_chooses_the_upstream_among_the_clusters_instances(get: Get, orders: Cluster) -> None:
    choices = re.findall(r'<option value="([^"]*)"', get("olga", "/clusters/orders/add-standby/").partition('id="id_upstream"')[2])
    assert choices[:3] == ["", "orders-1", "orders-2"]
