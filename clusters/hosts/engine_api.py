"""The Docker SDK over a machine's own connection: what its engine says of itself. Read only; changes go through fenced commands.

Each request runs `docker system dial-stdio` there, as the machine's user, which carries HTTP to the engine's socket; so local
machines and SSH with its jump servers, deadlines and limits are the same, and no port or socket of the engine is opened.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import io
from collections.abc import Callable
from typing import Any, Final

import docker
import requests
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException
from requests.adapters import BaseAdapter

from clusters.hosts.errors import EngineUnheard, inert
from clusters.hosts.machine import Machine

SECONDS: Final = 15.0
#: Never resolved: the adapter below is what carries every request.
_URL: Final = "http://engine:80"
#: In Base64 no line is longer than a line may be.
_DIAL: Final = ("sh", "-c", "docker system dial-stdio | base64")


def engine_facts(machine: Machine) -> dict[str, Any]:
    """{"version", "api_version", "system", "processor"} of the machine's engine. Raises: EngineUnheard, what `Machine.run` raises."""
    said = _asked(machine, DEFAULT_DOCKER_API_VERSION, lambda client: client.version(api_version=False))
    words = {"version": "Version", "api_version": "ApiVersion", "system": "Os", "processor": "Arch"}
    return {name: inert(str(said.get(word, "")), 40) for name, word in words.items()}


def engine_state(machine: Machine, api_version: str) -> dict[str, Any]:
    """{"running", "images", "storage", "maps_users"}. `api_version` as `engine_facts` told it.

    `maps_users`: the numbers of users in containers are others than on the machine (rootless, userns-remap).

    Raises: EngineUnheard, what `Machine.run` raises.
    """
    said = _asked(machine, _spoken(api_version), lambda client: client.info())
    return {
        "running": _number(said.get("ContainersRunning")),
        "images": _number(said.get("Images")),
        "storage": inert(str(said.get("Driver", "")), 40),
        "maps_users": any(str(option).startswith(("name=rootless", "name=userns")) for option in said.get("SecurityOptions") or ()),
    }


def _spoken(api_version: str) -> str:
    """The newest version that both sides know."""
    return min(api_version, DEFAULT_DOCKER_API_VERSION, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()])


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _asked(machine: Machine, api_version: str, question: Callable[[docker.APIClient], object]) -> dict[str, Any]:
    with docker.APIClient(base_url=_URL, version=api_version, timeout=int(SECONDS)) as client:
        client.trust_env = False  # a proxy of this machine has no part in it
        client.mount(_URL, _Dialled(machine))
        try:
            said = question(client)
        except (requests.RequestException, DockerException) as error:
            raise EngineUnheard(str(error)) from error
    return said if isinstance(said, dict) else {}


class _Dialled(BaseAdapter):
    """Carries one request and its answer through one command on the machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def send(self, request: requests.PreparedRequest, *_args: Any, **_options: Any) -> requests.Response:
        head = f"{request.method} {request.path_url} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"
        finished = self._machine.run(_DIAL, stdin=head.encode("ascii"), timeout=SECONDS)
        try:
            answer = http.client.HTTPResponse(_Answer(base64.b64decode(finished.stdout)))  # type: ignore[arg-type]
            answer.begin()
            content = answer.read()
        except (http.client.HTTPException, binascii.Error, ValueError, OSError) as error:
            raise requests.ConnectionError(finished.stderr.strip() or str(error) or "no answer") from error
        response = requests.Response()
        response.status_code, response.reason, response.request = answer.status, answer.reason, request
        response.headers.update(answer.getheaders())
        response.raw = io.BytesIO(content)
        return response

    def close(self) -> None:
        """Nothing is kept open."""


class _Answer:
    """What http.client takes for a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)
