"""A real browser in front of a real web process, on the tests' database.

    page = panel.open("/clusters/orders/", who="olga", width=390, scheme="dark")

Whatever a page complains about on its way (Content-Security-Policy, scripts, missing files) fails the test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import BrowserContext, Page

from tasks.access import access_setup
from tests.factories import UserFactory
from tests.live import Process, Valkey, Web, database_url

HEIGHT = 900
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return browser_type_launch_args | {"args": [*browser_type_launch_args.get("args", []), *FLAGS]}


@pytest.fixture(scope="session", autouse=True)
def _rows_beside_the_browser() -> Iterator[None]:
    """Playwright's sync API runs an event loop in this thread until the session ends; the ORM is used beside it, never in it.

    For the session, since pytest-django sets the database up before any other fixture of a test.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield


@pytest.fixture(scope="session")
def broker() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


@pytest.fixture(scope="session")
def web(django_db_setup: None, django_db_blocker: Any, broker: Valkey) -> Iterator[Web]:
    """Static files come from their sources, as the tests' own do."""
    with django_db_blocker.unblock(), Web(broker.url, PGREPLICA_DEBUG="1") as web:
        yield web


class Worker(Process):
    """A Celery worker, as `up` runs it."""

    def __init__(self, broker: Valkey) -> None:
        argv = [
            "-m",
            "celery",
            "-A",
            "pgreplica_admin",
            "worker",
            "--pool",
            "solo",
            "--loglevel",
            "ERROR",
            "--without-gossip",
            "--without-mingle",
        ]
        super().__init__(
            [os.sys.executable, *argv], {"DATABASE_URL": database_url(), "REDIS_URL": broker.url, "PGREPLICA_LOG_LEVEL": "ERROR"}
        )

    def ready(self) -> bool:
        return True  # what is asked for before it is there waits in the broker


@dataclass
class Panel:
    """The panel as people see it."""

    address: str
    new_context: Callable[..., BrowserContext]
    people: dict[str, User]
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str, *, who: str = "olga", width: int = 1440, scheme: str = "light", language: str = "en-US") -> Page:
        context = self.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, locale=language, base_url=self.address)
        if who:
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": self._session(who), "url": self.address}])
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self._heard(message.type, message.text, page.url))
        page.on("pageerror", lambda error: self._heard("error", str(error), page.url))
        page.goto(path)
        return page

    def _heard(self, kind: str, text: str, where: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{where}: {text}")

    def _session(self, who: str) -> str:
        user, session = self.people[who], SessionStore()
        session.update(
            {
                SESSION_KEY: str(user.pk),
                BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                HASH_SESSION_KEY: user.get_session_auth_hash(),
            }
        )
        session.save()
        return str(session.session_key)


def cast() -> dict[str, User]:
    """vera looks, olga operates, adam administers."""
    access_setup()
    people = {name: UserFactory(username=name) for name in ("vera", "olga", "adam")}
    for name, group in (("vera", "viewer"), ("olga", "operator"), ("adam", "administrator")):
        people[name].groups.add(Group.objects.get(name=group))
    return people


@pytest.fixture
def panel(transactional_db: None, web: Web, new_context: Callable[..., BrowserContext]) -> Iterator[Panel]:
    panel = Panel(f"http://127.0.0.1:{web.port}", new_context, cast())
    yield panel
    assert panel.complaints == []
