"""The replication slots of a cluster as the last looks saw them, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from typing_extensions import TypedDict

from clusters.models import Cluster, Instance, ReplicationPair
from clusters.postgres.facts import InstanceFacts, SlotRow, Unreadable
from clusters.postgres.names import slot_name

UNKNOWN = "unknown"


class SlotShow(TypedDict):
    instance: str
    slot: str
    owner: str  # the instance whose WAL it keeps, or unknown
    type: str  # physical, logical
    active: bool
    temporary: bool
    wal_status: str | None  # reserved, extended, unreserved, lost
    restart_lsn: str | None  # it keeps WAL from there on
    retained_bytes: int | None
    safe_bytes: int | None  # may still be written before it is in danger; null: no limit
    observed_at: datetime | None  # the look that saw it


@dataclass(frozen=True)
class Owner:
    """Whose slot it is. `declared`: the panel says so; else the standby was only seen to use it."""

    name: str
    declared: bool


def slot_owner(
    cluster: Cluster, instance: Instance, slot: str, members: Iterable[Instance], pairs: Iterable[ReplicationPair]
) -> Owner | None:
    """Whose slot this one on `instance` is: of the pair that declares it, of the member after whom it is named, of the one that used it.

    A standby keeps WAL for its pairs alone: what is named after another member was made there for a promotion that did not come about.
    """
    rows = list(members)
    names = {row.pk: row.name for row in rows}
    for pair in pairs:
        if pair.upstream_id == instance.pk and pair.slot == slot:
            return Owner(names[pair.standby_id], True)
    for row in rows if instance.role == Instance.Role.PRIMARY else ():
        if row.pk != instance.pk and slot_name(cluster.name, row.name) == slot:
            return Owner(row.name, True)
    for row in rows:
        facts = facts_of(row)
        if row.pk != instance.pk and facts and facts.settings.get("primary_slot_name") == slot and _follows(facts, instance):
            return Owner(row.name, False)
    return None


def _follows(facts: InstanceFacts, instance: Instance) -> bool:
    """Whether it was last seen receiving from there; where it received from nobody, it may have."""
    receiver = facts.receiver
    return receiver is None or (receiver.host, receiver.port) == (instance.server.address, instance.port)


def slots_of(cluster: Cluster, members: Iterable[Instance], pairs: Iterable[ReplicationPair]) -> list[SlotShow]:
    """Every slot of every instance, by instance and name. No query: the rows are given, with their servers."""
    rows, known = list(members), list(pairs)
    return [
        _shown(row, facts, slot, slot_owner(cluster, row, slot.name, rows, known))
        for row in rows
        if (facts := facts_of(row))
        for slot in facts.slots
    ]


def _shown(row: Instance, facts: InstanceFacts, slot: SlotRow, owner: Owner | None) -> SlotShow:
    return {
        "instance": row.name,
        "slot": slot.name,
        "owner": owner.name if owner else UNKNOWN,
        "type": slot.type,
        "active": slot.active,
        "temporary": slot.temporary,
        "wal_status": slot.wal_status,
        "restart_lsn": str(slot.restart_lsn) if slot.restart_lsn is not None else None,
        "retained_bytes": max(0, facts.lsn - slot.restart_lsn) if slot.restart_lsn is not None else None,
        "safe_bytes": slot.safe_wal_size,
        "observed_at": row.observed_at,
    }


def facts_of(instance: Instance) -> InstanceFacts | None:
    """The facts of the last look; None where there are none, or none that can be read."""
    try:
        return InstanceFacts.from_row(instance.observed) if instance.observed else None
    except Unreadable:
        return None
