from __future__ import annotations

import os
import pwd
import subprocess
from typing import Any

import pytest

from launcher import account
from launcher.account import Account, unprivileged
from launcher.complaint import CannotStart
from launcher.state import State

KNOWN = {"postgres": (101, 104), "nobody": (65534, 65534)}


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """We are root on a machine that knows the users `KNOWN`; what would be run is noted."""
    ran: list[Any] = []

    def entry(name: str) -> pwd.struct_passwd:
        uid, gid = KNOWN[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", entry)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: ran.append((command, options)))
    return ran


def it_stays_ourselves_when_we_are_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged() is None


def it_prefers_the_user_postgres_and_tries_whether_it_can_be_him(as_root: list[Any]) -> None:
    assert unprivileged() == Account("postgres", 101, 104)
    (command, options), *more = as_root
    assert (command, options["user"], options["group"], options["extra_groups"], options["umask"], more) == (
        ["/bin/sh", "-c", ":"], 101, 104, [], 0o077, [],
    )  # fmt: skip


def it_makes_a_system_user_where_there_is_none(as_root: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.delitem(KNOWN, "postgres")

    def run(command: list[str], **options: Any) -> None:
        as_root.append(command)
        if command[0] == "useradd":
            monkeypatch.setitem(KNOWN, command[-1], (997, 997))

    monkeypatch.setattr(subprocess, "run", run)
    assert unprivileged() == Account("pgreplica", 997, 997)
    assert as_root[0][:2] == ["useradd", "--system"]


def it_takes_nobody_where_it_cannot_make_one(as_root: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delitem(KNOWN, "postgres")
    assert unprivileged() == Account("nobody", 65534, 65534)


def it_says_so_where_root_may_not_change_user(as_root: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(CannotStart) as refused:
        unprivileged()
    assert str(refused.value) == (
        "PostgreSQL refuses to run as root, and this environment does not let root change to the user 'postgres' "
        "([Errno 1] Operation not permitted). Start ./pgreplica as a normal user, "
        "or give the container the SETUID, SETGID and CHOWN capabilities."
    )


@pytest.mark.needs("root")
def it_keeps_the_owner_of_a_data_directory_as_its_user(state: State) -> None:
    nobody = account._find("nobody")
    assert nobody is not None
    state.database.mkdir()
    nobody.own(state.database)
    assert unprivileged(state.database) == nobody
