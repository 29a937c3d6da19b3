"""Whether two instances of one cluster are built alike: rules that a clone and a promotion share.

Each compares a target (the copy to be, the candidate) with its source (what is copied, the primary).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

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

    def difference(self, name: Literal["machine", "libc", "icu", "image"]) -> dict[str, Any]:
        """The words of a sentence about it; none where both are alike, or one of them is not known."""
        here, there = getattr(self.here, name), getattr(self.there, name)
        known = here and there and here != there
        return {"value": here, "threshold": there, "target": self.target, "source": self.source} if known else {}


def machine_differs(pair: Pair) -> Obstacle | None:
    words = pair.difference("machine")
    if not words:
        return None
    return obstacle(
        "machine_differs",
        "blocks",
        _("The processor of %(target)s is %(value)s, that of %(source)s %(threshold)s; a physical copy does not work across them."),
        _("Choose a server of the same kind."),
        **words,
    )


def libc_differs(pair: Pair) -> Obstacle | None:
    """Between versions of one library most texts sort alike; between glibc and musl (Alpine) they do not."""
    words = pair.difference("libc")
    if not words:
        return None
    return obstacle(
        "libc_differs",
        "warns" if words["value"].split()[0] == words["threshold"].split()[0] else "blocks",
        _("The C library of %(target)s is %(value)s, that of %(source)s %(threshold)s; they may sort text differently."),
        _("Indexes on text break. Use the same system or image on both; between versions of one library look for collation_mismatch."),
        **words,
    )


def icu_differs(pair: Pair) -> Obstacle | None:
    """Whether a database is damaged by it is what collation_mismatch tells, once the copy runs."""
    words = pair.difference("icu")
    if not words:
        return None
    return obstacle(
        "icu_differs",
        "warns",
        _("%(target)s is linked with ICU %(value)s, %(source)s with ICU %(threshold)s; its collations may sort text differently."),
        _("Use the same packages, or the same image, on both servers; else look for collation_mismatch and REINDEX what it names."),
        **words,
    )


def image_differs(pair: Pair) -> Obstacle | None:
    """A tag is no promise: it may name one image here and another there."""
    words = pair.difference("image")
    if not words:
        return None
    return obstacle(
        "image_differs",
        "warns",
        _("%(target)s runs the image %(value)s, %(source)s the image %(threshold)s."),
        _("Pull the same image on both servers, best by its digest, and restart the standby first."),
        **words,
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
