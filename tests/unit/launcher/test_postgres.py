"""The embedded PostgreSQL, made for real (a second of work)."""

from __future__ import annotations

import errno
import signal
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from launcher.account import Account
from launcher.complaint import CannotStart
from launcher.postgres import SUPERUSER, EmbeddedPostgres, environment
from launcher.programs import POSTGRES_PARTS
from launcher.state import State
from tests.waiting import wait_until


@pytest.fixture
def server(state: State, embedded_bindir: Path, account: Account | None) -> EmbeddedPostgres:
    state.root.chmod(0o755)
    state.secrets.mkdir(0o700)
    return EmbeddedPostgres(embedded_bindir, state.database, state.database_socket, state.secrets, account, {"fsync": "off"})


@pytest.fixture
def running(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    server.prepare()
    options = server.account.popen() if server.account else {}
    process = subprocess.Popen(server.server_argv(), cwd="/", env=environment(), stderr=subprocess.DEVNULL, **options)
    wait_until(server.ready, "PostgreSQL", 30)
    yield server
    process.send_signal(signal.SIGQUIT)
    process.wait(30)


def it_lets_the_panel_own_its_database_and_nothing_else(running: EmbeddedPostgres) -> None:
    with psycopg.connect(running.url()) as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = current_user"
        )
        assert rights.fetchone() == (False, False, False, False)
        owner = connection.execute(
            "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'pgreplica'"
        )
        assert owner.fetchone() == ("pgreplica", "UTF8")


def it_listens_on_a_private_socket_only_and_asks_for_passwords(running: EmbeddedPostgres) -> None:
    with psycopg.connect(running.url(SUPERUSER, "postgres")) as connection:
        shown = connection.execute("SELECT current_setting('listen_addresses'), current_setting('password_encryption')").fetchone()
        methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        verifiers = connection.execute("SELECT left(rolpassword, 13) FROM pg_authid WHERE rolpassword IS NOT NULL").fetchall()
    assert (shown, methods, verifiers) == (("", "scram-sha-256"), [("scram-sha-256",)], [("SCRAM-SHA-256",)] * 2)
    assert stat.S_IMODE(running.socket_directory.stat().st_mode) == 0o700
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(host=str(running.socket_directory), user=SUPERUSER, dbname="postgres")


def it_keeps_passwords_in_files_of_its_own(server: EmbeddedPostgres) -> None:
    server.prepare()
    kept = {path.name: stat.S_IMODE(path.stat().st_mode) for path in server.secrets_directory.iterdir()}
    assert kept == {"postgres.password": 0o600, "pgreplica.password": 0o600}
    assert {path.name for path in server.directory.iterdir()} == {"data"}


def it_makes_the_data_directory_again_when_it_was_not_finished(server: EmbeddedPostgres) -> None:
    (server.directory / "data.unfinished").mkdir(parents=True)
    (server.directory / "data.unfinished" / "half").touch()
    server.prepare()
    before = (server.data / "PG_VERSION").stat().st_mtime_ns
    server.prepare()
    assert (server.data / "PG_VERSION").stat().st_mtime_ns == before
    assert not (server.data / "half").exists()


def it_refuses_a_database_of_another_major_version(server: EmbeddedPostgres) -> None:
    server.prepare()
    (server.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(CannotStart) as refused:
        server.prepare()
    assert str(refused.value) == (
        f"the panel's database in {server.data} was made by PostgreSQL 17 and the embedded PostgreSQL is now 18. "
        f"Dump it with the old release of the panel, move {server.directory} aside and restore the dump."
    )


def failing(server: EmbeddedPostgres, state: State, said: str) -> EmbeddedPostgres:
    """A server whose initdb fails."""
    initdb = state.root / "bin" / "initdb"
    initdb.parent.mkdir()
    initdb.write_text(f"#!/bin/sh\necho 'initdb: error: {said}' >&2\necho 'initdb: removing data directory' >&2\nexit 1\n")
    initdb.chmod(0o755)
    return replace(server, bindir=initdb.parent)


def it_says_what_the_program_said_when_it_cannot_be_made(server: EmbeddedPostgres, state: State) -> None:
    with pytest.raises(CannotStart) as refused:
        failing(server, state, "not today").prepare()
    assert str(refused.value) == "the embedded PostgreSQL could not be made ready: initdb said: initdb: error: not today"


def it_tells_a_full_disk_apart(server: EmbeddedPostgres, state: State) -> None:
    with pytest.raises(OSError, match="No space left on device") as refused:
        failing(server, state, "could not write file: No space left on device").prepare()
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(state.database))


def it_copies_the_programs_with_their_libraries_beside_them(embedded_bindir: Path) -> None:
    root = embedded_bindir.parents[2]
    assert all((root / part).is_dir() for part in POSTGRES_PARTS)
    assert embedded_bindir == root / POSTGRES_PARTS[0] / "bin"
    assert {stat.S_IMODE(path.stat().st_mode) for path in embedded_bindir.iterdir()} == {0o755}
