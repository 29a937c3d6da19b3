"""The Docker SDK through a command: what an engine answers is read, and what is no answer is told."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest

from clusters.hosts.engine_api import engine_facts, engine_state
from clusters.hosts.errors import EngineUnheard
from clusters.hosts.machine import Finished, Machine
from clusters.hosts.survey import engine

VERSION = {"Version": "28.2.2", "ApiVersion": "1.50", "Os": "linux", "Arch": "amd64"}
INFO = {"ContainersRunning": 2, "Images": 3, "Driver": "overlay2", "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}


class FakeMachine:
    """Answers HTTP as `docker system dial-stdio` does; notes what was asked for."""

    def __init__(self, *answers: bytes, complaint: str = "") -> None:
        self.answers, self.complaint, self.asked = list(answers), complaint, list[str]()

    def run(self, argv: tuple[str, ...], *, stdin: bytes = b"", timeout: float = 0, **_more: Any) -> Finished:
        if argv[-1] == "--version" or "compose" in argv:
            return Finished(0, "2.26.1", "")
        self.asked.append(stdin.decode().splitlines()[0])
        answer = self.answers.pop(0) if self.answers else b""
        return Finished(0, base64.encodebytes(answer).decode(), self.complaint)


def machine(*answers: bytes, complaint: str = "") -> tuple[Machine, FakeMachine]:
    fake = FakeMachine(*answers, complaint=complaint)
    return cast("Machine", fake), fake


def http(content: dict[str, Any], status: str = "200 OK", *, chunked: bool = False) -> bytes:
    body = json.dumps(content).encode()
    if chunked:
        return f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def it_reads_what_the_engine_says_of_itself() -> None:
    reached, fake = machine(http(VERSION), http(INFO, chunked=True))
    facts = engine_facts(reached)
    assert facts == {"version": "28.2.2", "api_version": "1.50", "system": "linux", "processor": "amd64"}
    assert engine_state(reached, "1.41") == {"running": 2, "images": 3, "storage": "overlay2", "maps_users": True}
    assert fake.asked == ["GET /version HTTP/1.1", "GET /v1.41/info HTTP/1.1"]  # in words that the older of both knows


def it_never_asks_an_engine_in_newer_words_than_the_sdk_knows() -> None:
    reached, fake = machine(http(INFO))
    engine_state(reached, "9.99")
    assert "v9.99" not in fake.asked[0]


@pytest.mark.parametrize(
    ("answer", "complaint", "said"),
    [
        (b"", "Cannot connect to the Docker daemon", "Cannot connect to the Docker daemon"),
        (b"no http at all", "", "no http at all"),
        (http({"message": "client version 1.45 is too new"}, "400 Bad Request"), "", "too new"),
    ],
)
def it_says_what_came_in_the_place_of_an_answer(answer: bytes, complaint: str, said: str) -> None:
    with pytest.raises(EngineUnheard) as caught:
        engine_facts(machine(answer, complaint=complaint)[0])
    assert said in caught.value.said


def it_makes_hostile_answers_inert() -> None:
    facts = engine_facts(machine(http({"Version": "\x1b[2J" + "9" * 500, "ApiVersion": None}))[0])
    assert "\x1b" not in facts["version"]
    assert len(facts["version"]) <= 60


def it_tells_the_survey_that_an_engine_is_silent() -> None:
    found = engine(machine(complaint="permission denied while trying to connect")[0])
    assert (found["engine"], found["compose"]) == ("", "2.26.1")
    assert "permission denied" in found["error"]
