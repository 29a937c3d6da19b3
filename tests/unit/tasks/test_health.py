"""The health checks: open to all, say little, and tell the states apart."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as BrokerGone

from clusters.models import Monitor
from tasks import health
from tasks.models import Pulse
from tasks.pulses import Part, pulse_felt

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("database", "broker", "status", "word"), [(True, True, 200, "ok"), (True, False, 200, "degraded"), (False, True, 503, "down")]
)
def test_the_answer(database: bool, broker: bool, status: int, word: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.health._database", lambda: database)
    monkeypatch.setattr("tasks.health._broker", lambda: broker)
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (status, {"status": word, "database": database, "broker": broker})


def test_a_database_and_a_broker_that_do_not_answer_are_found_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("tasks.health.connection.cursor", refuse)
    monkeypatch.setattr("tasks.health.current_app.connection_for_write", _refuse_broker)
    assert client.get("/healthz").json() == {"status": "down", "database": False, "broker": False}


def _refuse_broker(*args: object, **kwargs: object) -> None:
    raise ConnectionRefusedError


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_is_only_looked_at(path: str, client: Client) -> None:
    assert client.post(path).status_code == 405


# -- ready


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    """A broker, a worker, and a monitor and an alerter that have just gone round."""
    monkeypatch.setattr("tasks.health._broker_reached", contextlib.nullcontext)
    monkeypatch.setattr("tasks.health._workers", health._Workers())
    monkeypatch.setattr("tasks.health.current_app.control.ping", lambda **_how: [{"celery@web": {"ok": "pong"}}])
    now = timezone.now()
    pulse_felt(Part.ALERTER)
    return Monitor.objects.create(pk=1, beat_at=now, lease_until=now + dt.timedelta(seconds=15), interval=5)


def ready(client: Client) -> tuple[int, list[str]]:
    """The status, and what is not well."""
    response = client.get("/readyz")
    return response.status_code, [name for name, value in response.json().items() if value is False]


def test_it_is_ready_while_every_part_works(client: Client, well: Monitor) -> None:
    assert ready(client) == (200, [])
    assert client.get("/readyz").json()["status"] == "ready"


def test_a_monitor_that_does_not_go_round_is_named(client: Client, well: Monitor) -> None:
    Monitor.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))
    assert ready(client) == (503, ["monitor"])
    Monitor.objects.all().delete()
    assert ready(client) == (503, ["monitor"])


def test_an_alerter_that_does_not_judge_is_named(client: Client, well: Monitor) -> None:
    Pulse.objects.update(at=timezone.now() - dt.timedelta(seconds=31))
    assert ready(client) == (503, ["alerter"])
    Pulse.objects.all().delete()
    assert ready(client) == (503, ["alerter"])


@pytest.mark.parametrize("outcome", [[], BrokerGone("gone"), OSError("gone")])
def test_workers_that_do_not_answer_are_named(client: Client, well: Monitor, monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    def ping(**_how: object) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr("tasks.health.current_app.control.ping", ping)
    assert ready(client) == (503, ["workers"])


def test_workers_are_asked_once_in_a_while_however_often_we_are(client: Client, well: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("tasks.health.current_app.control.ping", lambda **_how: asked.append(1) or [1])
    assert [ready(client)[0] for _time in range(5)] == [200] * 5
    assert len(asked) == 1


def test_a_silent_database_is_named_with_what_it_takes_along(client: Client, well: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.health._database", lambda: False)
    assert ready(client) == (503, ["database", "monitor", "alerter"])


def test_a_broker_that_is_gone_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, and each question would hold a thread."""
    monkeypatch.setattr("tasks.health._workers", health._Workers())
    slept: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", slept.append)
    assert ready(client) == (503, ["broker", "workers", "monitor", "alerter"])
    assert sum(slept) == 0
