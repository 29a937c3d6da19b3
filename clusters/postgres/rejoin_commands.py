"""The command lines that only a rejoin and its kept copies need. Nothing is run here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from clusters.postgres.command import Command
from clusters.postgres.commands import pg_waldump, program
from clusters.postgres.containers import USERS
from clusters.postgres.names import SUPERUSER
from clusters.postgres.parsers import Lsn
from clusters.postgres.spec import CONTAINER_SOCKETS, InstanceSpec
from clusters.postgres.statements import Call, Statement, Value
from clusters.postgres.waldump import FILTER, Relation

#: pg_waldump, and what of its output says anything. It ends with an error wherever the WAL ends, so the error is read, not the exit code;
#: but 125 and more say that it did not run at all (docker's and the shell's), and that says nothing about the WAL.
_WAL_READ: Final = (
    'filter=$1; shift; exec 4>&1; status=$({ { "$@" 2>&1; echo "$?" >&3; } | awk "$filter" >&4; } 3>&1); '
    '[ "$status" -lt 125 ] || { echo "it did not run, exit status $status" >&2; exit 1; }'
)

#: A copy that grows beside what it copies, on disk when it ends. GNU's cp shares the blocks where the file system can.
_COPY: Final = (
    'case "$(cp --version 2>/dev/null)" in *coreutils*) share=--reflink=auto;; *) share=;; esac; '
    'mkdir -p "$2" && cp -a "$1" "$2/conf" || exit; cp -a $share "$3" "$2/growing" & copying=$!; seconds=0; '
    'while kill -0 "$copying" 2>/dev/null; do sleep 0.2; seconds=$((seconds + 1)); '
    '[ $((seconds % 5)) -ne 0 ] || echo "copied $(du -sk "$2/growing" 2>/dev/null | cut -f 1) kB"; done; '
    'wait "$copying" && rm -f "$2/growing/postmaster.pid" && { sync -f "$2" 2>/dev/null || sync; }'
)


def wal_read(spec: InstanceSpec, timeline: int, start: Lsn, end: Lsn | None = None) -> Command:
    """Prints the records that `waldump.WalReader` needs, of the instance's own WAL."""
    dump = pg_waldump(spec, timeline, str(start), str(end) if end is not None else None)
    return Command(("sh", "-c", _WAL_READ, "pgreplica", FILTER, *dump.argv), purpose=dump.purpose)


def copy_data(spec: InstanceSpec, directory: str) -> Command:
    """A full copy of the data directory as `<directory>/growing`, and of the settings as `<directory>/conf`, on disk when it ends."""
    argv = ("sh", "-c", _COPY, "pgreplica", spec.conf_directory, directory, spec.data_directory)
    return Command(argv, purpose=f"Keep a full copy of the data of {spec.name}")


def copy_conf(spec: InstanceSpec, directory: str) -> Command:
    """The settings beside data that is put aside, so that it can be read later, whatever becomes of the instance."""
    argv = ("sh", "-c", '[ -e "$2" ] || cp -a "$1" "$2"', "pgreplica", spec.conf_directory, f"{directory}/conf")
    return Command(argv, purpose=f"Keep the settings of {spec.name} beside its old data")


def recover_alone(spec: InstanceSpec) -> Command:
    """Crash recovery and a clean end without ever accepting a connection: pg_rewind wants a server that was stopped cleanly."""
    options = ("-c", f"config_file={spec.config_file}", "-c", "synchronous_standby_names=")
    argv = program(spec, "postgres", "--single", "-D", spec.data_directory, *options, "template1")
    return Command(argv, purpose=f"Recover {spec.name} from its crash, on its own")


def read_by_hand(bindir: str, directory: str, data: str, socket_directory: str, port: int) -> str:
    """How a person reads a kept copy beside the running cluster: over a socket of its own, followed by nobody, following nobody."""
    start = _started_alone(f"{bindir}/", directory, data, socket_directory, port)
    return f"mkdir -p -m 700 {shlex.quote(socket_directory)} && {start} && {_psql_there(f'{bindir}/', socket_directory, port)}"


def read_in_container(image: str, user: str, directory: str, data: str, port: int) -> str:
    """The same in a container of its own, which is gone when psql ends. `image` empty: of the version that the data says."""
    chosen = shlex.quote(image) if image else f'postgres:"$(cat {shlex.quote(data)}/PG_VERSION)"'
    mounts = (
        USERS,
        f"--mount=type=bind,source={directory},target={directory}",
    )
    start, psql = _started_alone("", directory, data, CONTAINER_SOCKETS, port), _psql_there("", CONTAINER_SOCKETS, port)
    script = f"{start} && {psql}; pg_ctl stop -D {shlex.quote(data)}"
    words = ("docker", "run", "--rm", "--interactive", "--tty", "--network=none", f"--user={user}", *mounts, "--entrypoint=sh")
    return f"{shlex.join(words)} {chosen} -c {shlex.quote(script)}"


def _started_alone(programs: str, directory: str, data: str, socket_directory: str, port: int) -> str:
    options = (
        *(f"config_file={directory}/conf/postgresql.conf", f"hba_file={directory}/conf/pg_hba.conf", f"port={port}", "listen_addresses="),
        *(f"unix_socket_directories={socket_directory}", "primary_conninfo=", "primary_slot_name=", "synchronous_standby_names="),
        *("archive_mode=off", "default_transaction_read_only=on"),
    )
    words = " ".join(f"-c {shlex.quote(option)}" for option in options)
    return shlex.join((f"{programs}pg_ctl", "start", "-D", data, "-l", f"{directory}/read.log", "-o", words))


def _psql_there(programs: str, socket_directory: str, port: int) -> str:
    return shlex.join((f"{programs}psql", f"host={socket_directory} port={port} user={SUPERUSER} dbname={SUPERUSER}"))


DATABASES: Final = Statement(
    "databases",
    "Read the names of the databases",
    "SELECT oid || ' ' || pg_catalog.to_json(datname::text) FROM pg_catalog.pg_database WHERE datallowconn",
    "superuser",
)
RELATION_NAMES: Final = Statement(
    "relation_names",
    "Read which table files belong to; an index and a TOAST table count as their table",
    """
SELECT wal.tablespace || '/' || wal.file || ' ' || pg_catalog.to_json(pg_catalog.format('%I.%I', space.nspname, owner.relname))
FROM unnest({tablespaces}::oid[], {files}::oid[]) AS wal (tablespace, file)
JOIN pg_catalog.pg_class AS found ON found.oid = pg_catalog.pg_filenode_relation(wal.tablespace, wal.file)
LEFT JOIN pg_catalog.pg_index AS index ON index.indexrelid = found.oid
LEFT JOIN pg_catalog.pg_class AS toasted ON toasted.reltoastrelid = coalesce(index.indrelid, found.oid)
JOIN pg_catalog.pg_class AS owner ON owner.oid = coalesce(toasted.oid, index.indrelid, found.oid)
JOIN pg_catalog.pg_namespace AS space ON space.oid = owner.relnamespace""",
    "superuser",
)


def relation_names(database: str, relations: Sequence[Relation]) -> Call:
    """Rows such as `1663/16385 "public.orders"`."""
    literals: dict[str, Value] = {
        "tablespaces": "{" + ",".join(str(relation.tablespace) for relation in relations) + "}",
        "files": "{" + ",".join(str(relation.file) for relation in relations) + "}",
    }
    return Call(RELATION_NAMES, {}, literals, database)
