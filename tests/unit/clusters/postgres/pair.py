"""Facts of a healthy pair: alpha streams to beta through beta's slot. Tests change one thing at a time."""

from __future__ import annotations

from typing import Any

from clusters.postgres.facts import InstanceFacts, Lsn, ReceiverRow, ReplicationRow, SlotRow
from tests.unit.clusters.postgres.cast import ALPHA, BETA, SLOT

MB = 1024 * 1024
GB = 1024 * MB
SYSTEM = "7711206371833417327"
END = Lsn.parse("1/3000060")

SETTINGS = {
    "full_page_writes": "on",
    "hot_standby": "on",
    "max_connections": "100",
    "max_locks_per_transaction": "64",
    "max_prepared_transactions": "0",
    "max_replication_slots": "10",
    "max_slot_wal_keep_size": "10240",
    "max_wal_senders": "10",
    "max_worker_processes": "8",
    "recovery_min_apply_delay": "0",
    "wal_level": "replica",
    "wal_log_hints": "on",
}

SENDER = ReplicationRow(
    pid=4711,
    role="replicator",
    application_name=BETA.name,
    address=BETA.address,
    state="streaming",
    sent_lsn=END,
    write_lsn=END,
    flush_lsn=END,
    replay_lsn=END,
    replay_lag_seconds=None,
    sync_state="async",
)
BACKUP = ReplicationRow(pid=4712, role="replicator", application_name="pg_basebackup", address=BETA.address, state="backup")
HELD = SlotRow(
    name=SLOT, type="physical", temporary=False, active=True, pid=4711, restart_lsn=END, wal_status="reserved", safe_wal_size=10 * GB
)
RECEIVER = ReceiverRow(
    status="streaming",
    slot=SLOT,
    host=ALPHA.address,
    port=ALPHA.port,
    timeline=1,
    flush_lsn=END,
    upstream_lsn=END,
    message_age_seconds=0.2,
)


def primary(**changes: Any) -> InstanceFacts:
    """alpha, which sends to beta."""
    values: dict[str, Any] = {"wal_lsn": END, "senders": (SENDER,), "slots": (HELD,), "size_bytes": 10 * GB}
    return _instance(in_recovery=False, **{**values, **changes})


def standby(**changes: Any) -> InstanceFacts:
    """beta, which receives from alpha."""
    values: dict[str, Any] = {
        "receive_lsn": END,
        "replay_lsn": END,
        "replay_state": "not paused",
        "replay_age_seconds": 0.0,
        "receiver": RECEIVER,
    }
    return _instance(in_recovery=True, **{**values, **changes})


def _instance(settings: dict[str, str] | None = None, **values: Any) -> InstanceFacts:
    common: dict[str, Any] = {
        "version_num": 160004,
        "version": "16.4",
        "observed_at": 1_800_000_000.0,
        "system_identifier": SYSTEM,
        "data_checksums": True,
        "timeline": 1,
        "settings": {**SETTINGS, **(settings or {})},
    }
    return InstanceFacts(**{**common, **values})
