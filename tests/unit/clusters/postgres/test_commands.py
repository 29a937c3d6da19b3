"""The exact command lines. Each is a list, never a shell line, and none holds a secret."""

from __future__ import annotations

import pytest

from clusters.postgres import commands
from clusters.postgres.command import Command
from clusters.secrets import Secret
from tests.unit.clusters.postgres.cast import alpha_spec, beta_spec

BIN = "/usr/lib/postgresql/16/bin"
DATA = "/var/lib/pgreplica/orders/{}/volumes/postgres/data"
NOTICED = "connect_timeout=10 keepalives_idle=10 keepalives_interval=5 keepalives_count=3"
UPSTREAM = f"host=10.0.0.5 port=5432 user=replicator passfile=/var/lib/pgreplica/orders/beta/secrets/passfile {NOTICED}"
PSQL = (f"{BIN}/psql", "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")

EXACT = [
    (commands.postgres_version(alpha_spec()), (f"{BIN}/postgres", "--version")),
    (
        commands.initdb(alpha_spec(), "/p"),
        (
            *(f"{BIN}/initdb", f"--pgdata={DATA.format('alpha')}", "--username=postgres", "--pwfile=/p", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions"),
        ),
    ),
    (
        commands.initdb(alpha_spec(major=18), "/p"),
        (
            *(f"{BIN}/initdb", f"--pgdata={DATA.format('alpha')}", "--username=postgres", "--pwfile=/p", "--auth=scram-sha-256"),
            *(
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--data-checksums",
                "--no-instructions",
            ),
        ),
    ),
    (
        commands.postgres_check(alpha_spec()),
        (
            *(f"{BIN}/postgres", "-D", DATA.format("alpha")),
            *("-c", "config_file=/var/lib/pgreplica/orders/alpha/conf/postgresql.conf", "-C", "config_file"),
        ),
    ),
    (
        commands.pg_ctl_start(alpha_spec(), 90),
        (
            *(f"{BIN}/pg_ctl", "start", f"--pgdata={DATA.format('alpha')}", "-p", "/var/lib/pgreplica/orders/alpha/guard/start"),
            "--log=/var/lib/pgreplica/orders/alpha/log/postgresql.log",
            *("--options=-c config_file=/var/lib/pgreplica/orders/alpha/conf/postgresql.conf", "--wait", "--timeout=90"),
        ),
    ),
    (
        commands.pg_ctl_stop(alpha_spec()),
        (f"{BIN}/pg_ctl", "stop", f"--pgdata={DATA.format('alpha')}", "--mode=fast", "--wait", "--timeout=60"),
    ),
    (commands.pg_ctl_status(alpha_spec()), (f"{BIN}/pg_ctl", "status", f"--pgdata={DATA.format('alpha')}")),
    (commands.pg_ctl_reload(alpha_spec()), (f"{BIN}/pg_ctl", "reload", f"--pgdata={DATA.format('alpha')}")),
    (
        commands.pg_basebackup(beta_spec(), "/t"),
        (
            *(
                f"{BIN}/pg_basebackup",
                "--pgdata=/t",
                "--format=plain",
                "--wal-method=stream",
                "--slot=pgr_orders_beta",
                "--checkpoint=fast",
            ),
            *(
                "--manifest-checksums=SHA256",
                "--label=pgreplica orders/beta",
                "--progress",
                "--verbose",
                "--no-password",
                f"--dbname={UPSTREAM}",
            ),
        ),
    ),
    (commands.pg_verifybackup(beta_spec(), "/t"), (f"{BIN}/pg_verifybackup", "/t")),
    (commands.pg_controldata(beta_spec()), (f"{BIN}/pg_controldata", f"--pgdata={DATA.format('beta')}")),
    (commands.pg_controldata(beta_spec(), "/t"), (f"{BIN}/pg_controldata", "--pgdata=/t")),
    (
        commands.psql(alpha_spec(), "SELECT 1;"),
        (
            *PSQL,
            "--dbname=host=/var/lib/pgreplica/.run/5432 port=5432 user=postgres dbname=postgres "
            "passfile=/var/lib/pgreplica/orders/alpha/secrets/superuser_passfile application_name=pgreplica",
        ),
    ),
    (
        commands.replication_login(beta_spec()),
        (*PSQL, f"--dbname={UPSTREAM} dbname=postgres replication=true application_name=beta", "--command=IDENTIFY_SYSTEM"),
    ),
]


@pytest.mark.parametrize(("command", "argv"), EXACT, ids=[f"{argv[0].rpartition('/')[2]}-{n}" for n, (_, argv) in enumerate(EXACT)])
def it_is_exactly(command, argv):
    assert command == Command(argv, stdin=command.stdin, env={"LC_ALL": "C"}, purpose=command.purpose)


@pytest.mark.parametrize("command", [command for command, _ in EXACT if command.argv[0] != "/b/postgres"])
def it_says_what_it_is_for(command):
    assert command.purpose or command.argv[0].endswith("/psql")


def it_caps_the_rate_on_request():
    capped, free = commands.pg_basebackup(beta_spec(), "/t", "50M").argv, commands.pg_basebackup(beta_spec(), "/t").argv
    assert [word for word in capped if word not in free] == ["--max-rate=50M"]


def it_takes_another_database_with_any_name():
    spec = alpha_spec(database="it's a \\db")
    assert r" dbname='it\'s a \\db' " in commands.psql(spec, "", spec.database).argv[-1]


def it_shows_a_line_for_a_shell():
    command = Command(("/bin/psql", "-c", "it's"), stdin="SELECT 'a b'", env={"LC_ALL": "C", "PGOPTIONS": "-c x=1"})
    assert command.display() == "PGOPTIONS='-c x=1' /bin/psql -c 'it'\"'\"'s' <<< 'SELECT '\"'\"'a b'\"'\"''"
    assert Command(("/bin/true",)).display() == "/bin/true"


def it_never_shows_a_secret():
    command = Command(("/bin/psql",), stdin=Secret("top secret"))
    assert "top secret" not in f"{command.display()}{command!r}{command.argv}"
    assert command.display() == "/bin/psql <<< ********"
    assert command.stdin_bytes() == b"top secret"


def it_feeds_text_as_it_is():
    assert Command(("/x",), stdin="é").stdin_bytes() == "é".encode()
    assert Command(("/x",)).stdin_bytes() is None


@pytest.mark.parametrize("of", [lambda spec: commands.pg_basebackup(spec, "/t"), commands.replication_login])
def it_cannot_follow_nobody(of):
    with pytest.raises(AssertionError, match="alpha has no upstream"):
        of(alpha_spec())
