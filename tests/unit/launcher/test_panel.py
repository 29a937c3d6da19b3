from __future__ import annotations

import os
import stat

import pytest

from launcher import panel
from launcher.complaint import CannotStart
from launcher.state import State


@pytest.fixture(autouse=True)
def no_database_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def it_tells_commands_how_to_reach_the_running_panel(state: State) -> None:
    given = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "unix://y", "PGREPLICA_EMBEDDED_BINDIR": "/z", "PATH": "/bin"}
    with panel.alone(state):
        panel.write(state, "http://127.0.0.1:8080/", given)
        assert panel.environment_for(["cluster", "list"], state) == {
            "PGREPLICA_STATE_DIR": str(state.root),
            "DATABASE_URL": "postgresql://x",
            "REDIS_URL": "unix://y",
            "PGREPLICA_EMBEDDED_BINDIR": "/z",
        }


def it_keeps_the_passwords_to_its_owner_whatever_the_umask(state: State) -> None:
    before = os.umask(0)
    try:
        panel.write(state, "http://127.0.0.1:8080/", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(state.panel_file.stat().st_mode) == 0o600


def it_refuses_a_second_panel_on_the_same_directory(state: State) -> None:
    with panel.alone(state):
        panel.write(state, "http://127.0.0.1:8080/", {})
        with pytest.raises(CannotStart) as refused, panel.alone(state):
            pass
    assert str(refused.value) == (
        f"a panel runs already on {state.root} (http://127.0.0.1:8080/). Use that one, stop it with Ctrl-C in its terminal, "
        "or give this one another directory: ./pgreplica up --state-dir DIR --port PORT"
    )


def it_takes_the_directory_over_from_a_panel_that_ended(state: State) -> None:
    with panel.alone(state):
        pass
    with panel.alone(state):
        assert panel.is_running(state)
    assert not panel.is_running(state)


def it_says_when_no_panel_runs_though_its_file_is_left(state: State) -> None:
    state.lock_file.touch()
    panel.write(state, "http://127.0.0.1:8080/", {})
    with pytest.raises(CannotStart) as refused:
        panel.environment_for(["cluster", "list"], state)
    assert str(refused.value) == (
        f"no panel runs on {state.root}. Start it in another terminal with ./pgreplica up, "
        "or name its directory: ./pgreplica --state-dir DIR COMMAND"
    )


def it_says_when_the_panel_is_still_starting(state: State) -> None:
    with panel.alone(state), pytest.raises(CannotStart) as refused:
        panel.environment_for(["cluster", "list"], state)
    assert str(refused.value) == f"the panel of {state.root} is still starting. Wait until it prints its address and try again."


def it_needs_no_panel_for_a_database_of_ones_own_or_an_offline_command(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["makemessages"], ["help", "cluster"], ["cluster", "--help"]):
        assert panel.environment_for(words, state) == {"PGREPLICA_STATE_DIR": str(state.root)}
    with pytest.raises(CannotStart):
        panel.environment_for(["cluster", "psql", "demo", "--", "--help"], state)
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine")
    assert panel.environment_for(["cluster", "list"], state) == {"PGREPLICA_STATE_DIR": str(state.root)}
