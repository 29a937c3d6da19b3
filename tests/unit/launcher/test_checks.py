"""Each obstacle at start is one sentence that says what to do."""

from __future__ import annotations

import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from clusters.postgres.names import BASE_DIRECTORY_BYTES
from launcher import checks
from launcher.account import Account
from launcher.complaint import CannotStart
from launcher.state import State

Usage = namedtuple("Usage", "total used free")


def it_allows_a_path_as_long_as_its_longest_socket_allows() -> None:
    assert len(str(State(Path("/" + "d" * (checks.STATE_DIRECTORY_BYTES - 1))).clusters)) <= BASE_DIRECTORY_BYTES
    checks.path_length(State(Path("/" + "d" * (checks.STATE_DIRECTORY_BYTES - 1))))


def it_counts_the_path_in_bytes() -> None:
    place = "/" + "ä" * 33
    with pytest.raises(CannotStart) as refused:
        checks.path_length(State(Path(place)))
    assert str(refused.value) == (
        f"the state directory's path {place} has 67 bytes, and with more than 66 the sockets below it get longer than the system allows. "
        "Choose a shorter one: ./pgreplica up --state-dir DIR"
    )


@pytest.mark.needs("root")
def it_refuses_a_directory_that_postgresqls_user_cannot_enter(state: State, account: Account) -> None:
    (state.root / "private").mkdir(mode=0o700)
    inside = State(state.root / "private" / "state")
    with pytest.raises(CannotStart) as refused:
        checks.enterable(inside, account)
    assert str(refused.value) == (
        f"the state directory {inside.root} lies below a directory that the user '{account.name}' cannot enter, and PostgreSQL "
        "runs as that user because it refuses root. Choose another one, for example: ./pgreplica up --state-dir /var/lib/pgreplica-admin"
    )


def it_asks_nobody_else_when_postgresql_runs_as_ourselves(state: State) -> None:
    checks.enterable(state, None)


def it_refuses_a_file_in_the_way(state: State) -> None:
    (state.root / "file").touch()
    with pytest.raises(CannotStart) as refused:
        checks.writable(State(state.root / "file" / "below"))
    assert str(refused.value) == f"{state.root}/file is not a directory. Choose another state directory: ./pgreplica up --state-dir DIR"


def it_refuses_a_directory_that_is_not_ours(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(CannotStart) as refused:
        checks.writable(state)
    assert str(refused.value) == f"you may not write to {state.root}. Choose a directory of your own: ./pgreplica up --state-dir DIR"


def it_refuses_a_full_disk(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 499_999_999))
    with pytest.raises(CannotStart) as refused:
        checks.free_space(state)
    assert str(refused.value) == (
        f"the disk that holds {state.root} has 499 MB free and this start needs 500 MB. "
        "Free some space, or choose a directory on another disk: ./pgreplica up --state-dir DIR"
    )


def it_needs_less_space_when_everything_is_made(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    state.database.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 100_000_000))
    checks.free_space(state)


def it_names_a_free_port_when_the_wanted_one_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotStart) as refused:
            checks.port_free("127.0.0.1", port)
    sentence, _, suggested = str(refused.value).rpartition(" ")
    assert sentence == f"port {port} on 127.0.0.1 is taken by another program. Choose another port: ./pgreplica up --port"
    assert int(suggested) > port
    checks.port_free("127.0.0.1", int(suggested))


def it_says_when_the_host_is_not_ours() -> None:
    with pytest.raises(CannotStart) as refused:
        checks.port_free("192.0.2.1", 8080)  # TEST-NET-1: nobody's
    assert str(refused.value) == (
        "192.0.2.1 is not an address of this machine (Cannot assign requested address). Choose one: ./pgreplica up --host 127.0.0.1"
    )


def it_finds_free_ports_besides_the_panels_own() -> None:
    first, second = checks.free_ports(20000, 2)
    assert checks.free_ports(20000, 1, besides=first) == [second]
    with socket.create_server(("127.0.0.1", first)):
        assert checks.free_ports(20000, 1) == [second]
