"""What stands in the way of making or dropping a slot by hand."""

from __future__ import annotations

from clusters.postgres.facts import InstanceFacts
from clusters.postgres.obstacles import Obstacle, obstacle
from clusters.postgres.text import gettext_noop as _


def create_slot_obstacles(facts: InstanceFacts, name: str, slot: str) -> list[Obstacle]:
    """`name`: the instance it is to be made on."""
    found = [_slot_there(facts, name, slot), _no_slot_left(facts, name), _slot_uncapped(facts, name)]
    return [item for item in found if item]


def drop_slot_obstacles(facts: InstanceFacts, name: str, slot: str, owner: str) -> list[Obstacle]:
    """`owner`: the instance that the panel declares it for, "" where there is none."""
    found = [_slot_absent(facts, name, slot), _slot_owned(slot, owner), _slot_active(facts, name, slot), _slot_logical(facts, slot)]
    return [item for item in found if item]


def _slot_there(facts: InstanceFacts, name: str, slot: str) -> Obstacle | None:
    if facts.slot(slot) is None:
        return None
    return obstacle(
        "slot_there", "blocks", _("%(instance)s has a slot %(value)s already."), _("Choose another name."), value=slot, instance=name
    )


def _no_slot_left(facts: InstanceFacts, name: str) -> Obstacle | None:
    limit = facts.number("max_replication_slots")
    if len(facts.slots) < limit:
        return None
    return obstacle(
        "no_slot_left",
        "blocks",
        _("%(instance)s has %(value)s replication slots, and max_replication_slots is %(threshold)s: there is none left."),
        _("Drop one that nobody uses, or raise max_replication_slots and restart."),
        value=len(facts.slots),
        threshold=limit,
        instance=name,
    )


def _slot_uncapped(facts: InstanceFacts, name: str) -> Obstacle | None:
    if facts.number("max_slot_wal_keep_size") >= 0:
        return None
    return obstacle(
        "slot_uncapped",
        "warns",
        _("max_slot_wal_keep_size of %(instance)s is %(value)s: a slot that nobody uses fills its disk."),
        _("Set a limit, or drop the slot as soon as it is not needed any more."),
        value=facts.number("max_slot_wal_keep_size"),
        instance=name,
    )


def _slot_absent(facts: InstanceFacts, name: str, slot: str) -> Obstacle | None:
    if facts.slot(slot) is not None:
        return None
    return obstacle("slot_absent", "blocks", _("%(instance)s has no slot %(value)s."), _("See: cluster slots."), value=slot, instance=name)


def _slot_owned(slot: str, owner: str) -> Obstacle | None:
    if not owner:
        return None
    return obstacle(
        "slot_owned",
        "blocks",
        _("The slot %(value)s belongs to %(owner)s, which would have to be cloned again without it."),
        _("Remove that standby if it is gone for good: its slot goes with it."),
        value=slot,
        owner=owner,
    )


def _slot_active(facts: InstanceFacts, name: str, slot: str) -> Obstacle | None:
    row = facts.slot(slot)
    if row is None or not row.active:
        return None
    user = next((sender.application_name for sender in facts.senders if sender.pid == row.pid), "")
    return obstacle(
        "slot_active",
        "blocks",
        _("The slot %(value)s on %(instance)s is in use by %(user)s (process %(pid)s)."),
        _("Stop whoever uses it first."),
        value=slot,
        instance=name,
        user=user or "?",
        pid=row.pid,
    )


def _slot_logical(facts: InstanceFacts, slot: str) -> Obstacle | None:
    row = facts.slot(slot)
    if row is None or row.type == "physical":
        return None
    return obstacle(
        "slot_logical",
        "warns",
        _("The slot %(value)s is %(type)s: whoever reads changes from it must be set up again."),
        _("Ask who uses it before you drop it."),
        value=slot,
        type=row.type,
    )
