"""The lab that the tests in this directory share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three servers: alpha, beta, gamma. Another run of the lab's tests on this machine waits for the end of this one."""
    with Lab() as lab:
        lab.up(3)
        yield lab


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test every server is on and every fault taken back. Containers and files are the test's own affair (`server.empty()`)."""
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").heal()
