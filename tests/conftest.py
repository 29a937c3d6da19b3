"""What every test may use. The database is made earlier, in `tests/plugin.py`."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.conf import settings
from django.test import TransactionTestCase
from django.utils import translation

from launcher.account import Account, unprivileged
from launcher.programs import postgres_copy
from tests.needs import chromium, missing, required


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): what the machine must have (browser, docker, lab, root ...); see tests/needs.py")
    required()  # a wrong PGREPLICA_TEST_REQUIRE ends the run before it begins
    # Pages are tested without collectstatic: static files come from their sources.
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)  # whitenoise warns where it is missing
    # A test is one transaction, however long it does something else.
    settings.DATABASES["default"]["OPTIONS"]["options"] = ""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector need not look at it again and again, and children share its memory for longer."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            reason = missing(need)
            if reason and need in required():
                pytest.fail(f"{reason} (PGREPLICA_TEST_REQUIRE asks for it)", pytrace=False)
            elif reason:
                pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _audit_trail_gives_way() -> Iterator[None]:
    """After a test with real transactions Django empties every table; the audit trail lets it, then only."""
    teardown = TransactionTestCase._fixture_teardown

    def ignoring(case: TransactionTestCase) -> None:
        with pgtrigger.ignore("tasks.AuditEntry:no_truncate"):
            teardown(case)

    TransactionTestCase._fixture_teardown = ignoring
    yield
    TransactionTestCase._fixture_teardown = teardown


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A page in another language leaves its language behind in the process."""
    translation.activate(settings.LANGUAGE_CODE)
    yield
    translation.deactivate()


@pytest.fixture(scope="session")
def account() -> Account | None:
    """The user that PostgreSQL runs as in tests: an unprivileged one when we are root, None when it is ourselves."""
    return unprivileged()


@pytest.fixture(scope="session")
def embedded_bindir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The embedded PostgreSQL's programs, where the unprivileged user can run them."""
    given = os.environ.get("PGREPLICA_EMBEDDED_BINDIR")
    if given:
        yield Path(given)
        return
    directory = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    directory.chmod(0o755)
    yield postgres_copy(directory)
    shutil.rmtree(directory)


@pytest.fixture
def server_directory(account: Account | None) -> Iterator[Path]:
    """An empty directory for a server's clusters: short, private, and owned by the user that PostgreSQL runs as."""
    directory = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    if account:
        account.own(directory)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """pytest-playwright drives the machine's Chromium, never one of its own download."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return browser_type_launch_args | {"executable_path": chromium(), "args": arguments}


@pytest.fixture(scope="session")
def base_url() -> None:
    """In place of pytest-base-url's, whose way of being defined pytest 9 warns about."""
