"""May a new cluster's first instance be made here? Pure, as the other rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clusters.postgres.clone_facts import TargetState
from clusters.postgres.facts import Version
from clusters.postgres.obstacles import Obstacle, obstacle, size
from clusters.postgres.text import gettext_noop as _

#: An empty data directory takes some 40 MB, its first WAL as much, and wal_keep_size and max_wal_size a gigabyte each in time.
ROOM_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True)
class PlaceFacts:
    """What must be known of the place where a new data directory is to be made."""

    major: int  # as declared
    version: Version | None  # of the programs in the declared directory; None: they do not run
    bindir: str
    port: int
    port_free: bool
    directory: str
    directory_state: TargetState
    free_bytes: int


PlaceRule = Callable[[PlaceFacts], Obstacle | None]


def programs_differ(facts: PlaceFacts) -> Obstacle | None:
    """The programs are there and of the declared version."""
    if facts.version is not None and facts.version.major == facts.major:
        return None
    return obstacle(
        "programs_differ",
        "blocks",
        _("The programs in %(bindir)s are not PostgreSQL %(threshold)s (found: %(value)s)."),
        _("Check the server, so that the panel knows its programs as they are now, then request the cluster again."),
        value=str(facts.version) if facts.version else "nothing that runs",
        threshold=facts.major,
        bindir=facts.bindir,
    )


def port_in_use(facts: PlaceFacts) -> Obstacle | None:
    """Nothing listens on the port."""
    if facts.port_free:
        return None
    return obstacle(
        "port_in_use",
        "blocks",
        _("Port %(value)s is in use on the server."),
        _("Stop what listens there and resume the job, or remove the cluster and create it with another port."),
        value=facts.port,
    )


def directory_in_use(facts: PlaceFacts) -> Obstacle | None:
    """Nothing of somebody else's lies where the instance is to be."""
    if facts.directory_state != "other":
        return None
    return obstacle(
        "directory_in_use",
        "blocks",
        _("%(value)s exists on the server and was not made by this job."),
        _("Look what it is, and move it away by hand. The panel removes nothing that it did not make."),
        value=facts.directory,
    )


def room_missing(facts: PlaceFacts) -> Obstacle | None:
    """There is room for an empty cluster and its first WAL."""
    if facts.free_bytes >= ROOM_BYTES:
        return None
    return obstacle(
        "room_missing",
        "blocks",
        _("%(free)s are free; a new cluster needs at least %(needed)s."),
        _("Free some room on the disk of the base directory, then resume the job."),
        value=facts.free_bytes,
        threshold=ROOM_BYTES,
        free=size(facts.free_bytes),
        needed=size(ROOM_BYTES),
    )


PLACE_RULES: Final[tuple[PlaceRule, ...]] = (programs_differ, port_in_use, directory_in_use, room_missing)


def place_obstacles(facts: PlaceFacts) -> list[Obstacle]:
    """Every reason against this place, in the order of the rules."""
    return [found for rule in PLACE_RULES if (found := rule(facts))]
