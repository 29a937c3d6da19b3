"""Synchronous replication: the value of synchronous_standby_names, as it is written and as a server has it.

PostgreSQL manual, sections "Synchronous Replication" and "Replication" (synchronous_standby_names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from clusters.postgres.facts import InstanceFacts, ReplicationRow

SyncMode = Literal["async", "first", "any"]

#: Values of synchronous_commit with which a commit waits until the standbys have it on disk, or more.
ON: Final = frozenset({"on", "remote_apply", "true", "yes", "1"})
#: What pg_stat_replication calls a standby whose answer counts.
COUNTED: Final = frozenset({"sync", "quorum"})

_TOKEN: Final = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff-]*|\d+|\*)|([(),]))', re.ASCII)


@dataclass(frozen=True)
class SyncNames:
    """synchronous_standby_names, read: whom a commit waits for. "async": for nobody."""

    mode: SyncMode = "async"
    count: int = 0
    names: tuple[str, ...] = ()

    @property
    def star(self) -> bool:
        """`*` lets anybody count who replicates, strangers too (quoted it means the same)."""
        return "*" in self.names

    def same(self, other: SyncNames) -> bool:
        """Whether both mean the same; with ANY the order of the names says nothing."""
        order = sorted if self.mode == "any" else tuple
        mine, theirs = [name.casefold() for name in self.names], [name.casefold() for name in other.names]
        return (self.mode, self.count) == (other.mode, other.count) and list(order(mine)) == list(order(theirs))


def standby_names(mode: SyncMode | str, count: int, names: Sequence[str]) -> str:
    """`ANY 1 ("node2", "node3")`; "" when commits wait for nobody.

    Every name is quoted and given in full, never `*`: two standbys of one name, or a stranger, would make the count untrue.
    Fewer names than `count` are written as they are: commits then wait, which is what was asked for.
    """
    if mode == "async" or not names:
        return ""
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{mode.upper()} {count} ({listed})"


def parse_names(text: str) -> SyncNames | None:
    """What a server has as synchronous_standby_names; None for a text that PostgreSQL would not take.

    `FIRST n (...)`, `ANY n (...)`, `n (...)` (the same as FIRST) and a bare list (FIRST 1).
    """
    tokens = _tokens(text)
    if tokens is None:
        return None
    if not tokens:
        return SyncNames()
    mode: SyncMode = "first"
    if len(tokens) > 1 and tokens[0].lower() in ("first", "any") and tokens[1].isdigit():
        mode = "any" if tokens.pop(0).lower() == "any" else "first"
    count = 1
    if len(tokens) > 2 and tokens[0].isdigit() and tokens[1] == "(" and tokens[-1] == ")":
        count, tokens = int(tokens[0]), tokens[2:-1]
    names, commas = tokens[::2], tokens[1::2]
    well = len(names) == len(commas) + 1 and set(commas) <= {","} and not {"(", ")", ","} & set(names)
    return SyncNames(mode, count, tuple(names)) if well and count >= 1 else None


def _tokens(text: str) -> list[str] | None:
    """Names, numbers and signs; None where something else stands there."""
    tokens, place, end = [], 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            return None
        quoted, plain, sign = match.groups()
        tokens.append(quoted.replace('""', '"') if quoted else plain or sign)
        place = match.end()
    return tokens


def counted(facts: InstanceFacts) -> list[ReplicationRow]:
    """The standbys whose answer a commit waits for, as the primary shows them."""
    return [sender for sender in facts.senders if sender.sync_state in COUNTED and sender.state == "streaming"]


def twins(senders: Iterable[ReplicationRow], names: Sequence[str]) -> list[str]:
    """Names of the list under which more than one standby replicates: each of them counts, so two may be one."""
    seen = [sender.application_name.casefold() for sender in senders if sender.state != "backup"]
    return [name for name in names if seen.count(name.casefold()) > 1]


def below_on(commit: str) -> bool:
    """Whether commits under this synchronous_commit do not wait for the standbys' disks."""
    return commit.lower() not in ON
