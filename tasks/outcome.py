"""What a change of the primary, or a rejoin, came to: the result of the job as rows of words. Pure.

The page of the job and the entry of the audit trail show the same rows; the trail keeps whole numbers and texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from clusters.models import Verification
from tasks.templatetags.panel import bytes_filter

FENCES: Final[dict[str, str | Promise]] = {
    "stopped": gettext_lazy("stopped on its server, and it cannot come up writable"),
    "confirmed": gettext_lazy("a person has seen that its server is off"),
    "quorum": gettext_lazy("its synchronous standbys were taken away: it can acknowledge nothing"),
    "none": gettext_lazy("nobody made sure of it"),
}
WAYS: Final[dict[str, str | Promise]] = {
    "direct": gettext_lazy("directly: its data was a part of what the upstream has"),
    "rewind": gettext_lazy("by pg_rewind"),
    "basebackup": gettext_lazy("by a new base backup"),
}
_TONES: Final = {"ok": "ok", "warning": "warning", "failed": "failed"}


@dataclass(frozen=True)
class Fact:
    """One row. `tone` is "" where nothing needs saying about it."""

    label: str
    value: str
    tone: str = ""


@dataclass(frozen=True)
class Outcome:
    facts: list[Fact]
    lost: Mapping[str, Any] | None = None  # the report of lost writes of a rejoin


def outcome_of(kind: str, result: Mapping[str, Any]) -> Outcome | None:
    """None where the kind has no such rows, or the job never came that far."""
    rows = _ROWS.get(kind)
    if rows is None or not (result.get("new_primary") or result.get("way")):
        return None
    return Outcome([fact for fact in rows(result) if fact.value], result.get("lost_writes") or None)


def _switchover(result: Mapping[str, Any]) -> Iterator[Fact]:
    yield from _who(result)
    yield Fact(_("The old primary ended at"), str(result.get("shutdown_lsn") or ""))
    yield Fact(_("The new primary had replayed up to"), str(result.get("proven_lsn") or ""))
    yield from _gap(result)
    yield from _standbys(result)


def _failover(result: Mapping[str, Any]) -> Iterator[Fact]:
    yield from _who(result)
    yield Fact(_("Promoted at"), str(result.get("promoted_lsn") or ""))
    yield from _loss(result.get("loss_bound") or {})
    fence = str(result.get("fence") or "")
    yield Fact(_("What keeps the old primary from writing"), str(FENCES.get(fence, fence)), "ok" if fence not in ("", "none") else "failed")
    yield from _evidence(result.get("evidence") or {})
    yield Fact(_("Flags"), ", ".join(result.get("flags") or []))
    yield from _standbys(result)


def _promote(result: Mapping[str, Any]) -> Iterator[Fact]:
    yield Fact(_("Left the cluster"), str(result.get("cluster") or ""))
    yield Fact(_("Is now the primary of"), f"{result.get('new_cluster')} ({result.get('new_primary')})")
    yield Fact(_("Timeline"), str(result.get("timeline") or ""))
    yield Fact(_("Position"), str(result.get("lsn") or ""))


def _rejoin(result: Mapping[str, Any]) -> Iterator[Fact]:
    yield Fact(_("Returned"), str(WAYS.get(str(result.get("way")), result.get("way") or "")))
    yield Fact(_("Follows"), str(result.get("upstream") or ""))
    if result.get("fork_lsn"):
        words = _("%(lsn)s on timeline %(timeline)s")
        yield Fact(_("Where the branches parted"), words % {"lsn": result["fork_lsn"], "timeline": result.get("fork_timeline") or "?"})
    yield Fact(_("Its own WAL ended at"), str(result.get("end_lsn") or ""))
    yield Fact(_("Old data kept in"), str(result.get("kept_copy") or ""))
    if "lost_writes" in result and not result["lost_writes"]:
        yield Fact(_("Lost writes"), _("none: it had nothing that the cluster has not"), "ok")


_ROWS: Final[dict[str, Callable[[Mapping[str, Any]], Iterator[Fact]]]] = {
    "switchover": _switchover,
    "failover": _failover,
    "promote": _promote,
    "rejoin": _rejoin,
}


# -- parts


def _who(result: Mapping[str, Any]) -> Iterator[Fact]:
    yield Fact(_("Primary"), _arrow(result.get("old_primary"), result.get("new_primary")))
    yield Fact(_("Timeline"), _arrow(result.get("old_timeline"), result.get("timeline")))
    yield Fact(_("Epoch"), str(result.get("epoch") or ""))


def _arrow(old: Any, new: Any) -> str:
    return f"{old} → {new}" if old and new else str(new or "")


def _gap(result: Mapping[str, Any]) -> Iterator[Fact]:
    milliseconds = result.get("write_gap_ms")
    if milliseconds is None:
        return
    by = _("felt by a canary writer") if result.get("write_gap_by") == "canary" else _("from the order to stop to the first row; no canary")
    yield Fact(_("Nobody could write for"), f"{milliseconds} ms ({by})", "ok" if int(milliseconds) <= 1000 else "warning")
    if result.get("canary_acknowledged") is not None:
        counts = {"acknowledged": result["canary_acknowledged"], "lost": result.get("canary_lost") or 0}
        if counts["lost"]:
            yield Fact(_("Canary"), _("%(acknowledged)s commits acknowledged, %(lost)s of them LOST") % counts, "failed")
        else:
            yield Fact(_("Canary"), _("%(acknowledged)s commits acknowledged = found, 0 lost") % counts, "ok")


def _loss(bound: Mapping[str, Any]) -> Iterator[Fact]:
    if not bound:
        return
    label, size, commits = _("Lost"), bound.get("bytes"), bound.get("commits")
    if size is None:
        yield Fact(label, _("not known: nobody could tell how far the old primary had come"), "failed")
        return
    if bound.get("exact") and not size:
        yield Fact(label, _("nothing that was acknowledged"), "ok")
        return
    words = _("exactly %(size)s of WAL") if bound.get("exact") else _("at least %(size)s of WAL, and what came after the last look")
    told = words % {"size": f"{bytes_filter(int(size))} ({size})"}
    if commits is not None:
        told += ", " + ngettext("%(count)s commit", "%(count)s commits", int(commits)) % {"count": commits}
    yield Fact(label, told, "failed")
    if bound.get("first"):
        yield Fact(_("Lost commits, first and last"), f"{bound['first']} – {bound.get('last') or ''}")
    yield Fact(_("Lost transactions"), _some(bound.get("xids") or []))


def _evidence(evidence: Mapping[str, Any]) -> Iterator[Fact]:
    if not evidence:
        return
    heard = "; ".join(evidence.get("heard") or []) or _("nobody heard it")
    server = _("its server did not answer")
    if evidence.get("server_reachable"):
        server = _("PostgreSQL ran on its server") if evidence.get("server_runs") else _("PostgreSQL did not run on its server")
    yield Fact(_("How it was found dead"), f"{heard}; {server}")


def _standbys(result: Mapping[str, Any]) -> Iterator[Fact]:
    verdicts = result.get("verdicts") or {}
    labels = dict(Verification.Verdict.choices)
    tones = {_TONES.get(str(value), "warning") for value in verdicts.values()}
    worst = next((tone for tone in ("failed", "warning", "ok") if tone in tones), "")
    yield Fact(_("Verdicts"), ", ".join(f"{name}: {labels.get(value, value)}" for name, value in verdicts.items()), worst)
    yield Fact(_("Not replicating yet"), ", ".join(result.get("not_streaming") or []), "failed")


def _some(values: Sequence[Any], limit: int = 20) -> str:
    more = len(values) - limit
    shown = ", ".join(map(str, values[:limit]))
    return f"{shown} … (+{more})" if more > 0 else shown
