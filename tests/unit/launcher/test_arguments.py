from __future__ import annotations

import os

import pytest

from launcher.arguments import UpOptions, state_option, up_options
from launcher.complaint import CannotStart


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGREPLICA_HOST", "PGREPLICA_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGREPLICA_STATE_DIR", "/before")


def it_listens_on_loopback_8080_with_the_demo_unless_told_otherwise() -> None:
    assert up_options([]) == UpOptions("127.0.0.1", 8080, demo=True)
    assert up_options(["--host", "::1", "--port", "9", "--no-demo"]) == UpOptions("::1", 9, demo=False)


def it_takes_host_and_port_from_the_environment_and_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREPLICA_HOST", "::1")
    monkeypatch.setenv("PGREPLICA_PORT", "9000")
    assert up_options([]) == UpOptions("::1", 9000, demo=True)
    assert up_options(["--port", "9001"]) == UpOptions("::1", 9001, demo=True)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "8 0", ""])
def it_refuses_what_is_not_a_port(text: str) -> None:
    with pytest.raises(CannotStart) as refused:
        up_options([f"--port={text}"])
    assert str(refused.value) == f"{text!r} is not a port. Give a number from 1 to 65535: ./pgreplica up --port 8080"


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (["up", "--state-dir", "/s", "--no-demo"], ["up", "--no-demo"]),
        (["up", "--no-demo", "--state-dir=/s"], ["up", "--no-demo"]),
        (["--state-dir", "/s", "demo", "remove"], ["demo", "remove"]),
        (["--state-dir=/s", "cluster", "list", "--json"], ["cluster", "list", "--json"]),
    ],
)
def it_takes_the_state_directory_before_any_command_and_anywhere_in_up(words: list[str], rest: list[str]) -> None:
    assert (state_option(words), os.environ["PGREPLICA_STATE_DIR"]) == (rest, "/s")


@pytest.mark.parametrize("words", [[], ["demo", "remove"], ["cluster", "psql", "demo", "--", "--state-dir", "/other"]])
def it_leaves_the_options_of_other_commands_alone(words: list[str]) -> None:
    assert (state_option(words), os.environ["PGREPLICA_STATE_DIR"]) == (words, "/before")
