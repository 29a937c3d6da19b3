"""A test that cannot run here is skipped with the reason, or fails with it where the machine was promised to have it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest, needs

REASON = "needs a Docker engine: none answers"


@pytest.fixture
def item(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A test that needs Docker, on a machine without."""
    monkeypatch.setattr(conftest, "missing", lambda need: REASON if need == "docker" else None)
    return SimpleNamespace(iter_markers=lambda name: [pytest.mark.needs("root", "docker").mark])


def it_is_skipped_with_the_reason(item: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREPLICA_TEST_REQUIRE", "browser")
    with pytest.raises(pytest.skip.Exception) as skipped:
        conftest.pytest_runtest_setup(item)
    assert skipped.value.msg == REASON


def it_fails_with_the_reason_where_that_is_required(item: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREPLICA_TEST_REQUIRE", "browser, docker")
    with pytest.raises(pytest.fail.Exception) as failed:
        conftest.pytest_runtest_setup(item)
    assert failed.value.msg == f"{REASON} (PGREPLICA_TEST_REQUIRE asks for it)"


def it_refuses_a_requirement_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREPLICA_TEST_REQUIRE", "browser,doker")
    with pytest.raises(ValueError, match=rf"^PGREPLICA_TEST_REQUIRE knows {', '.join(sorted(needs.PROBES))}, not doker$"):
        needs.required()
