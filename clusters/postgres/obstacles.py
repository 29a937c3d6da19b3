"""A reason not to act, or a finding about a pair: always a sentence with the value seen, the value needed, and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clusters.postgres.parsers import Lsn
from clusters.postgres.refused import shown
from clusters.postgres.text import Text

#: blocks: no way round it. flag: only with the request's matching flag. warns: shown, and no more.
Severity = Literal["blocks", "flag", "warns"]
Scalar = str | int | float | bool | None

#: The panel writes these in its files; ALTER SYSTEM would outdo them, and travels with every copy of the data directory.
PANEL_SETTINGS = frozenset(
    [
        *("primary_conninfo", "primary_slot_name", "port", "listen_addresses", "unix_socket_directories", "hba_file"),
        *("cluster_name", "wal_level", "synchronous_standby_names"),
    ]
)


@dataclass(frozen=True)
class Obstacle:
    """`name` is the same for ever, so that scripts and documents can refer to it."""

    name: str
    severity: Severity
    sentence: Text
    cure: Text
    value: Scalar = None
    threshold: Scalar = None

    def as_row(self) -> dict[str, Scalar]:
        """JSON values, as `Verification.findings` keeps them."""
        return {
            "name": self.name,
            "severity": self.severity,
            "sentence": str(self.sentence),
            "value": self.value,
            "threshold": self.threshold,
            "cure": str(self.cure),
        }


def obstacle(
    name: str, severity: Severity, sentence: str, cure: str, *, value: Scalar = None, threshold: Scalar = None, **words: object
) -> Obstacle:
    """An obstacle whose sentence and cure may hold %(value)s, %(threshold)s and further words."""
    spoken: Mapping[str, Any] = {"value": value, "threshold": threshold, **words}
    spoken = {key: shown(word, 500) if isinstance(word, str) else word for key, word in spoken.items()}
    plain = shown(value, 500) if isinstance(value, str) else value
    return Obstacle(name, severity, Text(sentence, **spoken), Text(cure, **spoken), plain, threshold)


def size(count: int | float) -> str:
    """Bytes for people, in PostgreSQL's units (1 kB is 1024 bytes)."""
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def behind(ahead: Lsn, back: Lsn) -> int:
    """Bytes from `back` to `ahead`; 0 when `back` is ahead (the two were read at different moments)."""
    return max(0, ahead - back)
