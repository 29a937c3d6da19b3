"""The lab that the tests in this directory share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab
from tests.lab.site import TESTS, Site


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three servers: alpha, beta, gamma. Another run of the lab's tests on this machine waits for the end of this one, unless it is
    given a lab of its own: PGREPLICA_TEST_LAB=1 to 9.
    """
    number = os.environ.get("PGREPLICA_TEST_LAB")
    with Lab(Site(name=f"lab{int(number)}", prefix=f"10.77.{int(number)}") if number else TESTS) as lab:
        lab.up(3)
        yield lab


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test every server is on and every fault taken back. Containers and files are the test's own affair (`server.empty()`)."""
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").heal()
