"""A real pair on loopback, made with this package's files, commands and statements only: no hosts, no panel."""

from __future__ import annotations

import os
import subprocess
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from clusters.postgres import commands, files, guard, names, statements
from clusters.postgres.command import Command
from clusters.postgres.facts import InstanceFacts, parse_version
from clusters.postgres.files import File
from clusters.postgres.observe import observe_call
from clusters.postgres.quoting import uri
from clusters.postgres.spec import InstanceSpec, Member, Upstream
from clusters.postgres.statements import Call
from clusters.secrets import Secret
from launcher.account import Account
from tests.ports import free_port

#: Names and passwords that would break any sink which did not quote them.
DATABASE = "da\"ta' b=\\c $(id) é #,"
OWNER = "ow\"n'er; $body$ \\x %s :y"
SUPERUSER_PASSWORD = Secret("su'per\\user: $x `id` %s 😀")
OWNER_PASSWORD = Secret("ow\"n'er:\\ @/#?%20 é")
REPLICATION_PASSWORD = Secret("re:pl\\ica'tion ① password")
PANEL_PASSWORD = Secret("panel пароль \u00a0 with spaces ")


class Pair:
    """alpha (primary) and beta (its standby, once `clone` has run)."""

    def __init__(self, directory: Path, bindir: Path, account: Account | None) -> None:
        self.account = account
        alpha, beta = (Member(name, "127.0.0.1", free_port()) for name in ("alpha", "beta"))
        self.slot = names.slot_name("orders", "beta")
        common: dict[str, Any] = {
            "cluster": "orders",
            "server": "here",
            "base_directory": str(directory),
            "bindir": str(bindir),
            "major": parse_version(self.run(Command((f"{bindir}/postgres", "--version")))).major,
            "database": DATABASE,
            "owner_role": OWNER,
            "replication_role": "replicator",
            "panel_role": "pgreplica_panel",
            "members": (alpha, beta),
            "client_networks": ("127.0.0.0/8",),
            "settings": {"shared_buffers": "16MB", "search_path": "\"$user\", public, 'it''s\\x'", "log_line_prefix": "%m '\\# "},
        }
        at = {"address": "127.0.0.1"}
        self.alpha = InstanceSpec(name="alpha", port=alpha.port, role="primary", upstream=None, **at, **common)
        upstream = Upstream("alpha", alpha.address, alpha.port, self.slot)
        self.beta = InstanceSpec(name="beta", port=beta.port, role="standby", upstream=upstream, **at, **common)

    def create(self) -> None:
        """A new cluster on alpha, every object made twice: what is there already is no error."""
        self.prepare(self.alpha)
        self.put(files.render_pwfile(self.alpha, SUPERUSER_PASSWORD))
        self.run(commands.initdb(self.alpha, self.alpha.pwfile))
        self.run(commands.postgres_check(self.alpha))
        self.run(commands.pg_ctl_start(self.alpha))
        roles = statements.role_calls(self.alpha, OWNER_PASSWORD, REPLICATION_PASSWORD, PANEL_PASSWORD)
        objects = [*statements.grant_calls(self.alpha), *statements.database_calls(self.alpha), *statements.schema_calls(self.alpha)]
        for _twice in range(2):
            for database, calls in groupby((*roles, *objects), key=lambda call: call.database):
                self.run(commands.psql(self.alpha, statements.script(*calls), database))

    def clone(self) -> None:
        """beta, cloned from alpha in the order of the workflow."""
        self.prepare(self.beta)
        self.run(commands.replication_login(self.beta))
        create = statements.render(statements.CREATE_SLOT, {"slot": self.slot}).as_string(None)
        self.run(commands.replication_psql(self.beta, create))
        target = self.beta.clone_directory(1)
        self.run(commands.pg_basebackup(self.beta, target))
        self.run(commands.pg_verifybackup(self.beta, target))
        self.put(files.standby_signal(target))
        os.rename(target, self.beta.data_directory)
        self.run(commands.postgres_check(self.beta))
        self.run(commands.pg_ctl_start(self.beta))

    def prepare(self, spec: InstanceSpec) -> None:
        parent = str(Path(spec.data_directory).parent)
        for path in (spec.socket_directory, spec.conf_directory, spec.secrets_directory, spec.log_directory, parent):
            self.make_directory(Path(path))
        self.put(
            files.render_superuser_passfile(spec, SUPERUSER_PASSWORD), *files.files_of(spec, REPLICATION_PASSWORD), *guard.guard_files(spec)
        )

    def make_directory(self, path: Path) -> None:
        if not path.exists():
            self.make_directory(path.parent)
            path.mkdir(mode=0o700)
            self.own(path)

    def put(self, *written: File) -> None:
        for file in written:
            path = Path(file.path)
            self.make_directory(path.parent)
            path.write_text(file.content)
            path.chmod(file.mode)
            self.own(path)

    def own(self, path: Path) -> None:
        if self.account:
            self.account.own(path)

    def run(self, command: Command, expected: int = 0) -> str:
        """What the program prints, both channels; it must end with the expected exit code."""
        finished = subprocess.run(
            command.argv,
            input=command.stdin_bytes() or b"",
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **command.env},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
            **(self.account.popen() if self.account else {}),
        )
        output = finished.stdout.decode()
        assert finished.returncode == expected, f"{command.display()}\n{output}"
        return output

    def psql(self, *calls: Call) -> str:
        """The superuser over alpha's socket."""
        return self.run(commands.psql(self.alpha, statements.script(*calls), calls[0].database))

    def panel(self, spec: InstanceSpec, call: Call) -> list[dict[str, Any]]:
        with self.connect(spec, spec.panel_role, "postgres", PANEL_PASSWORD) as session:
            return session.execute(call.render()).fetchall()

    def connect(self, spec: InstanceSpec, user: str, database: str, password: Secret) -> psycopg.Connection[dict[str, Any]]:
        where = uri([spec.member], user, database, password, connect_timeout="10").reveal()
        return psycopg.connect(where, autocommit=True, row_factory=dict_row)

    def observe(self, spec: InstanceSpec) -> InstanceFacts:
        return InstanceFacts.from_row(self.panel(spec, observe_call(spec.major, with_size=True))[0]["facts"])

    def stop(self) -> None:
        for spec in (self.beta, self.alpha):
            if (Path(spec.data_directory) / "postmaster.pid").exists():
                self.run(commands.pg_ctl_stop(spec, "immediate"))
