"""An early plugin (`addopts = -p tests.plugin`): a throw-away PostgreSQL for the tests, before pytest-django reads the settings.

A `DATABASE_URL` that is given already is used instead; so are the workers of pytest-xdist, which inherit it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from launcher.account import unprivileged
from launcher.postgres import SUPERUSER, EmbeddedPostgres, environment
from launcher.programs import postgres_copy

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200", "shared_buffers": "128MB"}
PR_SET_PDEATHSIG = 1


class ThrowAwayDatabase:
    """One PostgreSQL in a temporary directory, stopped and removed at the end, or when this process dies."""

    def __init__(self, directory: Path) -> None:
        self.bindir = postgres_copy(directory / "postgres")
        (directory / "secrets").mkdir(mode=0o700)
        account = unprivileged()
        self.server = EmbeddedPostgres(self.bindir, directory / "db", directory / "s", directory / "secrets", account, settings=FAST)
        self.server.prepare()
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.server.server_argv(), cwd="/", env=environment(), stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_die_with_parent, **(account.popen() if account else {}),
            )  # fmt: skip
        self._wait(time.monotonic() + 30)

    def _wait(self, deadline: float) -> None:
        while not self.server.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise pytest.UsageError(f"the tests' own PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)  # immediate: nothing in it is worth a checkpoint
        self.process.wait(30)


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


_LIBC = ctypes.CDLL(None) if hasattr(ctypes.CDLL(None), "prctl") else None
_directory: Path | None = None
_database: ThrowAwayDatabase | None = None


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None, None, None]:
    """A wrapper, so that it runs before pytest-django's hook of this name reads the settings."""
    begin()
    return (yield)


def begin() -> None:
    global _directory, _database
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    # Short, so that sockets fit below it, and outside of homes, so that the unprivileged user can enter it.
    _directory = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    _directory.chmod(0o755)
    os.environ.setdefault("PGREPLICA_STATE_DIR", str(_directory / "state"))
    if "DATABASE_URL" not in os.environ:
        _database = ThrowAwayDatabase(_directory)
        os.environ["DATABASE_URL"] = _database.server.url(role=SUPERUSER, database=SUPERUSER)
        os.environ.setdefault("PGREPLICA_EMBEDDED_BINDIR", str(_database.bindir))


def pytest_unconfigure() -> None:
    if _database is not None:
        _database.stop()
    if _directory is not None:
        shutil.rmtree(_directory, ignore_errors=True)
