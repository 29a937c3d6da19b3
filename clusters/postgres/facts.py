"""What was seen of an instance, as plain values. `observe.observe_call` asks for it, `InstanceFacts.from_row` reads it.

Facts come from a machine and are not trusted: what has not the expected shape raises `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, Self

from clusters.postgres.parsers import (
    BasebackupProgress,
    ControlData,
    Lsn,
    SystemIdentity,
    Unreadable,
    Version,
    estimate,
    parse_basebackup_line,
    parse_controldata,
    parse_identify_system,
    parse_version,
    seconds_left,
)

__all__ = [
    "BasebackupProgress",
    "ControlData",
    "InstanceFacts",
    "Lsn",
    "ReceiverRow",
    "ReplicationRow",
    "SlotRow",
    "SystemIdentity",
    "Unreadable",
    "Version",
    "estimate",
    "parse_basebackup_line",
    "parse_controldata",
    "parse_identify_system",
    "parse_version",
    "seconds_left",
    "wal_rate",
]


class Row:
    """A frozen dataclass that is made from a JSON object with a key for each field, and gives that object back."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Raises: Unreadable."""
        try:
            return cls(**{name: _checked(row[name], *reader) for name, *reader in _readers(cls) if name in row})  # type: ignore[arg-type]  # a class is hashable
        except (TypeError, ValueError, OverflowError) as error:
            raise Unreadable(f"{cls.__name__} ({error})", row) from error

    def as_row(self) -> dict[str, Any]:
        """JSON values; `from_row` reads them back."""
        return {key: _written(value) for key, value in asdict(self).items()}  # type: ignore[call-overload]


@dataclass(frozen=True)
class ReplicationRow(Row):
    """A line of pg_stat_replication: somebody who receives WAL from this instance, or takes a base backup."""

    pid: int
    role: str | None
    application_name: str
    address: str | None
    state: str  # "startup", "catchup", "streaming", "backup", "stopping"
    sent_lsn: Lsn | None = None
    write_lsn: Lsn | None = None
    flush_lsn: Lsn | None = None
    replay_lsn: Lsn | None = None
    replay_lag_seconds: float | None = None  # measured on this instance; None after a while without writes
    sync_state: str | None = None  # "async", "potential", "sync", "quorum"


@dataclass(frozen=True)
class SlotRow(Row):
    """A line of pg_replication_slots."""

    name: str
    type: str  # "physical", "logical"
    temporary: bool
    active: bool
    pid: int | None = None
    restart_lsn: Lsn | None = None  # None: nothing is kept for it yet
    wal_status: str | None = None  # "reserved", "extended", "unreserved", "lost"
    safe_wal_size: int | None = None  # bytes that may be written before it is in danger; None: no limit


@dataclass(frozen=True)
class ReceiverRow(Row):
    """The line of pg_stat_wal_receiver: how this standby receives."""

    status: str  # "streaming", "waiting", ...
    slot: str | None = None
    host: str | None = None
    port: int | None = None
    timeline: int | None = None
    flush_lsn: Lsn | None = None
    upstream_lsn: Lsn | None = None  # the end of the upstream's WAL as last told
    message_age_seconds: float | None = None  # by this standby's clock


@dataclass(frozen=True)
class InstanceFacts(Row):
    """One look at a running instance. Times are seconds by its own clock, sizes are bytes."""

    version_num: int
    version: str
    observed_at: float
    in_recovery: bool
    system_identifier: str
    data_checksums: bool
    timeline: int
    uptime_seconds: float = 0.0
    wal_lsn: Lsn | None = None  # a primary's
    receive_lsn: Lsn | None = None  # a standby's, flushed
    replay_lsn: Lsn | None = None  # a standby's
    replay_state: str | None = None  # a standby's: "not paused", "pause requested", "paused"
    replay_age_seconds: float | None = None  # a standby's: age of the last replayed commit, 0 when all is replayed
    senders: tuple[ReplicationRow, ...] = ()
    slots: tuple[SlotRow, ...] = ()
    receiver: ReceiverRow | None = None
    base_backups: int = 0
    prepared_transactions: int = 0
    long_transaction_seconds: float = 0.0  # a primary's: age of the oldest open transaction of a client
    archive_waiting: int | None = None  # WAL files that wait to be archived; None: not asked
    checksum_failures: int = 0
    tablespaces: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)  # in the units of pg_settings
    pending_restart: tuple[str, ...] = ()
    altered_settings: tuple[str, ...] = ()  # by ALTER SYSTEM: they outdo the panel's files
    sync_waits: int = 0  # commits that have waited for a standby for some seconds
    weak_sync: tuple[str, ...] = ()  # "role app", "database shop", ...: their synchronous_commit is below on
    collation_mismatches: tuple[str, ...] = ()  # databases; never on PostgreSQL 14
    size_bytes: int | None = None  # None: not asked for

    @property
    def major(self) -> int:
        return self.version_num // 10000

    @property
    def role(self) -> str:
        return "standby" if self.in_recovery else "primary"

    @property
    def lsn(self) -> Lsn:
        """How far its WAL reaches: what a primary has written, what a standby has flushed or at least replayed."""
        return max(self.wal_lsn or Lsn(0), self.receive_lsn or Lsn(0), self.replay_lsn or Lsn(0))

    def number(self, setting: str) -> int:
        """A numeric setting. Raises: Unreadable when it is not there."""
        try:
            return int(self.settings[setting])
        except (KeyError, ValueError) as error:
            raise Unreadable(f"the setting {setting}", self.settings.get(setting)) from error

    def slot(self, name: str) -> SlotRow | None:
        return next((slot for slot in self.slots if slot.name == name), None)

    def sender(self, application_name: str) -> ReplicationRow | None:
        """The connection of one standby, by the name it gives itself; base backups are not meant."""
        mine = [sender for sender in self.senders if sender.application_name == application_name and sender.state != "backup"]
        return max(mine, key=lambda sender: sender.replay_lsn or Lsn(0), default=None)


def wal_rate(earlier: InstanceFacts, later: InstanceFacts) -> float | None:
    """Bytes of WAL a second between two looks at the same instance, by its own clock; None when it cannot be told."""
    return estimate([(earlier.observed_at, earlier.lsn), (later.observed_at, later.lsn)])


@cache
def _readers(row: Hashable) -> tuple[tuple[str, bool, Any, Callable[[Any], Any]], ...]:
    """(name, whether it may be None, JSON type, conversion) of each field, looked up once: the monitor reads hundreds of rows a second."""
    kinds = ((item.name, str(item.type)) for item in fields(row))  # type: ignore[arg-type]  # a dataclass
    return tuple((name, kind.endswith("| None"), *READERS[kind.removesuffix(" | None")]) for name, kind in kinds)


def _checked(value: Any, optional: bool, json_type: Any, convert: Callable[[Any], Any]) -> Any:
    """A JSON value as the field's type. Raises: TypeError for a value of another type."""
    if value is None and optional:
        return None
    if not isinstance(value, json_type) or (json_type is not bool and isinstance(value, bool)):
        raise TypeError(f"{json_type} expected")
    return convert(value)


def _strings(values: list[Any]) -> tuple[str, ...]:
    return tuple(_checked(value, False, str, str) for value in values)


#: For the type of each field: the JSON type it comes as, and how it is made of that.
READERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "bool": (bool, bool),
    "int": (int, int),
    "float": (int | float, float),
    "str": (str, str),
    "Lsn": (str, Lsn.parse),
    "ReceiverRow": (dict, ReceiverRow.from_row),
    "tuple[str, ...]": (list, _strings),
    "tuple[ReplicationRow, ...]": (list, lambda rows: tuple(map(ReplicationRow.from_row, rows))),
    "tuple[SlotRow, ...]": (list, lambda rows: tuple(map(SlotRow.from_row, rows))),
    "Mapping[str, str]": (dict, lambda items: dict(zip(items, _strings(list(items.values())), strict=True))),
}


def _written(value: Any) -> Any:
    if isinstance(value, Lsn):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _written(item) for key, item in value.items()}
    return [_written(item) for item in value] if isinstance(value, tuple | list) else value
