"""How a PostgreSQL that is not the panel's own is asked: psql over its own socket, as who owns its data; read only.

Answers are JSON in Base64, so that no row can be longer than a line may be and none can hold a line break. What is secret
is cut off by the statement itself: a password in a setting, the hash of a role, an option of pg_hba.conf.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from clusters.postgres.command import ENGLISH, Command
from clusters.postgres.facts import Unreadable
from clusters.postgres.names import SUPERUSER
from clusters.postgres.observe import SETTINGS
from clusters.postgres.statements import SAFE_PATH, Call, Statement
from clusters.secrets import Secret

SECONDS: Final = 15
#: No statement of a look changes anything, whatever it says; none holds anybody up for long.
READ_ONLY: Final = f"-c default_transaction_read_only=on -c statement_timeout={SECONDS}s -c lock_timeout=2s {SAFE_PATH}"
#: Of one answer; more is refused, not cut.
ANSWER_BYTES: Final = 700_000
#: Beside what every look at an instance reads.
MORE_SETTINGS: Final = (
    *SETTINGS,
    *(
        "archive_command",
        "archive_library",
        "config_file",
        "data_checksums",
        "fsync",
        "hba_file",
        "listen_addresses",
        "password_encryption",
    ),
    *("port", "ssl", "unix_socket_directories"),
)
#: What of a connection string may be known; whatever else stands in it, a password too, is left out.
CONNINFO_WORDS: Final = ("host", "hostaddr", "port", "user", "application_name", "passfile", "sslmode")
_LOOK: Final = (Path(__file__).parent / "look.sh").read_text()

FOUND: Final = Statement(
    "found",
    "Look at the settings, the logins and the roles of an instance that was found",
    r"""
SELECT json_build_object(
    'settings', (SELECT json_object_agg(name, setting) FROM pg_catalog.pg_settings WHERE name = ANY ({settings}::text[])),
    'sources', (SELECT json_object_agg(name, coalesce(sourcefile, source)) FROM pg_catalog.pg_settings
        WHERE name = ANY ({settings}::text[]) OR name = 'primary_conninfo'),
    'conninfo', (SELECT json_object_agg(key, coalesce(match[1], match[2])) FROM pg_catalog.pg_settings,
        unnest({words}::text[]) AS key,
        regexp_match(
            regexp_replace(setting, '(^|\s)password\s*=\s*(''(\\.|[^''\\])*''|(\\.|[^\s\\])*)', '\1', 'g'),
            '(?:^|\s)' || key || '\s*=\s*(?:''((?:\\.|[^''\\])*)''|([^\s'']+))') AS match
        WHERE name = 'primary_conninfo' AND setting !~ '^postgres(ql)?://' AND match IS NOT NULL),
    'conninfo_password', (SELECT setting ~ '(^|[\s?&])password\s*=' OR setting ~ '^postgres(ql)?://[^/@]*:[^/@]*@'
        FROM pg_catalog.pg_settings WHERE name = 'primary_conninfo'),
    'hba', (SELECT coalesce(json_agg(row_to_json(line)), '[]') FROM (
        SELECT line_number AS number, type AS kind, database AS databases, user_name AS users, address, netmask,
               auth_method AS method, error
        FROM pg_catalog.pg_hba_file_rules ORDER BY line_number LIMIT 300) AS line),
    'hba_text', regexp_replace(left(pg_catalog.pg_read_file(pg_catalog.current_setting('hba_file')), 65536),
        '(ldapbindpasswd|radiussecrets)\s*=\s*("[^"]*"|\S+)', '\1=********', 'g'),
    'file_errors', (SELECT coalesce(json_agg(concat_ws(' ', sourcefile || ':' || sourceline, name, error)), '[]') FROM (
        SELECT * FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL LIMIT 20) AS line),
    'roles', (SELECT coalesce(json_agg(row_to_json(role)), '[]') FROM (
        SELECT rolname AS name, rolsuper AS superuser, rolreplication AS replication,
               CASE WHEN rolpassword IS NULL THEN 'none' WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram' ELSE 'md5' END AS password
        FROM pg_catalog.pg_authid WHERE rolcanlogin ORDER BY rolsuper DESC, rolreplication DESC, rolname LIMIT 100) AS role),
    'databases', (SELECT coalesce(json_agg(json_build_array(datname, owner)), '[]') FROM (
        SELECT datname, pg_catalog.pg_get_userbyid(datdba) AS owner FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate
        ORDER BY datname = 'postgres', pg_catalog.pg_database_size(oid) DESC LIMIT 50) AS base)
) AS found""",
    "superuser",
)


@dataclass(frozen=True)
class Door:
    """How one is asked: in its container, or where its programs are on the server."""

    container: str  # empty: a process of the server
    user: str  # uid:gid of who owns the data, as the container knows it
    superuser: str
    socket: str
    port: int
    bindir: str = ""

    def inside(self, *argv: str, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """A program where the instance is, as who owns its data."""
        if not self.container:
            return argv
        words = [f"--env={name}={value}" for name, value in {**ENGLISH, **(env or {})}.items()]
        return ("docker", "exec", "--interactive", f"--user={self.user}", *words, self.container, *argv)

    def psql(self, script: str | Secret, purpose: str, database: str = SUPERUSER, *, changes: bool = False) -> Command:
        """A script on standard input; what it prints are values, one a line. Unless it `changes`, it cannot change anything."""
        env = {} if changes else {"PGOPTIONS": READ_ONLY}
        argv = (*self.superuser_psql(env), f"--dbname={database}")
        return Command(argv, stdin=script, env={**ENGLISH, **({} if self.container else env)}, purpose=purpose)

    def superuser_psql(self, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """psql as the superuser, without a database."""
        where = (f"--host={self.socket}", f"--port={self.port}", f"--username={self.superuser}")
        program = f"{self.bindir}/psql" if self.bindir else "psql"
        options = ("--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self.inside(program, *options, *where, env=env)


def found_call() -> Call:
    literals = {"settings": "{" + ",".join(MORE_SETTINGS) + "}", "words": "{" + ",".join(CONNINFO_WORDS) + "}"}
    return Call(FOUND, {}, literals)


def look(data_directory: str) -> tuple[str, ...]:
    return ("sh", "-c", _LOOK, "pgreplica", data_directory)


def wrapped(call: Call) -> str:
    """The statement as one that answers with all its rows as one value."""
    rows = sql.SQL("SELECT encode(convert_to(coalesce(json_agg(row_to_json(each)), '[]')::text, 'UTF8'), 'base64') FROM ({}) AS each")
    return rows.format(call.render()).as_string(None)


def unwrapped(said: str) -> list[dict[str, Any]]:
    """The rows of `wrapped`'s answer. Raises: Unreadable for what is none."""
    text = "".join(said.split())
    if len(text) > ANSWER_BYTES:
        raise Unreadable("the answer", f"{len(text)} bytes, more than {ANSWER_BYTES}")
    try:
        rows = json.loads(base64.b64decode(text, validate=True).decode("utf-8", "replace"))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Unreadable("the answer", said[:80]) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unreadable("the answer", said[:80])
    return rows
