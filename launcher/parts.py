"""The panel's processes: what each is started with, and how one sees that it is ready."""

from __future__ import annotations

import http.client
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.complaint import CannotStart
from launcher.postgres import EmbeddedPostgres, environment
from launcher.process import Program
from launcher.state import State
from launcher.valkey import EmbeddedValkey

CHECKOUT = Path(__file__).resolve().parent.parent
#: As root the worker may warn on every start; it accepts JSON only, which is what the warning is about.
WARNINGS_OFF = "ignore:You're running the worker with superuser privileges"
_CELERY = ("-m", "celery", "--quiet", "-A", "pgreplica_admin")
LOGIN_PAGE = "/admin/login/"


def database(server: EmbeddedPostgres) -> Program:
    return Program(
        "database", server.server_argv(), environment(), server.ready, account=server.account, quiet=["the database system is starting up"],
        stop_signal=signal.SIGINT, stop_seconds=60, orphan_signal=signal.SIGINT,  # SIGINT: "fast", it ends sessions and writes a checkpoint
    )  # fmt: skip


def broker(server: EmbeddedValkey) -> Program:
    quiet = ("Memory overcommit must be enabled", "Received SIGTERM", "ready to exit")
    return Program("broker", server.server_argv(), environment(), server.ready, orphan_signal=signal.SIGTERM, quiet=quiet)


@dataclass(frozen=True)
class PythonParts:
    """The project's own processes, all started in the checkout with the same environment."""

    state: State
    environment: Mapping[str, str]

    def web(self, host: str, port: int) -> Program:
        arguments = ["--host", host, "--port", str(port), "--timeout-graceful-shutdown", "3", "--lifespan", "off"]
        quiet = ["--no-access-log", "--no-server-header", "--log-level", "warning"]
        argv = [sys.executable, "-m", "uvicorn", "pgreplica_admin.asgi:application", *arguments, *quiet]
        return Program("web", argv, self.environment, lambda: answers(host, port), directory=CHECKOUT, stop_seconds=8)

    def worker(self) -> Program:
        arguments = ["--pool", "threads", "--concurrency", "8", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
        return self._ready_by_file("worker", [*_CELERY, "worker", *arguments], stop_seconds=10)

    def beat(self) -> Program:
        return self._ready_by_file("beat", [*_CELERY, "beat", "--pidfile=", "--loglevel", "WARNING"], stop_seconds=5)

    def monitor(self) -> Program:
        return self._ready_by_file("monitor", ["manage.py", "monitor"], stop_seconds=5)

    def alerter(self) -> Program:
        return self._ready_by_file("alerter", ["manage.py", "alerter"], stop_seconds=5)

    def first_start(self, ports: Sequence[int]) -> Program:
        argv = [sys.executable, "manage.py", "first_start", *(f"--port={port}" for port in ports)]
        return Program("demo", argv, self.environment, lambda: True, directory=CHECKOUT, once=True)

    def _ready_by_file(self, name: str, words: Sequence[str], stop_seconds: float) -> Program:
        """It makes a file when it is ready."""
        file = self.state.ready / name
        file.parent.mkdir(parents=True, exist_ok=True)
        return Program(
            name, [sys.executable, *words], {**self.environment, "PGREPLICA_READY_FILE": str(file)}, file.exists, directory=CHECKOUT,
            stop_seconds=stop_seconds, before=lambda: file.unlink(missing_ok=True), quiet=["Warm shutdown"],
        )  # fmt: skip


def answers(host: str, port: int) -> bool:
    """Whether the login page is served. Raises: CannotStart when it is answered with an error."""
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # reads the option, binds nothing
    connection = http.client.HTTPConnection(reach, port, timeout=5)
    try:
        connection.request("GET", LOGIN_PAGE, headers={"Host": "localhost", "X-Forwarded-Proto": "https"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    if status != 200:
        raise CannotStart(f"the login page answers with error {status}; the last lines of web above say why.")
    return True
