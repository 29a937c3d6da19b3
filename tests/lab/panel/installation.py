"""The panel on a server of the lab, installed as docs/how-to/run-the-panel-in-docker.md says, and a client that comes in as an
administrator does: through SSH to the loopback address, with the words of a TLS proxy.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.panel.images import PYTHON
from tests.lab.server import LabServer
from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[3]
DIRECTORY = "srv/panel"
HOST = "panel.example.org"
#: What a person has after a clone, less what the image has no use for (the unit tests compare .dockerignore with the Dockerfile).
FILES = ("Dockerfile", ".dockerignore", "compose.yml", "manage.py", "requirements.txt")
DIRECTORIES = ("launcher", "clusters", "tasks", "pgreplica_admin", "templates", "static", "locale")
SECONDS = 600
HEALTHY_SECONDS = 90
UNTIL_HEALTHY = f"""
for _ in $(seq {HEALTHY_SECONDS}); do
  [ "$(docker inspect --format '{{{{.State.Health.Status}}}}' "$@" | sort -u)" != healthy ] || exit 0
  sleep 1
done
exit 1
"""


@dataclass
class Installation:
    server: LabServer

    @property
    def directory(self) -> Path:
        """As this machine sees it."""
        return self.server.root / DIRECTORY

    def unpack(self, index: str, password: str) -> None:
        """The checkout, where packages come from, and the one secret that a person makes."""
        self.directory.mkdir(parents=True)
        for name in FILES:
            shutil.copy(CHECKOUT / name, self.directory)
        for name in DIRECTORIES:
            shutil.copytree(CHECKOUT / name, self.directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        host = index.split("/")[2].partition(":")[0]
        (self.directory / "pip.conf").write_text(f"[global]\nindex-url = {index}\ntrusted-host = {host}\n")
        (self.directory / "secrets").mkdir(mode=0o700)
        (self.directory / "secrets/database_password").write_text(password)
        self.settings()

    def settings(self, **values: str) -> None:
        """The file .env."""
        lines = {"PYTHON_IMAGE": PYTHON, "PGREPLICA_ALLOWED_HOSTS": HOST, **values}
        (self.directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    def compose(self, *words: str, check: bool = True, given: bytes | None = None) -> str:
        argv = ["docker", "compose", "--project-directory", f"/{DIRECTORY}", *words]
        return self.server.run(argv, check=check, given=given, seconds=SECONDS).stdout

    def manage(self, *words: str) -> str:
        return self.compose("exec", "-T", "web", "python", "manage.py", *words).strip()

    def containers(self, *services: str) -> list[str]:
        """Their numbers, of all that run unless services are named."""
        return self.compose("ps", "--quiet", "--no-trunc", *services).split()

    def inspected(self, *containers: str) -> list[dict[str, Any]]:
        return json.loads(self.server.docker("inspect", *containers).stdout)  # type: ignore[no-any-return]

    def ask(self, statement: str) -> str:
        """The panel's own database, over the socket in its container."""
        return self.compose("exec", "-T", "database", "psql", "-U", "pgreplica", "-d", "pgreplica", "-Atc", statement).strip()

    def wait_healthy(self) -> None:
        """One loop in the server: commands that come in from here every few milliseconds would keep it from getting healthy."""
        done = self.server.run(["sh", "-c", UNTIL_HEALTHY, "sh", *self.containers()], check=False, seconds=HEALTHY_SECONDS + 30)
        assert done.returncode == 0, self.compose("ps", "--all") + self.compose("logs", "--tail", "20")

    @contextlib.contextmanager
    def reached(self) -> Iterator[int]:
        """The port of this machine that leads to the server's 127.0.0.1:8080."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = self.server.ssh_words()
        argv = [*words[:-1], "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:127.0.0.1:8080", words[-1]]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as tunnel:
            try:
                yield port
            finally:
                tunnel.terminate()


@dataclass
class Client:
    """What asks the API over HTTP, with a token."""

    port: int
    token: str = ""

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        headers = {"Host": HOST, "X-Forwarded-Proto": "https", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            data = answer.read()
        return answer.status, json.loads(data) if answer.headers.get_content_type() == "application/json" else data.decode()

    def get(self, route: str) -> Any:
        status, value = self.ask("GET", f"/api/v1/{route}")
        assert status == 200, value
        return value

    def post(self, route: str, **data: Any) -> Any:
        status, value = self.ask("POST", f"/api/v1/{route}", data)
        assert status in (200, 201, 202), value
        return value

    def ended(self, job: int, seconds: float = 120) -> Any:
        """The job, once no worker works on it any more; it must have ended well."""
        told = wait_until(lambda: (now := self.get(f"jobs/{job}"))["ended"] and now, f"the end of job #{job}", seconds)
        assert told["status"] == "done", "\n".join([f"{told['summary']} {told['hint']}", *(event["text"] for event in self.events(job))])
        return told

    def done(self, route: str, **data: Any) -> Any:
        return self.ended(self.post(route, **data)["id"])

    def events(self, job: int) -> list[dict[str, Any]]:
        """The whole log, page by page."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            page = self.get(f"jobs/{job}/events?after={found[-1]['seq'] if found else 0}")
            found += page["events"]
            more = page["more"]
        return found
