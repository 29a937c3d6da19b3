"""Obstacles before a new cluster's first instance, each from its own change of a place where nothing is in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.postgres.facts import Version
from clusters.postgres.place_rules import PLACE_RULES, ROOM_BYTES, PlaceFacts, place_obstacles

PLACE = PlaceFacts(
    major=16,
    version=Version(160004),
    bindir="/usr/lib/postgresql/16/bin",
    port=5432,
    port_free=True,
    directory="/var/lib/pgreplica/orders/alpha",
    directory_state="absent",
    free_bytes=ROOM_BYTES,
)

FIRES = [
    (
        {"version": Version(150020)}, "programs_differ", "15.20", 16,
        "The programs in /usr/lib/postgresql/16/bin are not PostgreSQL 16 (found: 15.20).",
    ),
    (
        {"version": None}, "programs_differ", "nothing that runs", 16,
        "The programs in /usr/lib/postgresql/16/bin are not PostgreSQL 16 (found: nothing that runs).",
    ),
    ({"port_free": False}, "port_in_use", 5432, None, "Port 5432 is in use on the server."),
    (
        {"directory_state": "other"}, "directory_in_use", "/var/lib/pgreplica/orders/alpha", None,
        "/var/lib/pgreplica/orders/alpha exists on the server and was not made by this job.",
    ),
    (
        {"free_bytes": ROOM_BYTES - 1}, "room_missing", ROOM_BYTES - 1, ROOM_BYTES,
        "512 MB are free; a new cluster needs at least 512 MB.",
    ),
]  # fmt: skip


@pytest.mark.parametrize("state", ["absent", "empty", "ours"])
def it_finds_nothing_where_nothing_is_in_the_way(state):
    assert place_obstacles(replace(PLACE, directory_state=state)) == []


@pytest.mark.parametrize(("changes", "name", "value", "threshold", "sentence"), FIRES, ids=[row[1] for row in FIRES])
def it_finds(changes, name, value, threshold, sentence):
    (found,) = place_obstacles(replace(PLACE, **changes))
    assert (found.name, found.severity, found.value, found.threshold, found.sentence) == (name, "blocks", value, threshold, sentence)
    assert found.cure.endswith(".")


def it_tries_every_rule():
    assert {row[1] for row in FIRES} == {rule.__name__ for rule in PLACE_RULES}
