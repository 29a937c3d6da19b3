"""The request forms: what they fill in, what the page is given to choose from, how they refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import override

from clusters.forms import REQUEST_FORMS, AddStandbyRequest, CreateClusterRequest, RemoveStandbyRequest
from clusters.models import Cluster, Instance
from clusters.placement import FIRST_PORT
from tasks.kinds import KINDS
from tests.factories import ServerFactory, cluster_with_standbys

pytestmark = pytest.mark.django_db

NEW = {"name": "orders", "server": "alpha", "database": "shop", "owner_role": "shop"}


def test_every_kind_of_job_has_its_form() -> None:
    assert set(REQUEST_FORMS) == set(KINDS)
    confirmed = {name for name, form in REQUEST_FORMS.items() if "confirm" in form.base_fields}
    assert confirmed == {name for name, kind in KINDS.items() if kind.confirm}


def test_text_as_a_page_sends_it_and_json_as_the_api_sends_it_mean_the_same() -> None:
    ServerFactory(name="alpha")
    page = {"port": "6000", "client_networks": "10.0.0.0/8\r\n192.0.2.1", "settings": "work_mem = 8MB\r\nwal_compression=on\r\n"}
    program = {"port": 6000, "client_networks": ["10.0.0.0/8", "192.0.2.1"], "settings": {"work_mem": "8MB", "wal_compression": True}}
    forms = [CreateClusterRequest(NEW | more) for more in (page, program)]
    assert [form.messages() for form in forms] == [{}, {}]
    assert forms[0].params() == forms[1].params()
    assert forms[0].params()["client_networks"] == ["10.0.0.0/8", "192.0.2.1/32"]


def test_a_password_is_neither_in_the_parameters_nor_in_the_clean_data() -> None:
    ServerFactory(name="alpha")
    form = CreateClusterRequest(NEW | {"owner_password": "correct horse battery"})
    assert form.is_valid()
    assert "owner_password" not in form.cleaned_data
    assert "correct horse" not in str([form.params(), form.cleaned_data, form.target])
    assert form.owner_password_given is not None
    assert "correct horse" not in str(CreateClusterRequest(NEW | {"owner_password": "correct horse battery"}))


def test_a_reason_that_must_be_given_is_not_given_by_blanks() -> None:
    cluster_with_standbys("orders")
    data = {"cluster": "orders", "to": "orders-2", "confirm": "orders-2"}
    assert REQUEST_FORMS["failover"](data | {"reason": " \n\t "}).messages() == {"reason": ["reason: this is missing. Fill it in."]}
    assert REQUEST_FORMS["start_instance"]({"cluster": "orders", "instance": "orders-2", "reason": " "}).messages() == {}


def test_refusals_come_in_the_order_of_the_fields_and_each_names_its_field() -> None:
    messages = CreateClusterRequest({}).messages()
    assert messages == {
        "name": ["name: this is missing. Fill it in."],
        "server": ["server: this is missing. Fill it in."],
        "database": ["database: this is missing. Fill it in."],
        "owner_role": ["owner role: this is missing. Fill it in."],
    }


def test_a_server_without_postgresql_is_refused_with_the_cure() -> None:
    ServerFactory(name="alpha", facts={"postgres": []})
    sentence = "No PostgreSQL was found on alpha. Install it there, then check the server again."
    assert CreateClusterRequest(NEW).messages() == {"postgres_major": [sentence]}
    assert CreateClusterRequest(NEW | {"postgres_major": "17"}).messages() == {"postgres_major": [sentence]}


def test_the_panels_own_port_is_refused(settings: Any) -> None:
    ServerFactory(name="alpha")
    settings.PAGE_PORT = 8123
    assert list(CreateClusterRequest(NEW | {"port": "8123"}).messages()) == ["port"]


def test_a_page_is_given_the_servers_and_the_upstreams_to_choose_from() -> None:
    ServerFactory(name="alpha")
    cluster_with_standbys("orders")
    form = AddStandbyRequest(initial={"cluster": "orders"})
    assert ("alpha", "alpha") in list(form.fields["server"].widget.choices)
    assert [value for value, _label in form.fields["upstream"].widget.choices] == ["", "orders-1", "orders-2"]


def test_a_standby_is_not_added_to_what_is_not_made_yet() -> None:
    ServerFactory(name="alpha")
    cluster_with_standbys("orders")
    Instance.objects.filter(role="primary").update(lifecycle="planned")
    assert list(AddStandbyRequest({"cluster": "orders", "server": "alpha"}).messages()) == ["upstream"]


def test_two_members_are_not_put_behind_one_docker_engine_but_what_was_refused_is_no_member() -> None:
    cluster = cluster_with_standbys("orders")
    server = cluster.instances.get(name="orders-2").server
    server.runtime = "docker"
    server.save()
    asked = {"cluster": "orders", "server": server.name}
    told = f"{server.name} runs a member of this cluster already, and two containers of one cluster need two servers."
    assert told in AddStandbyRequest(asked).messages()["server"]
    cluster.instances.filter(server=server).update(lifecycle="planned")
    assert told not in AddStandbyRequest(asked).messages()["server"]


def test_a_standby_that_others_follow_is_not_removed() -> None:
    ServerFactory(name="alpha")
    cluster_with_standbys("orders")
    form = AddStandbyRequest({"cluster": "orders", "server": "alpha", "name": "far", "upstream": "orders-2"})
    assert form.is_valid()
    form.declare()
    messages = RemoveStandbyRequest({"cluster": "orders", "instance": "orders-2", "confirm": "orders-2"}).messages()
    assert messages == {"instance": ["far follow this standby. Remove them first."]}


def test_an_instance_of_another_cluster_is_not_found() -> None:
    cluster_with_standbys("orders")
    cluster_with_standbys("billing")
    assert list(REQUEST_FORMS["start_instance"]({"cluster": "orders", "instance": "billing-1"}).messages()) == ["instance"]


def test_sentences_of_the_pure_part_are_translated_before_the_values_go_in(monkeypatch: pytest.MonkeyPatch) -> None:
    template = "%(field)s: this is missing. Fill it in."
    monkeypatch.setattr("clusters.form_fields.gettext", lambda text: "%(field)s: falta." if text == template else text)
    with override("pt-br"):
        assert CreateClusterRequest({}).messages()["owner_role"] == ["owner role: falta."]


@pytest.mark.django_db(transaction=True)
def test_requests_at_the_same_moment_get_ports_of_their_own_and_one_name_once() -> None:
    ServerFactory(name="alpha")
    names, refused = ["orders", "orders", "billing", "shop", "web", "mail"], []
    start = threading.Barrier(len(names))

    def declare(name: str) -> None:
        try:
            form = CreateClusterRequest(NEW | {"name": name})
            valid = form.is_valid()
            start.wait(timeout=30)
            with transaction.atomic():
                assert valid
                form.declare()
        except ValidationError as error:
            refused.append(error.message_dict)
        finally:
            connection.close()

    threads = [threading.Thread(target=declare, args=[name]) for name in names]
    _all(threads, threading.Thread.start)
    _all(threads, threading.Thread.join)
    assert refused == [{"name": ["A cluster of this name exists already. Choose another name."]}]
    assert sorted(Cluster.objects.values_list("name", flat=True)) == sorted(set(names))
    assert sorted(Instance.objects.values_list("port", flat=True)) == list(range(FIRST_PORT, FIRST_PORT + 5))


def _all(threads: list[threading.Thread], do: Callable[[threading.Thread], None]) -> None:
    for thread in threads:
        do(thread)


def test_the_page_of_synchronous_replication_begins_with_what_holds_and_refuses_what_would_never_return() -> None:
    cluster = cluster_with_standbys("orders", standbys=2)
    Cluster.objects.update(sync_mode="any", sync_count=1)
    form = REQUEST_FORMS["set_sync"](initial={"cluster": "orders"})
    assert (form["mode"].value(), form["count"].value()) == ("any", 1)

    def said(**data: Any) -> dict[str, list[str]]:
        return REQUEST_FORMS["set_sync"]({"cluster": "orders", "confirm": "orders", **data}).messages()

    assert said(mode="first", count=2) == {}
    assert said(mode="async") == {}
    names = "give a number from 1 to 2 (orders-2, orders-3 follow the primary directly)."
    assert said(mode="any", count=3) == {"count": [f"Commits cannot wait for 3: {names}"]}
    assert said(mode="any", count=0) == {"count": [f"Commits cannot wait for 0: {names}"]}
    assert said(mode="any", count="-1") == {"count": ["count: “-1” is not a number of standbys."]}
    Cluster.objects.update(sync_count=2)
    removal = RemoveStandbyRequest({"cluster": "orders", "instance": "orders-2", "confirm": "orders-2"})
    assert removal.messages() == {
        "instance": ["Commits wait for 2 standbys, and without this one 1 would be left. Change synchronous replication first."]
    }
    Instance.objects.filter(cluster=cluster, role="standby").update(lifecycle="planned")
    assert said(mode="any") == {"count": ["No standby follows the primary directly. Add one first: a commit would wait for ever."]}
