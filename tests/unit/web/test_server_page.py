"""The page of one server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tasks.models import Job
from tests.factories import InstanceFactory, JobFactory, ServerFactory
from tests.unit.web.conftest import Get, post, queries_of, text_of

pytestmark = pytest.mark.django_db


def it_shows_facts_disks_versions_and_instances(get: Get) -> None:
    alpha = ServerFactory(name="alpha")
    InstanceFactory(server=alpha, name="node1", port=5432, observed_role="stopped")
    words = text_of(get("vera", "/servers/alpha/"))
    for part in (
        "192.0.2.10",
        "Linux x86_64 · glibc 2.36",
        "32.0 GB",
        "310 GB free of 400 GB",
        "PostgreSQL 18.1 /usr/lib/postgresql/18/bin",
    ):
        assert part in words
    assert "/node1 5432 Declared primary, but it does not run." in words.replace(" warning ", " ")


def it_shows_the_image_where_postgresql_runs_in_containers(get: Get) -> None:
    alpha = ServerFactory(name="alpha", runtime="docker", run_as="postgres")
    InstanceFactory(server=alpha, name="node1", port=5432, bindir="", image="postgres:16")
    page = get("vera", "/servers/alpha/")
    assert '<td data-label="Image" class="pg-mono pg-break">postgres:16</td>' in page
    assert "PostgreSQL found" not in text_of(page)


def it_leads_to_the_comparison_of_a_host_key_that_was_read(get: Get) -> None:
    ServerFactory(name="alpha", connection="ssh", ssh_user="root", ssh_host_key_offered="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==")
    html = get("adam", "/servers/alpha/")
    assert html.count("pg-button pg-primary") == 1
    assert 'class="pg-button pg-primary" href="/servers/alpha/host-key/"' in html


def it_asks_for_a_look_at_a_server_that_nobody_has_looked_at(get: Get) -> None:
    ServerFactory(name="alpha", facts={}, observed_at=None)
    words = text_of(get("olga", "/servers/alpha/"))
    assert "Nobody has looked at this server yet." in words
    assert "No complete PostgreSQL 14 to 18 is known on this server." in words


def it_checks_with_one_press(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    response = post(signed_in("olga"), "/servers/alpha/check/", {"action": "run"})
    assert response["Location"] == f"/jobs/{Job.objects.get(kind='check_server', server__name='alpha').pk}/"


def it_gives_a_viewer_no_button_that_works(signed_in: Callable[[str], Client]) -> None:
    ServerFactory(name="alpha")
    client = signed_in("vera")
    assert '<form method="post" action="/servers/' not in client.get("/servers/alpha/").content.decode()
    assert post(client, "/servers/alpha/check/", {"action": "run"}).status_code == 403


def it_asks_the_database_the_same_number_of_questions_for_250_instances_as_for_1(signed_in: Callable[[str], Client]) -> None:
    small, big, client = ServerFactory(name="small"), ServerFactory(name="big"), signed_in("olga")
    InstanceFactory(server=small)
    for number in range(250):
        InstanceFactory(server=big, port=6000 + number)
    JobFactory(kind="check_server", server=big, cluster=None)
    few, many = queries_of(client, "/servers/small/"), queries_of(client, "/servers/big/")
    assert len(many) == len(few) <= 14
    assert "All 250 instances" in text_of(client.get("/servers/big/").content.decode())
