"""What is true of a commit that was acknowledged: one sentence, from what the primary was seen to do, weakened where it must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from clusters.postgres.facts import InstanceFacts
from clusters.postgres.refused import shown
from clusters.postgres.sync import SyncNames, below_on, counted, parse_names, twins
from clusters.postgres.text import Text
from clusters.postgres.text import gettext_noop as _

#: synchronous: each acknowledged commit is on so many standbys. weakened: not each of them. waiting: commits are not acknowledged now.
#: asynchronous: standbys receive, commits do not wait for them. none: there is one copy. unknown: no primary was seen.
Level = Literal["synchronous", "weakened", "waiting", "asynchronous", "none", "unknown"]

#: What nobody can see from outside, said beside every guarantee.
FOOTNOTE: Final = _(
    "A session may SET synchronous_commit for itself, which cannot be seen from outside; and a commit whose wait is cancelled "
    "is visible although no standby has it."
)


@dataclass(frozen=True)
class Guarantee:
    """The level in one word; what is promised; and each reason why less than that holds."""

    level: Level
    promise: Text
    buts: tuple[Text, ...] = field(default=())

    @property
    def sentence(self) -> str:
        """All of it as one sentence."""
        return joined(str(self.promise), [str(but) for but in self.buts])


def joined(promise: str, buts: list[str]) -> str:
    """One sentence: the promise, then what weakens it."""
    return f"{', '.join([promise, *buts])}."


def guarantee(primary: InstanceFacts | None, declared: str) -> Guarantee:
    """What holds by the last look at the one primary (None: there was none). `declared`: synchronous_standby_names as the panel has it."""
    if primary is None:
        return Guarantee("unknown", Text(_("No primary was seen at the last look: nothing can be said of commits")))
    setting = primary.settings.get("synchronous_standby_names", "")
    names = parse_names(setting)
    if names is None:
        return Guarantee("unknown", Text(_("synchronous_standby_names of the primary cannot be read: %(setting)s"), setting=shown(setting)))
    if names.mode == "async":
        return _asynchronous(primary, setting, declared)
    return _synchronous(primary, names, setting, declared)


def _asynchronous(primary: InstanceFacts, setting: str, declared: str) -> Guarantee:
    buts = _differs(setting, declared)
    if not any(sender.state == "streaming" for sender in primary.senders):
        return Guarantee("none", Text(_("No standby is streaming: an acknowledged commit is on the primary alone")), buts)
    return Guarantee(
        "asynchronous",
        Text(_("Commits wait for no standby (asynchronous): a failover may lose the last commits")),
        buts,
    )


def _synchronous(primary: InstanceFacts, names: SyncNames, setting: str, declared: str) -> Guarantee:
    short = len(counted(primary)) < names.count
    buts = (*_weakened(primary, names), *_differs(setting, declared))
    waits = (_waiting(primary, names),) if short else ()
    return Guarantee("waiting" if short else "weakened" if buts else "synchronous", _promise(names), (*waits, *buts))


def _promise(names: SyncNames) -> Text:
    listed = ", ".join(shown(name) for name in names.names)
    if names.mode == "any" and names.count < len(names.names):
        template = _("Every commit is on disk on the primary and on %(count)s of %(names)s before it is acknowledged")
    elif names.count >= len(names.names):
        template = _("Every commit is on disk on the primary and on %(names)s before it is acknowledged")
    else:
        template = _("Every commit is on disk on the primary and on the first %(count)s streaming of %(names)s before it is acknowledged")
    return Text(template, count=names.count, names=listed)


def _waiting(primary: InstanceFacts, names: SyncNames) -> Text:
    found = len(counted(primary))
    if found == 0:
        return Text(_("but no synchronous standby is streaming: commits wait"))
    return Text(_("but only %(found)s of %(count)s synchronous standbys is streaming: commits wait"), found=found, count=names.count)


def _weakened(primary: InstanceFacts, names: SyncNames) -> tuple[Text, ...]:
    found = []
    commit = primary.settings.get("synchronous_commit", "on")
    if below_on(commit):
        found.append(
            Text(_("but synchronous_commit is %(commit)s on the server: sessions do not wait unless they set it on"), commit=commit)
        )
    if primary.weak_sync:
        places = ", ".join(shown(place) for place in primary.weak_sync)
        found.append(Text(_("except for the %(places)s (synchronous_commit below on)"), places=places))
    if names.star:
        found.append(Text(_("but the list holds *: whoever replicates counts, so it is not known who has the commits")))
    if doubles := twins(primary.senders, names.names):
        template = _("but more than one standby replicates as %(names)s: two that count may be the same one")
        found.append(Text(template, names=", ".join(shown(name) for name in doubles)))
    return tuple(found)


def _differs(setting: str, declared: str) -> tuple[Text, ...]:
    if same_names(setting, declared):
        return ()
    template = _("and this is not what the panel declares (%(declared)s)")
    return (Text(template, declared=declared or "''"),)


def same_names(one: str, other: str) -> bool:
    """Whether two values of synchronous_standby_names mean the same."""
    first, second = parse_names(one), parse_names(other)
    return first is not None and second is not None and first.same(second)
