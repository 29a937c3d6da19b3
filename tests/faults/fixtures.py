"""Fixtures of the job engine's tests, here and in tests/unit/tasks (imported by the conftest files)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import appointments, control, services
from tasks.actor import actor_system
from tasks.models import Job
from tasks.services import job_request
from tests.factories import ClusterFactory
from tests.faults.toy import toys

OLGA = actor_system("olga", "web")


@pytest.fixture
def toy_kinds() -> Iterator[None]:
    with toys():
        yield


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """No broker: what would have been sent to one."""
    sent: list[int] = []
    for module in (services, control, appointments):
        monkeypatch.setattr(module, "enqueue", sent.append)
    return sent


@pytest.fixture
def toy(tmp_path: Path, toy_kinds: None, sent: list[int]) -> Callable[..., Job]:
    """Request a toy job on a cluster of its own: `toy("toy", fail="two", how="failed")`."""

    def request(kind: str = "toy", **data: Any) -> Job:
        return job_request(kind=kind, actor=OLGA, data={"directory": str(tmp_path), **data}, cluster=ClusterFactory())

    return request
