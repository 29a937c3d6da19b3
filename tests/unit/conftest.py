"""The cast: vera looks (viewer), olga operates (operator), adam administers (administrator), otto has no rights at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tasks.access import access_setup
from tasks.actor import actor_system
from tasks.tokens import token_create
from tasks.workflows.step import Step, Workflow
from tests.factories import UserFactory

CAST = {"vera": "viewer", "olga": "operator", "adam": "administrator", "otto": ""}


def look(ctx: Any) -> str:
    """Look around"""
    return "Looked."


STUB = Workflow(steps=(Step(look, plan=lambda request: [{"type": "command", "server": "alpha", "text": "true"}]),))


@pytest.fixture
def stub_workflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of job has one step that does nothing: these tests are about the way to the job."""
    monkeypatch.setattr("tasks.workflows.workflow_of", lambda kind: STUB)


@pytest.fixture
def people(db: None) -> dict[str, User]:
    access_setup()
    users = {name: UserFactory(username=name) for name in CAST}
    for name, group in CAST.items():
        if group:
            users[name].groups.add(Group.objects.get(name=group))
    return users


@pytest.fixture
def signed_in(people: dict[str, User]) -> Callable[[str], Client]:
    """A browser of this person, which checks CSRF as the real one does; "" is a stranger's."""

    def client_of(name: str) -> Client:
        client = Client(enforce_csrf_checks=True)
        if name:
            client.force_login(people[name])
        return client

    return client_of


@pytest.fixture
def bearer(people: dict[str, User]) -> Callable[..., Client]:
    """A program that uses a token of this person."""

    def client_of(name: str, scope: str = "operate") -> Client:
        _row, text = token_create(actor=actor_system("tests", "command"), user=people[name], name=f"{name} {scope}", scope=scope)
        return Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {text.reveal()}"})

    return client_of
