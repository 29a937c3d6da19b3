"""Every SQL statement the panel uses, each with a name and a purpose. `render` fills in names and values, quoted by psycopg.

Who runs what: `superuser` statements go to psql over the instance's socket (`commands.psql`); `panel` statements run as
the panel role over the network; `replication` ones are replication commands of the replication role
(`commands.replication_psql`). What only looks at an instance is in `observe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, LiteralString

from psycopg import sql

from clusters.postgres import scram
from clusters.postgres.names import SUPERUSER
from clusters.postgres.spec import InstanceSpec
from clusters.secrets import MASK, Secret

Value = str | int | bool | Secret
RunBy = Literal["superuser", "panel", "replication"]

#: The panel's own schema, in the database `postgres`.
SCHEMA: Final = "pgreplica"


@dataclass(frozen=True)
class Statement:
    """Named SQL. `{word}` in the text stands for a name or a value that `render` is given."""

    name: str
    purpose: str
    text: LiteralString
    run_by: RunBy = "panel"


def render(statement: Statement, identifiers: Mapping[str, str] | None = None, literals: Mapping[str, Value] | None = None) -> sql.Composed:
    """The statement with names as quoted identifiers and values as quoted literals; secrets in clear, for the server only."""
    parts: dict[str, sql.Composable] = {key: sql.Identifier(name) for key, name in (identifiers or {}).items()}
    for key, value in (literals or {}).items():
        parts[key] = sql.Literal(value.reveal() if isinstance(value, Secret) else value)
    return sql.SQL(statement.text).format(**parts)


def display(statement: Statement, identifiers: Mapping[str, str] | None = None, literals: Mapping[str, Value] | None = None) -> str:
    """The same text for people, secrets masked."""
    masked = {key: MASK if isinstance(value, Secret) else value for key, value in (literals or {}).items()}
    return render(statement, identifiers, masked).as_string(None)


@dataclass(frozen=True)
class Call:
    """A statement together with its names and values: what a plan lists and a script runs."""

    statement: Statement
    identifiers: Mapping[str, str]
    literals: Mapping[str, Value]
    database: str = SUPERUSER

    def render(self) -> sql.Composed:
        return render(self.statement, self.identifiers, self.literals)

    def display(self) -> str:
        return display(self.statement, self.identifiers, self.literals)


#: In a database where anybody may make functions and operators (PostgreSQL 14's public schema), the panel's roles call none of them.
#: Source: CVE-2018-1058, "A Guide to CVE-2018-1058" in the PostgreSQL wiki.
SAFE_PATH: Final = "-c search_path=pg_catalog"
SET_SAFE_PATH: Final = "SET search_path = pg_catalog;"


def script(*calls: Call) -> str | Secret:
    """One psql script of several calls on the same database, in order. A Secret as soon as one of its values is."""
    text = "".join(f"{line}\n" for line in (SET_SAFE_PATH, *(_ended(call.render().as_string(None)) for call in calls)))
    return Secret(text) if any(isinstance(value, Secret) for call in calls for value in call.literals.values()) else text


def _ended(text: str) -> str:
    return text if text.endswith("\\gexec") else f"{text};"


# -- Making a cluster: roles, database, the panel's schema (superuser, on the primary) ------------------------------------

CREATE_ROLE: Final = Statement(
    "create_role",
    "Make a login role unless it exists",
    "SELECT format('CREATE ROLE %I LOGIN', {name}) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) \\gexec",
    "superuser",
)
ALTER_OWNER_ROLE: Final = Statement(
    "alter_owner_role",
    "Give the application's role its password and no other rights",
    "ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {verifier}",
    "superuser",
)
ALTER_REPLICATION_ROLE: Final = Statement(
    "alter_replication_role",
    "Let the replication role replicate, and nothing else",
    "ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION NOBYPASSRLS PASSWORD {verifier}",
    "superuser",
)
ALTER_PANEL_ROLE: Final = Statement(
    "alter_panel_role",
    "Keep the panel's role without superuser and replication rights",
    "ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {verifier}",
    "superuser",
)
GRANT_MONITOR: Final = Statement(
    "grant_monitor", "Let the panel read statistics and settings", "GRANT pg_monitor TO {panel_role}", "superuser"
)
GRANT_CHECKPOINT: Final = Statement(
    "grant_checkpoint", "Let the panel run CHECKPOINT (PostgreSQL 15 and later)", "GRANT pg_checkpoint TO {panel_role}", "superuser"
)
GRANT_ACTS: Final = Statement(
    "grant_acts",
    "Let the panel promote, pause and resume replay, and reload the files",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer), pg_catalog.pg_wal_replay_pause(), "
    "pg_catalog.pg_wal_replay_resume(), pg_catalog.pg_reload_conf() TO {panel_role}",
    "superuser",
)
GRANT_REWIND: Final = Statement(
    "grant_rewind",
    "Let the replication role read files for pg_rewind (the four functions its manual page names)",
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean), pg_catalog.pg_stat_file(text, boolean), "
    "pg_catalog.pg_read_binary_file(text), pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO {replication_role}",
    "superuser",
)
CREATE_DATABASE: Final = Statement(
    "create_database",
    "Make the application's database unless it exists",
    "SELECT format('CREATE DATABASE %I OWNER %I', {database}, {owner}) "
    "WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {database}) \\gexec",
    "superuser",
)
OWN_PUBLIC_SCHEMA: Final = Statement(
    "own_public_schema",
    "Let only the database's owner create in the schema public, as PostgreSQL 15 and later do",
    "ALTER SCHEMA public OWNER TO pg_database_owner; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "superuser",
)
CREATE_SCHEMA: Final = Statement(
    "create_schema",
    "Make the panel's schema",
    "CREATE SCHEMA IF NOT EXISTS pgreplica AUTHORIZATION {panel_role}",
    "superuser",
)
CREATE_MARKER_TABLE: Final = Statement(
    "create_marker_table",
    "Make the table of the markers by which the panel proves that rows arrive",
    "CREATE TABLE IF NOT EXISTS pgreplica.marker (id bigint PRIMARY KEY, epoch bigint NOT NULL, token text NOT NULL, "
    "written_at timestamptz NOT NULL DEFAULT clock_timestamp())",
    "superuser",
)
OWN_MARKER_TABLE: Final = Statement(
    "own_marker_table", "Give the table to the panel's role", "ALTER TABLE pgreplica.marker OWNER TO {panel_role}", "superuser"
)

GRANT_EPOCHS: Final = Statement(
    "grant_epochs",
    "Let the replication role read the epochs, for the start guard of the other members",
    "GRANT USAGE ON SCHEMA pgreplica TO {replication_role}; GRANT SELECT (epoch) ON pgreplica.marker TO {replication_role}",
    "superuser",
)


def role_calls(spec: InstanceSpec, owner: Secret, replication: Secret, panel: Secret) -> list[Call]:
    """The three roles with their passwords (given in clear, stored as SCRAM verifiers). May be run again."""
    return [*_role_calls(ALTER_OWNER_ROLE, spec.owner_role, owner), *panel_role_calls(spec, replication, panel)]


def panel_role_calls(spec: InstanceSpec, replication: Secret, panel: Secret) -> list[Call]:
    """The two of them that are the panel's own."""
    roles = ((ALTER_REPLICATION_ROLE, spec.replication_role, replication), (ALTER_PANEL_ROLE, spec.panel_role, panel))
    return [call for role in roles for call in _role_calls(*role)]


def _role_calls(alter: Statement, role: str, password: Secret) -> list[Call]:
    return [Call(CREATE_ROLE, {}, {"name": role}), Call(alter, {"role": role}, {"verifier": scram.verifier(password)})]


def grant_calls(spec: InstanceSpec) -> list[Call]:
    """The least rights that work, for the panel's role and the replication role. May be run again."""
    panel = {"panel_role": spec.panel_role}
    statements = [GRANT_MONITOR, *([GRANT_CHECKPOINT] if spec.major >= 15 else []), GRANT_ACTS]
    return [
        *(Call(statement, panel, {}) for statement in statements),
        Call(GRANT_REWIND, {"replication_role": spec.replication_role}, {}),
    ]


def database_calls(spec: InstanceSpec) -> list[Call]:
    """The application's database, owned by its role. May be run again."""
    create = Call(CREATE_DATABASE, {}, {"database": spec.database, "owner": spec.owner_role})
    return [create, *([Call(OWN_PUBLIC_SCHEMA, {}, {}, spec.database)] if spec.major < 15 else [])]


def schema_calls(spec: InstanceSpec) -> list[Call]:
    """The panel's schema and its marker table, in the database `postgres`. May be run again."""
    public = [Call(OWN_PUBLIC_SCHEMA, {}, {})] if spec.major < 15 else []
    return [*public, *panel_schema_calls(spec)]


def panel_schema_calls(spec: InstanceSpec) -> list[Call]:
    """The same without a change to what is not the panel's."""
    panel = {"panel_role": spec.panel_role}
    epochs = Call(GRANT_EPOCHS, {"replication_role": spec.replication_role}, {})
    return [Call(CREATE_SCHEMA, panel, {}), Call(CREATE_MARKER_TABLE, {}, {}), Call(OWN_MARKER_TABLE, panel, {}), epochs]


OBJECTS: Final = Statement(
    "objects",
    "See that everything a cluster needs exists",
    """
SELECT object, present FROM (VALUES
    ('the role of the application', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {owner} AND rolcanlogin AND NOT rolsuper)),
    ('the replication role, with REPLICATION only',
     EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {replication} AND rolcanlogin AND rolreplication AND NOT rolsuper)),
    ('the panel''s role, without superuser and REPLICATION',
     EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {panel} AND rolcanlogin AND NOT rolreplication AND NOT rolsuper)),
    ('the application''s database, owned by its role',
     EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {database} AND pg_catalog.pg_get_userbyid(datdba) = {owner})),
    ('the panel''s right to monitor',
     EXISTS (SELECT FROM pg_catalog.pg_auth_members WHERE pg_catalog.pg_get_userbyid(roleid) = 'pg_monitor'
             AND pg_catalog.pg_get_userbyid(member) = {panel})),
    ('the panel''s right to promote',
     EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {panel}
             AND pg_catalog.has_function_privilege(oid, 'pg_catalog.pg_promote(boolean, integer)', 'EXECUTE'))),
    ('the replication role''s right to read files for pg_rewind',
     EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {replication}
             AND pg_catalog.has_function_privilege(oid, 'pg_catalog.pg_read_binary_file(text)', 'EXECUTE'))),
    ('the panel''s marker table',
     EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'pgreplica' AND tablename = 'marker' AND tableowner = {panel})),
    ('the replication role''s right to read epochs',
     EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {replication}
             AND pg_catalog.has_column_privilege(oid, pg_catalog.to_regclass('pgreplica.marker')::oid, 'epoch', 'SELECT')))
) AS objects (object, present)""",
)


def objects_call(spec: InstanceSpec) -> Call:
    """Rows (object: str, present: bool); the panel's role may run it."""
    literals = {"owner": spec.owner_role, "replication": spec.replication_role, "panel": spec.panel_role, "database": spec.database}
    return Call(OBJECTS, {}, literals)


# -- Acts of the panel's role ----------------------------------------------------------------------------------------------

WRITE_MARKER: Final = Statement(
    "write_marker",
    "Write a marker on the primary, waiting for no standby; no row comes back where a higher epoch stands",
    "WITH commits AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true)) "
    "INSERT INTO pgreplica.marker (id, epoch, token) "
    "SELECT {id}, {epoch}, {token} FROM commits WHERE NOT EXISTS (SELECT FROM pgreplica.marker WHERE epoch > {epoch}) "
    "ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, token = excluded.token, written_at = clock_timestamp() "
    "RETURNING epoch, token, written_at",
)
READ_MARKER: Final = Statement("read_marker", "Read a marker back", "SELECT epoch, token, written_at FROM pgreplica.marker WHERE id = {id}")
MAKE_CANARY_TABLE: Final = Statement(
    "make_canary_table",
    "Make the table of the canary writer",
    "CREATE TABLE IF NOT EXISTS pgreplica.canary (job bigint, number bigint, PRIMARY KEY (job, number))",
)
WRITE_CANARY: Final = Statement(
    "write_canary", "Write a row as an application would", "INSERT INTO pgreplica.canary (job, number) VALUES ({job}, {number})"
)
READ_CANARY: Final = Statement("read_canary", "Read which rows are there", "SELECT number FROM pgreplica.canary WHERE job = {job}")
FORGET_CANARY: Final = Statement("forget_canary", "Take the canary's rows away", "DELETE FROM pgreplica.canary WHERE job = {job}")
HIGHEST_EPOCH: Final = Statement(
    "highest_epoch", "Read the highest epoch that was ever written", "SELECT coalesce(max(epoch), 0) AS epoch FROM pgreplica.marker"
)
RELOAD: Final = Statement("reload", "Have the server read its files again", "SELECT pg_catalog.pg_reload_conf()")
CHECKPOINT: Final = Statement("checkpoint", "Write a checkpoint (before PostgreSQL 15 only the superuser may)", "CHECKPOINT")
PROMOTE: Final = Statement(
    "promote", "Make the standby a primary, without waiting (pg_promote waits in steps of 100 ms)", "SELECT pg_catalog.pg_promote(false)"
)
IN_RECOVERY: Final = Statement("in_recovery", "See whether it is still a standby", "SELECT pg_catalog.pg_is_in_recovery() AS standby")
POSITIONS: Final = Statement(
    "positions",
    "Read how far a standby has received and replayed",
    "SELECT pg_catalog.pg_last_wal_receive_lsn()::text AS received, pg_catalog.pg_last_wal_replay_lsn()::text AS replayed, "
    "(SELECT count(*) FROM pg_catalog.pg_stat_wal_receiver) AS receivers",
)
REPLAY_PAUSE: Final = Statement("replay_pause", "Pause replay on a standby", "SELECT pg_catalog.pg_wal_replay_pause()")
REPLAY_RESUME: Final = Statement("replay_resume", "Resume replay on a standby", "SELECT pg_catalog.pg_wal_replay_resume()")

# A setting that waits for a restart is listed with an error too; it is none.
DATABASES: Final = Statement(
    "databases",
    "List the databases that can be connected to",
    "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datname !~ '[[:cntrl:]]' ORDER BY datname",
    "superuser",
)

EXTENSIONS: Final = Statement(
    "extensions", "List the extensions of a database", "SELECT extname FROM pg_catalog.pg_extension ORDER BY extname", "superuser"
)

FILE_ERRORS: Final = Statement(
    "file_errors",
    "Find lines of the files that the running server could not use",
    "SELECT sourcefile, sourceline, coalesce(name, '') || ': ' || error FROM pg_catalog.pg_file_settings AS line "
    "WHERE error IS NOT NULL AND NOT EXISTS "
    "(SELECT FROM pg_catalog.pg_settings AS known WHERE lower(known.name) = lower(line.name) AND known.pending_restart) "
    "UNION ALL SELECT 'pg_hba.conf', line_number, error FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL",
    "superuser",
)

SETTINGS_IN_FORCE: Final = Statement(
    "settings_in_force",
    "Read the settings in force, and what has set each",
    "SELECT name, setting, unit, vartype, pending_restart AS pending, CASE WHEN source = 'command line' THEN 'command line' "
    "WHEN sourcefile LIKE '%postgresql.auto.conf' THEN 'system' WHEN source = 'configuration file' THEN 'file' ELSE 'other' END AS by "
    "FROM pg_catalog.pg_settings WHERE name = ANY ({names}::text[]) AND source NOT IN ('client', 'session', 'user', 'database')",
)
CHANGED_COLLATIONS: Final = Statement(
    "changed_collations",
    "Find collations in use whose library sorts otherwise than when they were made",
    "SELECT collnamespace::regnamespace || '.' || collname FROM pg_catalog.pg_collation AS used "
    "WHERE collversion <> pg_catalog.pg_collation_actual_version(oid) AND EXISTS (SELECT FROM pg_catalog.pg_depend "
    "WHERE refclassid = 'pg_catalog.pg_collation'::regclass AND refobjid = used.oid) ORDER BY 1",
    "superuser",
)

# -- Replication commands --------------------------------------------------------------------------------------------------

IDENTIFY_SYSTEM: Final = Statement("identify_system", "Log in as the replication role", "IDENTIFY_SYSTEM", "replication")
CREATE_SLOT: Final = Statement(
    "create_slot",
    "Make the standby's slot, and keep WAL from this moment on",
    "CREATE_REPLICATION_SLOT {slot} PHYSICAL RESERVE_WAL",
    "replication",
)
MAKE_SLOT_HERE: Final = Statement(
    "make_slot_here",
    "Make a slot that keeps WAL from this moment on, unless it is there (works on a standby too)",
    "SELECT pg_catalog.pg_create_physical_replication_slot({slot}, true) "
    "WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot})",
    "superuser",
)
DROP_SLOT_IF_FREE: Final = Statement(
    "drop_slot_if_free",
    "Drop a slot that nobody uses",
    "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot} AND NOT active",
    "superuser",
)
# -- Taking over what somebody else has made (superuser, over the socket) --------------------------------------------------

FOLLOW_BY: Final = Statement(
    "follow_by", "Say how the standby reaches its upstream", "ALTER SYSTEM SET primary_conninfo = {conninfo}", "superuser"
)
FOLLOW_THROUGH: Final = Statement(
    "follow_through", "Say through which slot the standby reads", "ALTER SYSTEM SET primary_slot_name = {slot}", "superuser"
)
CAP_SLOTS: Final = Statement(
    "cap_slots", "Keep a slot from filling the disk", "ALTER SYSTEM SET max_slot_wal_keep_size = {size}", "superuser"
)
UNCAP_SLOTS: Final = Statement(
    "uncap_slots", "Take the limit of slots away again", "ALTER SYSTEM RESET max_slot_wal_keep_size", "superuser"
)
SHUT_ROLE_OUT: Final = Statement(
    "shut_role_out",
    "Let the role log in no more, where there is one",
    "SELECT format('ALTER ROLE %I NOLOGIN', {name}) WHERE EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) \\gexec",
    "superuser",
)

DROP_SLOT: Final = Statement("drop_slot", "Drop the standby's slot", "DROP_REPLICATION_SLOT {slot}", "replication")
