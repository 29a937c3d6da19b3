"""The guarantee as a page shows it: the promise, and each reason why less holds, in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext

from clusters.form_fields import translated
from clusters.models import Cluster, SyncMode
from clusters.postgres.guarantee import FOOTNOTE, Guarantee
from clusters.synchronous import guarantee_of
from tasks.members import Members

TONES: Final = {"synchronous": "ok", "weakened": "warning", "waiting": "failed", "none": "warning", "unknown": "unknown"}


@dataclass(frozen=True)
class Promise:
    """`tone` picks colour and icon; asynchronous replication is said plainly, it is no fault."""

    tone: str
    sentence: str
    buts: list[str]
    footnote: str


def promise_of(cluster: Cluster, members: Members) -> Promise | None:
    """What holds of an acknowledged commit, by the last look; None while the cluster is not made."""
    if cluster.lifecycle != "ready":
        return None
    held = guarantee_of(cluster, members.instances, {pair.standby_id: pair.upstream_id for pair in members.pairs})
    return Promise(_tone(held), translated(held.promise), [translated(but) for but in held.buts], _footnote(cluster, held))


def _tone(held: Guarantee) -> str:
    if held.level == "asynchronous":
        return "warning" if held.buts else "running"
    return TONES[held.level]


def _footnote(cluster: Cluster, held: Guarantee) -> str:
    return gettext(FOOTNOTE) if held.level in ("synchronous", "weakened", "waiting") or cluster.sync_mode != SyncMode.ASYNC else ""
