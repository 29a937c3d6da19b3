"""The lab that the tests in this directory share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.site import TESTS, Site
from tests.rounds import rounds

#: A file system in memory: there the engines' many small files cost a fraction. What is measured is measured on disks.
MEMORY = Path("/dev/shm/pgreplica-lab")
ROOM = 8 << 30


@pytest.fixture(scope="session")
def lab(worker_id: str) -> Iterator[Lab]:
    """Three servers: alpha, beta, gamma. Another run of the lab's tests on this machine waits for the end of this one, unless it is
    given a lab of its own: PGREPLICA_TEST_LAB=1 to 9. Each process of pytest-xdist has one of its own, too.
    """
    with Lab(_site(int(os.environ.get("PGREPLICA_TEST_LAB", "0")), worker_id.removeprefix("gw"))) as lab:
        lab.up(3)
        yield lab


def _site(number: int, worker: str) -> Site:
    """`worker`: the number of a process of pytest-xdist, or "master"."""
    if worker.isdigit():
        number = 10 * (int(worker) + 1) + number
    name, prefix = (f"lab{number}", f"10.77.{number}") if number else (TESTS.name, TESTS.prefix)
    return Site(name, prefix, base=rounds(_fast(), TESTS.base))


def _fast() -> Path:
    return MEMORY if MEMORY.parent.is_dir() and shutil.disk_usage(MEMORY.parent).free > ROOM else TESTS.base


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test every server is on and every fault taken back. Containers and files are the test's own affair (`server.empty()`)."""
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").heal()
