"""Whether two instances of one cluster are built alike: rules that a clone and a promotion share.

Each compares a target (the copy to be, the candidate) with its source (what is copied, the primary).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clusters.postgres.build import Build
from clusters.postgres.obstacles import Obstacle, obstacle
from clusters.postgres.text import gettext_noop as _

#: So many names stand in a sentence.
NAMED: Final = 10


@dataclass(frozen=True)
class Pair:
    """Two builds, and whose they are."""

    target: str
    source: str
    here: Build
    there: Build
    used: tuple[str, ...] | None = None  # extensions of the source's databases; None: not asked, or not known


def machine_differs(pair: Pair) -> Obstacle | None:
    here, there = pair.here.machine, pair.there.machine
    if not here or not there or here == there:
        return None
    return obstacle(
        "machine_differs",
        "blocks",
        _("The processor of %(target)s is %(value)s, that of %(source)s %(threshold)s; a physical copy does not work across them."),
        _("Choose a server of the same kind."),
        value=here,
        threshold=there,
        target=pair.target,
        source=pair.source,
    )


def libc_differs(pair: Pair) -> Obstacle | None:
    """Between versions of one library most texts sort alike; between glibc and musl (Alpine) they do not."""
    here, there = pair.here.libc, pair.there.libc
    if not here or not there or here == there:
        return None
    return obstacle(
        "libc_differs",
        "warns" if here.split()[0] == there.split()[0] else "blocks",
        _("The C library of %(target)s is %(value)s, that of %(source)s %(threshold)s; they may sort text differently."),
        _("Indexes on text break. Use the same system or image on both; between versions of one library look for collation_mismatch."),
        value=here,
        threshold=there,
        target=pair.target,
        source=pair.source,
    )


def icu_differs(pair: Pair) -> Obstacle | None:
    """Whether a database is damaged by it is what collation_mismatch tells, once the copy runs."""
    here, there = pair.here.icu, pair.there.icu
    if not here or not there or here == there:
        return None
    return obstacle(
        "icu_differs",
        "warns",
        _("%(target)s is linked with ICU %(value)s, %(source)s with ICU %(threshold)s; its collations may sort text differently."),
        _("Use the same packages, or the same image, on both servers; else look for collation_mismatch and REINDEX what it names."),
        value=here,
        threshold=there,
        target=pair.target,
        source=pair.source,
    )


def image_differs(pair: Pair) -> Obstacle | None:
    """A tag is no promise: it may name one image here and another there."""
    here, there = pair.here.image, pair.there.image
    if not here or not there or here == there:
        return None
    return obstacle(
        "image_differs",
        "warns",
        _("%(target)s runs the image %(value)s, %(source)s the image %(threshold)s."),
        _("Pull the same image on both servers, best by its digest, and restart the standby first."),
        value=here,
        threshold=there,
        target=pair.target,
        source=pair.source,
    )


def extension_missing(pair: Pair) -> Obstacle | None:
    """Without its library a function of an extension fails on the target, and with it whatever index or table uses it."""
    missing = pair.here.lacks(pair.there)
    needed = tuple(name for name in missing if pair.used is None or name in pair.used)
    if not needed:
        return None
    return obstacle(
        "extension_missing",
        "warns" if pair.used is None else "blocks",
        _("The databases of %(source)s may use extensions that %(target)s has not on disk: %(value)s.")
        if pair.used is None
        else _("The databases of %(source)s use extensions that %(target)s has not on disk: %(value)s. What needs them fails there."),
        _("Install the same packages, or use the same image, on both servers."),
        value=", ".join(needed[:NAMED]) + (", …" if len(needed) > NAMED else ""),
        target=pair.target,
        source=pair.source,
    )
