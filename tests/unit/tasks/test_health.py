"""The health check: open to all, says little, and tells the three states apart."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.test import Client

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


def test_it_is_only_looked_at(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
