"""How long until a slot is lost or a disk is full, and what is said of what nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.postgres.forecast import STALE_SECONDS, DiskSeen, SlotSeen, disk_forecast, slot_forecast

MB, GB = 1024**2, 1024**3
DISK = DiskSeen(free_bytes=36 * GB, rate=10.0 * MB, age=30.0)
SLOT = SlotSeen("pgr_orders_node2", active=False, owner="node2", wal_status="reserved", safe_bytes=GB, retained_bytes=100 * MB)


def cures(found: Any) -> list[str]:
    return [cure.partition(":")[0].partition(";")[0] for cure in found.cures]


def it_divides_what_is_free_by_how_fast_it_goes() -> None:
    found = disk_forecast(DISK)
    assert (found.outlook, found.seconds, found.left) == ("filling", pytest.approx(3686.4), 36 * GB)


@pytest.mark.parametrize(("change", "outlook", "sentence"), [
    ({"free_bytes": None}, "unknown", "Not known: nobody has looked at this disk yet."),
    ({"age": None}, "unknown", "Not known: nobody has looked at this disk yet."),
    ({"age": STALE_SECONDS + 301}, "unknown", "Not known: the last look at this disk is 10 minutes old."),
    ({"rate": None}, "unknown", "Not known: a rate takes five minutes of looks."),
    ({"rate": 0.0}, "steady", "It does not fill."),
    ({"rate": -5.0}, "steady", "It does not fill."), ({"rate": 0.5}, "steady", "It does not fill."),
    ({"free_bytes": 1000, "rate": None}, "over", "It is full: PostgreSQL stops where it cannot write."),
])  # fmt: skip
def it_says_honestly_what_cannot_be_told(change: dict[str, Any], outlook: str, sentence: str) -> None:
    found = disk_forecast(replace(DISK, **change))
    assert (found.outlook, found.sentence) == (outlook, sentence)
    assert found.seconds == (0.0 if outlook == "over" else None)


def it_names_what_takes_the_space_in_the_order_to_free_it() -> None:
    other = replace(SLOT, name="small", retained_bytes=MB)
    full = replace(DISK, copies=7 * GB, archives=True, slots=(other, replace(SLOT, retained_bytes=3 * GB)))
    assert cures(disk_forecast(full)) == [
        "Purge kept copies that nobody needs any more",
        "See that WAL archiving works (pg_stat_archiver)",
        "The slot pgr_orders_node2 keeps 3.0 GB of WAL",
        "Delete what is not the database's, or extend the file system.",
    ]
    assert cures(disk_forecast(replace(DISK, slots=(other,)))) == ["Delete what is not the database's, or extend the file system."]


def it_tells_when_an_idle_slot_is_lost() -> None:
    found = slot_forecast(SLOT, MB, DISK)
    assert (found.outlook, found.seconds, found.left) == ("filling", 1024.0, GB)
    assert found.sentence == "Then the slot is lost, and its standby needs a new copy."
    assert cures(found) == [
        "Bring node2 back",
        "If node2 is gone for good, remove it from the cluster",
        "Else raise max_slot_wal_keep_size",
    ]
    assert cures(slot_forecast(replace(SLOT, owner=""), MB, replace(DISK, free_bytes=GB))) == [
        "Bring back who uses the slot pgr_orders_node2"  # the disk has no room for a higher limit
    ]


def it_takes_the_disk_for_the_limit_where_it_is() -> None:
    unlimited = slot_forecast(replace(SLOT, safe_bytes=None), MB, DISK)
    assert (unlimited.seconds, unlimited.sentence) == (36 * 1024.0, "Then the disk is full, and the instance stops.")
    assert cures(unlimited)[-1] == "Set max_slot_wal_keep_size"
    small = slot_forecast(SLOT, MB, replace(DISK, free_bytes=100 * MB))
    assert (small.seconds, small.sentence) == (100.0, "Then the disk is full, and the instance stops.")


@pytest.mark.parametrize(("slot", "rate", "disk", "outlook"), [
    (replace(SLOT, active=True), 5.0, DISK, "steady"), (replace(SLOT, active=True, wal_status="extended"), MB, DISK, "filling"),
    (SLOT, None, DISK, "unknown"), (SLOT, 0.0, DISK, "steady"), (SLOT, MB, replace(DISK, age=None), "filling"),
    (replace(SLOT, safe_bytes=None), MB, replace(DISK, age=900.0), "unknown"),
    (replace(SLOT, wal_status="lost", safe_bytes=None), None, DISK, "over"), (replace(SLOT, safe_bytes=-5), MB, DISK, "filling"),
])  # fmt: skip
def it_knows_what_a_slot_does(slot: SlotSeen, rate: float | None, disk: DiskSeen, outlook: str) -> None:
    assert slot_forecast(slot, rate, disk).outlook == outlook


def it_says_nothing_of_the_slots_of_an_instance_that_is_silent_but_that_they_are_lost() -> None:
    assert slot_forecast(SLOT, MB, DISK, heard=False).sentence == "Not known: its instance does not answer now."
    lost = slot_forecast(replace(SLOT, wal_status="lost"), MB, DISK, heard=False)
    assert cures(lost) == ["Rejoin node2 from a new copy", "If node2 is gone for good, remove it from the cluster"]
    assert cures(slot_forecast(replace(SLOT, wal_status="lost", owner=""), MB, DISK)) == ["Drop the slot pgr_orders_node2"]
