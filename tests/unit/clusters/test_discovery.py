"""Finding PostgreSQL on servers whose answers nobody may trust."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from clusters import discovery
from clusters.hosts.engine import containers, programs_running
from clusters.hosts.machine import Finished, MachineUnreachable, VerbFailed
from clusters.models import Server
from clusters.postgres.asking import ANSWER_BYTES, Door, unwrapped
from clusters.postgres.facts import Unreadable
from tests.factories import ServerFactory
from tests.unit.clusters.postgres.pair import primary

pytestmark = pytest.mark.django_db

HOSTILE = "\x1b]8;;http://x\x07</pre><svg onload=alert(1)>\u202e\x00'; DROP TABLE x; --" + "A" * 5000
RECORD = {
    "container": "c1", "name": "/db", "image": "postgres:16", "image_id": "sha256:aa", "state": "running", "pid": 7, "started": "now",
    "restart": "always", "mounts": [{"Type": "bind", "Source": "/srv", "Destination": "/var/lib/postgresql/data"}],
    "ports": {"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5432"}], "x": None}, "network": "default", "entrypoint": ["entry"],
    "stop_seconds": None, "panel": "", "compose_directory": "/srv", "compose_files": "/srv/compose.yml", "compose_service": "postgres",
}  # fmt: skip
FOUND = {
    "settings": {"hba_file": "/data/pg_hba.conf"}, "sources": {}, "conninfo": None, "conninfo_password": False, "hba_text": "local all\n",
    "hba": [{"number": 1, "kind": "local", "databases": ["all"], "users": ["all"], "address": None, "netmask": None, "method": "trust",
             "error": None}],
    "file_errors": [], "roles": [{"name": "postgres", "superuser": True, "replication": True, "password": "scram"}],
    "databases": [["shop", "shop"]],
}  # fmt: skip
LOOK = "owner 999:999\nversion 16\npidfile 1\npidfile /data\npidfile 1\npidfile 5432\npidfile /tmp\nlibc musl\ninit directory x.sh\n"


def record_text(**changed: Any) -> str:
    lines = [f"{key} {json.dumps(value)}" for key, value in {**RECORD, **changed}.items()]
    return "\n".join([*lines, 'env "PGDATA"', 'env "POSTGRES_PASSWORD"', 'value "POSTGRES_USER=boss"'])


def encoded(rows: Any) -> str:
    return base64.encodebytes(json.dumps(rows).encode()).decode()


class Fake:
    """A machine that answers as it is told, and remembers what it was asked."""

    def __init__(self, listed: str = "", looked: str = LOOK, said: Callable[[str], str] | None = None) -> None:
        self.listed, self.looked, self.asked = listed or record_text(), looked, []
        self.said = said or (
            lambda script: encoded([{"found": FOUND}] if "pg_hba_file_rules" in script else [{"facts": primary().as_row()}])
        )
        self.programs = ""

    def owner(self) -> str:
        return "1000:1000"

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, env: Mapping[str, str] | None = None, timeout: float, **_more: Any
    ) -> Finished:
        self.asked.append(list(argv))
        if stdin is not None:
            return Finished(0, self.said(stdin.decode()), "")
        if any("docker ps" in word for word in argv):
            return Finished(0, self.listed, "")
        return Finished(0, self.programs if any("NSpid" in word for word in argv) else self.looked, "")


@pytest.fixture
def server() -> Server:
    return ServerFactory(name="alpha", address="10.0.0.5")


def found_by(monkeypatch: pytest.MonkeyPatch, server: Server, machine: Fake) -> discovery.Discovered:
    monkeypatch.setattr(discovery, "machine_of", lambda *_args, **_named: machine)
    return discovery.discover(server)


def it_asks_a_container_over_its_own_socket_and_read_only(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    machine = Fake()
    (found,) = found_by(monkeypatch, server, machine).found
    assert (found.label, found.superuser, found.user, found.libc, found.error) == ("alpha/db", "boss", "999:999", "musl", "")
    assert found.facts == primary()
    assert found.outer_port == 5432
    psql = next(argv for argv in machine.asked if "psql" in argv)
    assert psql[:5] == ["docker", "exec", "--interactive", "--user=999:999", "--env=LC_ALL=C"]
    assert "default_transaction_read_only=on" in psql[5]
    assert "--host=/tmp" in psql


def it_does_not_ask_what_is_the_panels_own_or_stopped(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    machine = Fake("\n".join([record_text(panel="instance"), record_text(container="c2", state="exited"), record_text(panel="tool")]))
    own, stopped = found_by(monkeypatch, server, machine).found
    assert (own.own, own.facts, stopped.state, stopped.facts) == ("instance", None, "exited", None)
    assert [argv for argv in machine.asked if "exec" in argv] == []


@pytest.mark.parametrize(
    "machine",
    [
        Fake(looked=""),
        Fake(looked=f"owner {HOSTILE}\nversion 16{'9' * 500}"),
        Fake(looked=HOSTILE * 50),
        Fake(said=lambda script: HOSTILE),
        Fake(said=lambda script: encoded(HOSTILE)),
        Fake(said=lambda script: encoded([{"facts": HOSTILE, "found": HOSTILE}])),
        Fake(said=lambda script: encoded([{"facts": {"version_num": 10**30}, "found": []}])),
        Fake(said=lambda script: encoded([])),
        Fake(said=lambda script: base64.b64encode(b'[{"facts": NaN}]').decode()),
        Fake(said=lambda script: base64.b64encode(b"[" * 100_000).decode()),
        Fake(said=lambda script: base64.b64encode(b" " * ANSWER_BYTES).decode()),
        Fake(said=lambda script: encoded([{"found": {**FOUND, "hba": [{"number": HOSTILE}]}, "facts": primary().as_row()}])),
        Fake(said=lambda script: encoded([{"found": {**FOUND, "roles": {"a": 1}}, "facts": primary().as_row()}])),
    ],
)
def it_tells_in_a_sentence_what_does_not_answer_as_postgresql_does(monkeypatch: pytest.MonkeyPatch, server: Server, machine: Fake) -> None:
    (found,) = found_by(monkeypatch, server, machine).found
    assert found.error
    assert found.facts is None or found.settings == {}
    assert_inert(found.as_row())


def it_makes_every_text_of_a_server_inert(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    hostile = {
        **FOUND, "settings": {HOSTILE: HOSTILE}, "hba_text": HOSTILE, "file_errors": [HOSTILE] * 50, "databases": [[HOSTILE, HOSTILE]],
        "roles": [{"name": HOSTILE, "superuser": HOSTILE, "replication": 1, "password": HOSTILE}],
    }  # fmt: skip
    machine = Fake(
        record_text(name=HOSTILE, image=HOSTILE, restart=HOSTILE, mounts=[{"Source": HOSTILE}] * 1000, ports={HOSTILE: HOSTILE}),
        said=lambda script: encoded([{"found": hostile, "facts": primary(version=HOSTILE).as_row()}]),
    )
    (found,) = found_by(monkeypatch, server, machine).found
    assert_inert(found.as_row())
    assert len(json.dumps(found.as_row())) < 3_000_000
    assert found.roles[0].superuser is False


def assert_inert(value: Any, key: str = "") -> None:
    if isinstance(value, str):
        assert all(char.isprintable() or (key == "hba_text" and char in "\n\t") for char in value), repr(value)
        assert len(value) <= (discovery.HBA_TEXT if key == "hba_text" else discovery.TEXT)
    elif isinstance(value, dict):
        for name, item in value.items():
            assert_inert(name)
            assert_inert(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            assert_inert(item, key)


def it_passes_a_container_over_whose_lines_are_no_json(server: Server) -> None:
    machine = Fake("container x\nname [[[\n" + record_text() + '\nenv {"a"\nmounts "no list"')
    (found,) = containers(machine)  # type: ignore[arg-type]
    assert (found.name, found.mounts, found.env) == ("db", (), {"PGDATA", "POSTGRES_PASSWORD"})


def it_says_that_an_engine_does_not_answer_and_goes_on(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    class Silent(Fake):
        def run(self, argv: Sequence[str], **more: Any) -> Finished:
            return Finished(9, "", HOSTILE) if any("docker ps" in word for word in argv) else super().run(argv, **more)

    with pytest.raises(VerbFailed):
        containers(Silent())  # type: ignore[arg-type]
    seen = found_by(monkeypatch, server, Silent())
    assert seen.found == []
    assert len(seen.problems) == 1
    assert_inert(seen.problems)


def it_leaves_out_processes_that_run_in_a_container() -> None:
    machine = Fake()
    machine.programs = "12 999 2 postgres\n13 999 1 /usr/bin/postgres\t-D\t/data\nx y z\n14 0\n"
    (found,) = programs_running(machine, "postgres")  # type: ignore[arg-type]
    assert (found.pid, found.uid, found.words) == (13, "999", ("/usr/bin/postgres", "-D", "/data"))


def it_tells_of_a_process_whose_user_the_panel_may_not_become(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    machine = Fake("")
    machine.listed, machine.programs = " ", "13 70 1 postgres\t-D\t/data\n"

    def raise_unreachable() -> None:
        raise MachineUnreachable("The panel may not act as 70.")

    monkeypatch.setattr(discovery, "_places", lambda _machine, _running: raise_unreachable())
    monkeypatch.setattr(discovery, "machine_of", lambda *_args, **_named: machine)
    found = discovery.discover(server).found
    assert [(each.name, each.error) for each in found][:1] == [("/data", "The panel may not act as 70.")]


def it_refuses_an_answer_that_is_too_long() -> None:
    with pytest.raises(Unreadable):
        unwrapped("A" * (ANSWER_BYTES + 1))


def it_never_gives_psql_a_password_or_a_word_of_the_statement() -> None:
    command = Door("db", "999:999", "postgres", "/tmp", 5432).psql("SELECT 'secret'", "look")
    assert "secret" not in " ".join(command.argv)
    assert "--no-password" in command.argv
