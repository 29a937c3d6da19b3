from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from clusters.models import Cluster, Instance, Server
from clusters.models.cluster import Lifecycle
from tasks import first_start
from tasks.first_start import demo_advance, demo_pending, machine_register
from tasks.kinds import Status
from tasks.models import Job
from tests.factories import ServerFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]

PORTS = [5433, 5434]
FACTS = {"postgres": [{"major": 18, "version": "18.6", "bindir": "/opt/pg/bin"}]}


def register(*, demo: bool = True) -> None:
    machine_register(base_directory="/var/lib/panel/clusters", run_as="postgres", demo=demo)


def jobs() -> list[tuple[str, str, str]]:
    return list(Job.objects.order_by("id").values_list("kind", "requested_by_name", "source"))


def finish(kind: str, status: Status = Status.DONE) -> None:
    """As a worker would: the newest job of this kind is over, and what it was to make is there."""
    job = Job.objects.filter(kind=kind).latest("id")
    job.status = status
    job.save(update_fields=["status"])
    Server.objects.update(facts=FACTS, observed_at=timezone.now())
    Instance.objects.update(lifecycle=Lifecycle.READY)


def it_registers_this_machine_and_has_it_looked_at() -> None:
    register()
    assert list(Server.objects.values_list("name", "address", "base_directory", "run_as")) == [
        ("local", "127.0.0.1", "/var/lib/panel/clusters", "postgres")
    ]
    assert jobs() == [("check_server", "first start", "first start")]
    assert demo_pending()


def it_leaves_the_demo_out_when_told_so_for_good() -> None:
    register(demo=False)
    register(demo=True)  # the second start is not the first
    assert jobs() == [("check_server", "first start", "first start")]
    assert not demo_pending()


def it_leaves_a_panel_that_has_servers_alone() -> None:
    ServerFactory()
    register()
    assert (jobs(), demo_pending()) == ([], False)


def it_requests_each_job_when_the_one_before_is_done() -> None:
    register()
    assert demo_advance(PORTS)
    assert [kind for kind, *_ in jobs()] == ["check_server"]
    finish("check_server")
    assert demo_advance(PORTS)
    assert demo_advance(PORTS)
    assert [kind for kind, *_ in jobs()] == ["check_server", "create_cluster"]
    finish("create_cluster")
    assert not demo_advance(PORTS)
    assert [kind for kind, *_ in jobs()] == ["check_server", "create_cluster", "add_standby"]
    assert not demo_pending()
    assert list(Instance.objects.order_by("port").values_list("cluster__name", "name", "role", "port")) == [
        ("demo", "node1", "primary", 5433),
        ("demo", "node2", "standby", 5434),
    ]


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED, Status.REFUSED])
def it_ends_where_a_job_did_not_end_well(status: Status) -> None:
    register()
    finish("check_server", status)
    assert not demo_advance(PORTS)
    assert not demo_pending()
    assert len(jobs()) == 1


def it_goes_on_after_a_restart_where_the_chain_stands() -> None:
    register()
    finish("check_server")
    register()
    assert demo_pending()
    assert demo_advance(PORTS)
    assert [kind for kind, *_ in jobs()] == ["check_server", "create_cluster"]


def it_does_not_bring_back_a_demo_that_was_removed() -> None:
    register()
    finish("check_server")
    demo_advance(PORTS)
    finish("create_cluster")
    demo_advance(PORTS)
    finish("add_standby")
    Cluster.objects.filter(name="demo").update(name="gone")
    assert (demo_pending(), demo_advance(PORTS), len(jobs())) == (False, False, 3)


def it_says_why_the_demo_is_not_completed() -> None:
    register()
    finish("check_server")
    Server.objects.update(facts={})
    stderr = io.StringIO()
    call_command("first_start", "--port=5433", "--port=5434", stderr=stderr)
    assert stderr.getvalue().strip() == (
        "The demo cluster is not completed: No PostgreSQL was found on local. Install it there, then check the server again."
    )


def prepare(monkeypatch: pytest.MonkeyPatch, password: str) -> Any:
    stdout = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    call_command("prepare", "--administrator=admin", "--base-directory=/b", "--demo", stdout=stdout)
    return json.loads(stdout.getvalue())


@pytest.fixture
def broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.Redis.ping", lambda self: True)


@pytest.mark.usefixtures("broker_answers")
def it_makes_the_administrator_once_and_tells_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(monkeypatch, "the first password")
    second = prepare(monkeypatch, "the second password")
    assert (first, second) == ({"administrator_made": True, "demo_pending": True}, {"administrator_made": False, "demo_pending": True})
    admin = User.objects.get()
    assert (admin.username, admin.is_superuser, admin.check_password("the first password")) == ("admin", True, True)


def it_says_that_the_broker_does_not_answer(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/socket?db=0"
    with pytest.raises(CommandError) as refused:
        prepare(monkeypatch, "a password")
    assert str(refused.value) == (
        "the broker does not answer (Error 2 connecting to /nowhere/socket. No such file or directory.). Start it, or correct REDIS_URL."
    )
    assert not User.objects.exists()


def it_says_that_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"host": "/nowhere", "user": "panel", "dbname": "panel", "pool": object()}
    monkeypatch.setattr(connection, "get_connection_params", lambda: given, raising=False)
    with pytest.raises(
        CommandError, match=r"^the panel's database does not answer \(.*/nowhere.*\)\. Start it, or correct DATABASE_URL\.$"
    ):
        prepare(monkeypatch, "a password")


def it_asks_for_kinds_that_exist_in_an_order_that_holds() -> None:
    assert [link.key for link in first_start.CHAIN] == ["first-start-check_server", "first-start-create_cluster", "first-start-add_standby"]
