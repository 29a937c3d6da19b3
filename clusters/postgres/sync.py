"""Synchronous replication: the value of synchronous_standby_names, and what it guarantees.

PostgreSQL manual, sections "Synchronous Replication" and "Replication" (synchronous_standby_names).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

SyncMode = Literal["async", "first", "any"]


def standby_names(mode: SyncMode | str, count: int, names: Sequence[str]) -> str:
    """`ANY 1 ("node2", "node3")`; "" when commits wait for nobody.

    Every name is quoted and given in full, never `*`: two standbys of one name, or a stranger, would make the count untrue.
    Fewer names than `count` are written as they are: commits then wait, which is what was asked for.
    """
    if mode == "async" or not names:
        return ""
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{mode.upper()} {count} ({listed})"
