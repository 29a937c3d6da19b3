"""The command line of every PostgreSQL program the panel uses. Nothing is run here, and no secret is ever an argument."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from clusters.postgres import containers
from clusters.postgres.command import Command, StopMode
from clusters.postgres.names import SUPERUSER
from clusters.postgres.quoting import conninfo
from clusters.postgres.spec import InstanceSpec, Upstream
from clusters.secrets import Secret


def program(spec: InstanceSpec, name: str, *arguments: str, network: bool = False) -> tuple[str, ...]:
    """A PostgreSQL program beside the server: of the server's own, or of the image. `network`: it must reach other servers."""
    if spec.container:
        return containers.one_shot(spec, name, *arguments, network=network)
    return (f"{spec.bindir}/{name}", *arguments)


def postgres_version(spec: InstanceSpec) -> Command:
    argv = containers.version(spec) if spec.container else program(spec, "postgres", "--version")
    return Command(argv, purpose="Read the version of the PostgreSQL programs")


def initdb(spec: InstanceSpec, pwfile: str, locale: str = "C.UTF-8") -> Command:
    """A new data directory with checksums, whose text sorts the same on every machine.

    PostgreSQL 17 and later carry C.UTF-8 themselves (chapter "Locale Support"); earlier ones take the system's, which
    sorts by code point too. `locale="C"` is for systems without it.
    """
    builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    return Command(
        program(
            spec,
            "initdb",
            f"--pgdata={spec.data_directory}",
            f"--username={SUPERUSER}",
            f"--pwfile={pwfile}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *(builtin if spec.major >= 17 else (f"--locale={locale}",)),
            "--data-checksums",
            "--no-instructions",
        ),
        purpose="Make the data directory",
    )


def postgres_check(spec: InstanceSpec) -> Command:
    """Has PostgreSQL read the configuration without starting; a wrong value ends it with exit code 1 and the reason."""
    argv = program(spec, "postgres", "-D", spec.data_directory, "-c", f"config_file={spec.config_file}", "-C", "config_file")
    return Command(argv, purpose="Check the configuration files")


def pg_ctl_start(spec: InstanceSpec, timeout: int = 60) -> Command:
    """Starts the server and waits until it accepts connections (a standby: until it is consistent), at most `timeout` seconds.

    What pg_ctl starts is the start guard, which becomes the server when nothing speaks against it. pg_ctl hands the text after
    --options to a shell, so it is quoted for one.
    """
    if spec.container:
        return containers.start(spec, timeout)
    options = f"-c config_file={shlex.quote(spec.config_file)}"
    return _pg_ctl(
        *(spec, "start", "-p", spec.guard_program, f"--log={spec.log_file}", f"--options={options}"),
        *("--wait", f"--timeout={timeout}"),
        purpose=f"Start {spec.name}",
    )


def pg_ctl_stop(spec: InstanceSpec, mode: StopMode = "fast", timeout: int = 60) -> Command:
    if spec.container:
        return containers.stop(spec, mode, timeout)
    return _pg_ctl(spec, "stop", f"--mode={mode}", "--wait", f"--timeout={timeout}", purpose=f"Stop {spec.name}")


#: `pg_ctl stop --wait` looks ten times a second; a switchover cannot spare that. The lock file goes last, after the shutdown checkpoint.
_STOP_AND_READ: Final = (
    'if "$1/pg_ctl" stop --pgdata="$2" --mode=fast --no-wait >&2; then end=$(($(date +%s) + $3)); '
    'while [ -e "$2/postmaster.pid" ]; do sleep 0.005; looks=$((looks + 1)); '
    '[ $((looks % 50)) -ne 0 ] || [ "$(date +%s)" -lt "$end" ] || break; done; fi; '
    'if [ -e "$2/postmaster.pid" ] && "$1/pg_ctl" status --pgdata="$2" >&2; then exit 9; fi; "$1/pg_controldata" --pgdata="$2"'
)
#: What `stop_and_read` exits with when the server had not stopped in time.
STILL_RUNNING: Final = 9


def stop_and_read(spec: InstanceSpec, seconds: int) -> Command:
    """Stops the server (fast), waits for its end in steps of 5 ms, and prints its control file, all in one go.

    Exit code 9: it had not stopped after `seconds`; it goes on stopping.
    """
    if spec.container:
        return containers.stop_and_read(spec, seconds)
    argv = ("sh", "-c", _STOP_AND_READ, "pgreplica", spec.bindir, spec.data_directory, str(seconds))
    return Command(argv, purpose=f"Stop {spec.name} and read where its WAL ends")


#: Ends processes of replication that a stopping server still waits for: only children of that server are touched.
_END_SENDERS: Final = (
    'parent=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || exit 0; { ps -eo pid=,ppid=,args= 2>/dev/null || ps -o pid,ppid,args; } | '
    'while read -r pid ppid args; do case $ppid:$args in "$parent":*walsender*) kill -s TERM "$pid";; esac; done'
)


def end_senders(spec: InstanceSpec) -> Command:
    """Ends the WAL senders of a server that cannot stop, since it waits for a standby that does not answer any more."""
    if spec.container:
        return containers.end_senders(spec)
    argv = ("sh", "-c", _END_SENDERS, "pgreplica", spec.data_directory)
    return Command(argv, purpose=f"End the WAL senders that {spec.name} waits for")


#: The postmaster is halted first, so that it starts nobody new; its children would go on acknowledging commits without it.
_KILL_SERVER: Final = (
    'parent=$(head -n 1 "$1/postmaster.pid") || exit 0; '
    'case "$(ps -o args= -p "$parent")" in *postgres*"$1"*) ;; *) exit 0 ;; esac; kill -s STOP "$parent"; '
    "{ ps -eo pid=,ppid= 2>/dev/null || ps -o pid,ppid; } | "
    'while read -r pid ppid; do [ "$ppid" != "$parent" ] || kill -s KILL "$pid"; done; kill -s KILL "$parent"'
)


def kill_server(spec: InstanceSpec) -> Command:
    """Ends a server that heeds no stop any more, with every process of it. Only a failover does this; committed work stays in its WAL."""
    if spec.container:
        return containers.kill(spec)
    return Command(("sh", "-c", _KILL_SERVER, "pgreplica", spec.data_directory), purpose=f"Kill {spec.name}, which heeds no stop")


def pg_ctl_status(spec: InstanceSpec) -> Command:
    """Exit code 0: a server runs in the data directory; 3: none; 4: no usable data directory."""
    if spec.container:
        return containers.status(spec)
    return _pg_ctl(spec, "status", purpose=f"See whether {spec.name} runs")


def pg_ctl_reload(spec: InstanceSpec) -> Command:
    if spec.container:
        return containers.reload(spec)
    return _pg_ctl(spec, "reload", purpose=f"Have {spec.name} read its files again")


def _pg_ctl(spec: InstanceSpec, verb: str, *options: str, purpose: str) -> Command:
    return Command((f"{spec.bindir}/pg_ctl", verb, f"--pgdata={spec.data_directory}", *options), purpose=purpose)


#: An upstream whose server has lost power says no farewell: without these a copy would wait for it for two hours.
_NOTICED: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def upstream_conninfo(spec: InstanceSpec, **more: str | int) -> str:
    """How this instance's server reaches its upstream as the replication role, with the password from the passfile."""
    upstream = _upstream(spec)
    return conninfo(
        {
            "host": upstream.address,
            "port": upstream.port,
            "user": spec.replication_role,
            "passfile": spec.passfile,
            "connect_timeout": 10,
            **_NOTICED,
            **more,
        }
    )


def pg_basebackup(spec: InstanceSpec, target_directory: str, max_rate: str | None = None) -> Command:
    """Copies the upstream into an empty directory, WAL included, through the standby's own slot.

    `max_rate` as pg_basebackup reads it: kB/s, or with the suffix k or M. Progress goes to stderr, a line a second
    (`facts.parse_basebackup_line`).
    """
    return Command(
        program(
            spec,
            "pg_basebackup",
            f"--pgdata={target_directory}",
            "--format=plain",
            "--wal-method=stream",
            f"--slot={_upstream(spec).slot}",
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
            f"--label=pgreplica {spec.cluster}/{spec.name}",
            *((f"--max-rate={max_rate}",) if max_rate else ()),
            "--progress",
            "--verbose",
            "--no-password",
            f"--dbname={upstream_conninfo(spec)}",
            network=True,
        ),
        purpose=f"Copy {_upstream(spec).name} to {spec.server}",
    )


def pg_verifybackup(spec: InstanceSpec, directory: str) -> Command:
    """Compares every copied file with the manifest, and reads the WAL that the copy needs (with pg_waldump)."""
    return Command(program(spec, "pg_verifybackup", directory), purpose="Verify the copy against its manifest")


def pg_controldata(spec: InstanceSpec, directory: str | None = None) -> Command:
    """`facts.parse_controldata` reads what it prints."""
    return Command(
        program(spec, "pg_controldata", f"--pgdata={directory or spec.data_directory}"), purpose=f"Read the control file of {spec.name}"
    )


def pg_rewind(spec: InstanceSpec, dry_run: bool = False) -> Command:
    """Makes the data directory a copy of the upstream again, from their last common checkpoint on. The server must be stopped.

    What it needs of the source's role: `statements.GRANT_REWIND`. A killed rewind leaves a directory that must not be started
    (pg_rewind's manual page, "Notes").
    """
    more = (f"--config-file={spec.config_file}",) if spec.major >= 15 else ()
    source = upstream_conninfo(spec, dbname=SUPERUSER, application_name=f"{spec.name}-rewind")
    return Command(
        program(
            spec,
            "pg_rewind",
            f"--target-pgdata={spec.data_directory}",
            f"--source-server={source}",
            *more,
            *(("--dry-run",) if dry_run else ()),
            "--progress",
            network=True,
        ),
        purpose=f"Rewind {spec.name} to what {_upstream(spec).name} has",
    )


#: A server that lost power may leave a file that was made for later and is all zeros. pg_waldump reads the size of WAL files from
#: whichever it finds first, and gives up on such a one; so it gets to see the others only.
_WALDUMP: Final = (
    'seen=$(mktemp -d) || exit 125; program=$1 wal=$2; shift 2; for each in "$wal"/[0-9A-F][0-9A-F][0-9A-F][0-9A-F]*; do '
    '[ "$(head -c 32 "$each" | tr -d "\\000" | wc -c)" -eq 0 ] || ln -s "$each" "$seen"; done; '
    '"$program" --path="$seen" "$@"; status=$?; rm -rf "$seen"; exit "$status"'
)


def pg_waldump(spec: InstanceSpec, timeline: int, start: str, end: str | None = None) -> Command:
    """Prints every record of the instance's own WAL from `start` on; `waldump.lost_writes` reads it.

    It ends with an error where the WAL ends: that is how the end is found.
    """
    wal, limits = f"{spec.data_directory}/pg_wal", (f"--timeline={timeline}", f"--start={start}", *((f"--end={end}",) if end else ()))
    name = "pg_waldump" if spec.container else f"{spec.bindir}/pg_waldump"
    words = ("-c", _WALDUMP, "pgreplica", name, wal, *limits)
    return Command(
        containers.one_shot(spec, "sh", *words) if spec.container else ("sh", *words),
        purpose=f"Read the WAL of {spec.name} from {start} on",
        by_hand=shlex.join(program(spec, "pg_waldump", f"--path={wal}", *limits)),
    )


#: No start-up file, no question, bare rows, an end at the first error.
_BARE: Final = ("--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")


def psql(spec: InstanceSpec, script: str | Secret, database: str = SUPERUSER, purpose: str = "") -> Command:
    """Runs a script as the superuser over this instance's socket: no start-up file, stops at the first error, bare rows."""
    if spec.adopted_psql:
        return Command((*spec.adopted_psql, f"--dbname={database}"), stdin=script, purpose=purpose)
    words = (*_BARE, f"--dbname={_superuser_conninfo(spec, database)}")
    argv = containers.inside(spec, "psql", *words) if spec.container else program(spec, "psql", *words)
    return Command(argv, stdin=script, purpose=purpose)


def _superuser_conninfo(spec: InstanceSpec, database: str) -> str:
    """How a program beside the server reaches the superuser, over the socket."""
    return conninfo(
        {
            "host": spec.seen(spec.socket_directory),
            "port": spec.port,
            "user": SUPERUSER,
            "dbname": database,
            "passfile": spec.seen(spec.superuser_passfile),
            "application_name": "pgreplica",
        }
    )


#: What pg_amcheck ends with where it has found corruption.
CORRUPT: Final = 2


def pg_amcheck(spec: InstanceSpec, database: str, only: Sequence[str] = (), without: Sequence[str] = ()) -> Command:
    """Checks tables, and that every row is in their indexes; it takes no lock that a standby could not give. Patterns as in psql."""
    words = (
        *(f"--table={pattern}" for pattern in only),
        *(f"--exclude-table={pattern}" for pattern in without),
        *("--heapallindexed", "--no-password", _superuser_conninfo(spec, database)),
    )
    argv = containers.inside(spec, "pg_amcheck", *words) if spec.container else program(spec, "pg_amcheck", *words)
    return Command(argv, purpose=f"Look for corruption on {spec.name}")


def replication_psql(spec: InstanceSpec, command: str, purpose: str = "") -> Command:
    """Runs one replication command (IDENTIFY_SYSTEM, a slot's creation) on the upstream, from this instance's server."""
    where = upstream_conninfo(spec, dbname=SUPERUSER, replication="true", application_name=spec.name)
    return Command(program(spec, "psql", *_BARE, f"--dbname={where}", f"--command={command}", network=True), purpose=purpose)


def replication_login(spec: InstanceSpec) -> Command:
    """A real replication login from the standby's place. Prints system identifier, timeline, LSN (`facts.parse_identify_system`)."""
    return replication_psql(spec, "IDENTIFY_SYSTEM", purpose=f"Log in to {_upstream(spec).name} as the replication role")


def _upstream(spec: InstanceSpec) -> Upstream:
    assert spec.upstream is not None, f"{spec.name} has no upstream"
    return spec.upstream
