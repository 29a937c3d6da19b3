"""One statement that tells everything `facts.InstanceFacts` holds, on a primary and on a standby, as one JSON value.

It runs as the panel's role (pg_monitor) in the database `postgres`, on PostgreSQL 14 to 18, in one round trip. The size is
left out unless asked for, since the server has to look at every file for it.
"""

from __future__ import annotations

from typing import Final, LiteralString

from clusters.postgres.statements import Call, Statement, Value

#: What the rules compare; values come in the units of pg_settings (its column `unit`).
SETTINGS: Final = (
    "archive_mode",
    "cluster_name",
    "data_directory",
    "full_page_writes",
    "hot_standby",
    "hot_standby_feedback",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_wal_size",
    "max_worker_processes",
    "primary_slot_name",
    "recovery_min_apply_delay",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_segment_size",
    "wal_sender_timeout",
)

_WHO: Final[LiteralString] = """
    'version_num', pg_catalog.current_setting('server_version_num')::int,
    'version', pg_catalog.current_setting('server_version'),
    'observed_at', extract(epoch FROM pg_catalog.clock_timestamp())::float8,
    'uptime_seconds', extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_postmaster_start_time())::float8,
    'in_recovery', pg_catalog.pg_is_in_recovery(),
    'system_identifier', (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
    'data_checksums', pg_catalog.current_setting('data_checksums') = 'on'"""

# A primary names its timeline in the name of the WAL file it writes. A standby knows of several: that of its last restart
# point, of what it must replay to be consistent, of what it receives; and, once its upstream is gone and before its next restart
# point, only the name of the file that holds what it received last tells that it had followed to a newer one. The newest counts.
_WHERE: Final[LiteralString] = """
    'timeline', CASE WHEN pg_catalog.pg_is_in_recovery()
        THEN greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
                      (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                      (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver),
                      (SELECT max(('x' || substr(file.name, 1, 8))::bit(32)::int)
                       FROM pg_catalog.pg_ls_waldir() AS file,
                            (SELECT pg_catalog.pg_wal_lsn_diff(greatest(pg_catalog.pg_last_wal_receive_lsn(),
                                    pg_catalog.pg_last_wal_replay_lsn()), '0/0')::bigint - 1 AS at,
                                    (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS size) AS last
                       WHERE file.name ~ '^[0-9A-F]{{24}}$' AND substr(file.name, 9) =
                             upper(lpad(to_hex(last.at / 4294967296), 8, '0') || lpad(to_hex(last.at % 4294967296 / last.size), 8, '0'))))
        ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
    'wal_lsn', CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn()::text END,
    'receive_lsn', pg_catalog.pg_last_wal_receive_lsn()::text,
    'replay_lsn', pg_catalog.pg_last_wal_replay_lsn()::text,
    'replay_state', CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_get_wal_replay_pause_state() END,
    'replay_age_seconds', CASE
        WHEN NOT pg_catalog.pg_is_in_recovery() THEN NULL
        WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8 END"""

_REPLICATION: Final[LiteralString] = """
    'senders', (SELECT coalesce(json_agg(row_to_json(sender)), '[]') FROM (
        SELECT pid, usename AS role, application_name, host(client_addr) AS address, state,
               sent_lsn::text, write_lsn::text, flush_lsn::text, replay_lsn::text,
               extract(epoch FROM replay_lag)::float8 AS replay_lag_seconds, sync_state
        FROM pg_catalog.pg_stat_replication ORDER BY pid) AS sender),
    'slots', (SELECT coalesce(json_agg(row_to_json(slot)), '[]') FROM (
        SELECT slot_name AS name, slot_type AS type, temporary, active, active_pid AS pid, restart_lsn::text, wal_status, safe_wal_size
        FROM pg_catalog.pg_replication_slots ORDER BY slot_name) AS slot),
    'receiver', (SELECT row_to_json(receiver) FROM (
        SELECT status, slot_name AS slot, sender_host AS host, sender_port AS port, received_tli AS timeline,
               flushed_lsn::text AS flush_lsn, latest_end_lsn::text AS upstream_lsn,
               extract(epoch FROM pg_catalog.clock_timestamp() - last_msg_receipt_time)::float8 AS message_age_seconds
        FROM pg_catalog.pg_stat_wal_receiver) AS receiver),
    'base_backups', (SELECT count(*) FROM pg_catalog.pg_stat_progress_basebackup)"""

# What a stop of the primary would cut or wait for. A directory is read only where files can lie in it.
_OPEN: Final[LiteralString] = """
    'long_transaction_seconds', CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE (
        SELECT greatest(0, coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - min(xact_start)), 0))::float8
        FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()) END,
    'sync_waits', (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE wait_event = 'SyncRep' AND query_start < pg_catalog.clock_timestamp() - interval '3 seconds'),
    'archive_waiting', CASE WHEN pg_catalog.current_setting('archive_mode') = 'off' THEN 0 ELSE (
        SELECT count(*) FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready') END"""

_REST: Final[LiteralString] = """
    'prepared_transactions', (SELECT count(*) FROM pg_catalog.pg_prepared_xacts),
    'checksum_failures', (SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_catalog.pg_stat_database),
    'tablespaces', (SELECT coalesce(json_agg(spcname ORDER BY spcname), '[]') FROM pg_catalog.pg_tablespace
        WHERE spcname NOT IN ('pg_default', 'pg_global')),
    'settings', (SELECT json_object_agg(name, setting) FROM pg_catalog.pg_settings WHERE name = ANY ({settings}::text[])),
    'pending_restart', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_catalog.pg_settings WHERE pending_restart),
    'weak_sync', (SELECT coalesce(json_agg(DISTINCT place), '[]') FROM (
        SELECT CASE WHEN setrole <> 0 AND setdatabase <> 0 THEN 'role ' || rolname || ' in database ' || datname
                    WHEN setrole <> 0 THEN 'role ' || rolname
                    WHEN setdatabase <> 0 THEN 'database ' || datname ELSE 'roles without a value of their own' END AS place
        FROM pg_catalog.pg_db_role_setting
        LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = setrole LEFT JOIN pg_catalog.pg_database AS base ON base.oid = setdatabase,
        unnest(setconfig) AS item
        WHERE split_part(lower(item), '=', 1) = 'synchronous_commit'
          AND lower(split_part(item, '=', 2)) NOT IN ('on', 'remote_apply', 'true', 'yes', '1')) AS weak WHERE place IS NOT NULL),
    'altered_settings', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_catalog.pg_settings
        WHERE sourcefile LIKE '%postgresql.auto.conf'),
    'size_bytes', CASE WHEN {with_size} THEN
        (SELECT sum(pg_catalog.pg_tablespace_size(oid))::bigint FROM pg_catalog.pg_tablespace) END"""

_COLLATION: Final[LiteralString] = """
    'collation_mismatches', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_catalog.pg_database
        WHERE datallowconn AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid))"""

OBSERVE: Final = Statement(
    "observe",
    "Look at the instance (PostgreSQL 15 and later)",
    "SELECT json_build_object(" + ",".join((_WHO, _WHERE, _REPLICATION, _OPEN, _REST, _COLLATION)) + ") AS facts",
)
OBSERVE_14: Final = Statement(
    "observe_14",
    "Look at the instance (PostgreSQL 14, which keeps no collation version of a database)",
    "SELECT json_build_object(" + ",".join((_WHO, _WHERE, _REPLICATION, _OPEN, _REST)) + ") AS facts",
)


def observe_call(major: int, with_size: bool = False) -> Call:
    """One row, one column `facts`, for `facts.InstanceFacts.from_row`."""
    literals: dict[str, Value] = {"settings": "{" + ",".join(SETTINGS) + "}", "with_size": with_size}
    return Call(OBSERVE if major >= 15 else OBSERVE_14, {}, literals)
