"""What the monitor asks each instance every few seconds: one statement, one JSON value, cheap enough for a busy server.

It runs as the panel's role (pg_monitor) on PostgreSQL 14 to 18. Positions come as bytes since 0/0, so that they can be subtracted.
Sources: the chapters "Monitoring Database Activity" and "System Administration Functions" of the PostgreSQL manual.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final, LiteralString, Self

from clusters.postgres.facts import READERS, Row, Unreadable

# The timeline of a standby as `observe` tells it, except for what only the names of its WAL files tell: listing them costs too much here.
SAMPLE: Final[LiteralString] = """
SELECT pg_catalog.json_build_object(
    'in_recovery', recovery,
    'system_identifier', (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
    'started_at', extract(epoch FROM pg_catalog.pg_postmaster_start_time())::float8,
    'timeline', CASE WHEN recovery
        THEN greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
                      (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                      (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))
        ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
    'position', pg_catalog.pg_wal_lsn_diff(here, '0/0')::bigint,
    'replayed', CASE WHEN recovery THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::bigint END,
    'replay_paused', recovery AND pg_catalog.pg_is_wal_replay_paused(),
    'replay_age_seconds', CASE WHEN recovery AND here IS DISTINCT FROM pg_catalog.pg_last_wal_replay_lsn()
        THEN extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8 END,
    'receiver', (SELECT status FROM pg_catalog.pg_stat_wal_receiver),
    'receiver_silent_seconds', (SELECT extract(epoch FROM pg_catalog.clock_timestamp() - last_msg_receipt_time)::float8
        FROM pg_catalog.pg_stat_wal_receiver),
    'connections', (SELECT sum(numbackends)::int FROM pg_catalog.pg_stat_database),
    'max_connections', pg_catalog.current_setting('max_connections')::int,
    'checksum_failures', (SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_catalog.pg_stat_database),
    'senders', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.row_to_json(sender)), '[]') FROM (
        SELECT application_name AS name, state, sync_state, pg_catalog.pg_wal_lsn_diff(here, replay_lsn)::bigint AS lag_bytes,
               extract(epoch FROM replay_lag)::float8 AS lag_seconds
        FROM pg_catalog.pg_stat_replication ORDER BY pid LIMIT 50) AS sender),
    'slots', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.row_to_json(slot)), '[]') FROM (
        SELECT slot_name AS name, active, wal_status, safe_wal_size AS safe_bytes,
               CASE WHEN here >= restart_lsn THEN pg_catalog.pg_wal_lsn_diff(here, restart_lsn)::bigint END AS retained_bytes
        FROM pg_catalog.pg_replication_slots ORDER BY slot_name LIMIT 50) AS slot)
)::text FROM (SELECT recovery, CASE WHEN recovery THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS here
        FROM (SELECT pg_catalog.pg_is_in_recovery() AS recovery) AS mode) AS now"""


#: Fifty senders and fifty slots with the longest names there are take less.
TEXT_LIMIT: Final = 65_536
NAME_LIMIT: Final = 64
#: Bytes and seconds beyond this cannot be.
MOST: Final = 2**61
SENDER_STATES: Final = frozenset({"startup", "catchup", "streaming", "backup", "stopping"})
SYNC_STATES: Final = frozenset({"", "async", "potential", "sync", "quorum"})


@dataclass(frozen=True)
class Sender(Row):
    """Who receives WAL from the instance. `name` is the standby's application_name; lags are None until it has confirmed something."""

    name: str
    state: str
    sync_state: str
    lag_bytes: int | None = None
    lag_seconds: float | None = None


@dataclass(frozen=True)
class SlotUse(Row):
    """A slot, and the WAL that it keeps. `safe_bytes`: what may still be written before it is lost; None without a limit."""

    name: str
    active: bool
    wal_status: str | None = None
    safe_bytes: int | None = None
    retained_bytes: int | None = None


@dataclass(frozen=True)
class Sampled(Row):
    """One instance at one moment. `position`: bytes since 0/0 that were written (primary) or received (standby; None before any)."""

    in_recovery: bool
    system_identifier: str
    started_at: float
    timeline: int
    connections: int
    max_connections: int
    position: int | None = None
    replayed: int | None = None
    replay_paused: bool = False
    replay_age_seconds: float | None = None
    receiver: str | None = None
    receiver_silent_seconds: float | None = None
    checksum_failures: int = 0
    senders: tuple[Sender, ...] = ()
    slots: tuple[SlotUse, ...] = ()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises: Unreadable, also for what the panel's database could not store or no page could show."""
        if len(text) > TEXT_LIMIT:
            raise Unreadable("Sampled (it is too long)", text[:100])
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"Sampled ({error})", text[:100]) from error
        if not isinstance(row, dict):
            raise Unreadable("Sampled (not an object)", text[:100])
        sampled = cls.from_row(row)
        if not all(map(_plausible, (sampled, *sampled.senders, *sampled.slots))) or not sampled._in_words():
            raise Unreadable("Sampled (a value that cannot be)", text[:100])
        return sampled

    def as_json(self) -> dict[str, Any]:
        """What `from_text` reads back once it is written as JSON, and nothing else that the instance may have said."""
        return {**vars(self), "senders": [vars(sender) for sender in self.senders], "slots": [vars(slot) for slot in self.slots]}

    def _in_words(self) -> bool:
        """Counts fit into the columns that take them, and states are those that PostgreSQL knows."""
        counts = (self.connections, self.max_connections, self.timeline)
        words = all(sender.state in SENDER_STATES and (sender.sync_state or "") in SYNC_STATES for sender in self.senders)
        return words and all(0 <= count < 2**31 for count in counts)

    def sender(self, name: str) -> Sender | None:
        """The connection of one standby, by the name it gives itself. A base backup is none, nor is one that is not connected any more."""
        mine = [sender for sender in self.senders if sender.name == name and sender.state in ("streaming", "catchup")]
        return min(mine, key=lambda sender: sender.lag_bytes if sender.lag_bytes is not None else math.inf, default=None)

    @property
    def retained_bytes(self) -> int:
        """Of the slot that keeps the most."""
        return max((slot.retained_bytes or 0 for slot in self.slots), default=0)


def _plausible(row: object) -> bool:
    """Numbers are finite and leave room for differences; texts are texts that can be stored and shown."""
    for value in vars(row).values():
        if isinstance(value, float) and not (math.isfinite(value) and abs(value) < MOST):
            return False
        if isinstance(value, int) and abs(value) > MOST:
            return False
        if isinstance(value, str) and (len(value) > NAME_LIMIT or not value.isprintable()):
            return False
    return True


READERS["tuple[Sender, ...]"] = (list, lambda rows: tuple(map(Sender.from_row, rows)))
READERS["tuple[SlotUse, ...]"] = (list, lambda rows: tuple(map(SlotUse.from_row, rows)))
