"""The panel's embedded PostgreSQL: small, on a unix socket only, with passwords (scram)."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from launcher.account import Account
from launcher.complaint import CannotStart

SUPERUSER = "postgres"
PANEL = "pgreplica"  # the panel's role and its database
PORT = 5432  # names the socket; nothing listens on it
PG_ISREADY_ACCEPTS, PG_ISREADY_REJECTS = 0, 1  # its exit codes; 2: nobody answers
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "80",
    "shared_buffers": "64MB",
    "io_method": "sync",  # no worker processes of its own
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "max_wal_size": "256MB",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "",
    "log_min_messages": "fatal",  # errors of statements reach the process that sent them
}


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One embedded server: its data in `directory`/data, its socket in `socket_directory`.

    `account` is the user it runs as (None: ourselves); the two passwords lie in `secrets_directory`, 0600.
    """

    bindir: Path
    directory: Path
    socket_directory: Path
    secrets_directory: Path
    account: Account | None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, role: str = PANEL, database: str = PANEL) -> str:
        host = quote(str(self.socket_directory), safe="")
        return f"postgresql://{role}:{self._password(role)}@{host}:{PORT}/{database}"

    def server_argv(self) -> list[str]:
        options = SETTINGS | {"unix_socket_directories": str(self.socket_directory)} | dict(self.settings)
        return [str(self.bindir / "postgres"), "-D", str(self.data), *(f"--{name}={value}" for name, value in options.items())]

    def prepare(self) -> None:
        """Make the data directory, the roles and the panel's database, where they are missing. All or nothing."""
        for path in (self.directory, self.socket_directory):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
            if self.account:
                self.account.own(path)
        if not self.data.exists():
            self._create()
        self._check_version()

    def ready(self) -> bool:
        """True once it accepts connections."""
        return self._probe() == PG_ISREADY_ACCEPTS

    def _probe(self) -> int:
        return self._run("pg_isready", "-q", "-h", str(self.socket_directory), "-p", str(PORT)).returncode

    def stop_leftover(self) -> None:
        """Stop a server that an earlier panel left behind: it is still ending, or the system has no parent-death signal.

        Only one that is there at our own socket: the number in a stale postmaster.pid may be another program's by now.
        """
        if self._probe() in (PG_ISREADY_ACCEPTS, PG_ISREADY_REJECTS):
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w", "-t", "60")

    def _create(self) -> None:
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self.directory / "superuser.password"
        password_file.touch(0o600)
        password_file.write_text(self._password(SUPERUSER))
        if self.account:
            self.account.own(password_file)
        try:
            self._must(
                "initdb", "-D", str(unfinished), "-U", SUPERUSER, f"--pwfile={password_file}", "--auth=scram-sha-256",
                "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
            )  # fmt: skip
        finally:
            password_file.unlink()
        self._must(
            "postgres", "--single", "-D", str(unfinished), "-c", "log_min_messages=fatal", "postgres",
            stdin=f"CREATE ROLE {PANEL} LOGIN PASSWORD '{self._password(PANEL)}'\nCREATE DATABASE {PANEL} OWNER {PANEL}\n",
        )  # fmt: skip
        unfinished.rename(self.data)

    def _check_version(self) -> None:
        ours = self._must("postgres", "--version").split()[2].split(".")[0]
        theirs = (self.data / "PG_VERSION").read_text().strip()
        if ours != theirs:
            raise CannotStart(
                f"the panel's database in {self.data} was made by PostgreSQL {theirs} and the embedded PostgreSQL is now {ours}. "
                f"Dump it with the old release of the panel, move {self.directory} aside and restore the dump."
            )

    def _password(self, role: str) -> str:
        """The role's password from its file, made at the first call. Hexadecimal: it needs no quoting anywhere."""
        path = self.secrets_directory / f"{role}.password"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(24))
        return path.read_text().strip()

    def _must(self, program: str, *arguments: str, stdin: str = "") -> str:
        done = self._run(program, *arguments, stdin=stdin)
        if done.returncode != 0:
            if os.strerror(errno.ENOSPC) in done.stderr:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.directory))
            raise CannotStart(f"the embedded PostgreSQL could not be made ready: {program} said: {_reason(done)}")
        return done.stdout

    def _run(self, program: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bindir / program), *arguments],
            input=stdin, capture_output=True, text=True, check=False, timeout=120, cwd="/", env=environment(),
            **(self.account.popen() if self.account else {"umask": 0o077}),
        )  # fmt: skip


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The line that names the error, else the last one."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit code {done.returncode}"]
    return next((line for line in lines if re.search(r"error:|FATAL:|PANIC:", line)), lines[-1])


def environment() -> dict[str, str]:
    """What PostgreSQL's programs get: nothing of ours, so that no PG* variable or locale changes what they do."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
