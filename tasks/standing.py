"""What is wrong with a cluster, in sentences; and where what was declared and what was observed differ.

Pure functions over rows that are already loaded (`tasks.members`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.models import Instance, ReplicationPair, Verification
from clusters.postgres.facts import InstanceFacts, Unreadable
from tasks.members import PROOF_HOLDS, Members
from tasks.retold import retold
from tasks.templatetags.panel import bytes_filter
from tasks.verdicts import is_stale

_DOWN = (Instance.Observed.STOPPED, Instance.Observed.UNREACHABLE)
_SEVERITY_TONES = {"blocks": "failed", "flag": "failed", "warns": "warning"}


@dataclass(frozen=True)
class Remark:
    """One thing that a person should know: what it is about, the sentence, and what to do."""

    tone: str
    about: str
    sentence: str
    cure: str = ""
    value: Any = None
    threshold: Any = None


def difference(instance: Instance) -> str:
    """How the observed role differs from the declared one, as a sentence; "" where it does not."""
    declared, observed = instance.get_role_display(), instance.get_observed_role_display()
    if instance.lifecycle != "ready" or instance.observed_role == instance.role:
        return ""
    if instance.observed_role == Instance.Observed.UNKNOWN:
        return _("Declared %(declared)s; nobody has looked at it yet.") % {"declared": declared}
    if instance.observed_role == Instance.Observed.STOPPED:
        return _("Declared %(declared)s, but it does not run.") % {"declared": declared}
    if instance.observed_role == Instance.Observed.UNREACHABLE:
        return _("Declared %(declared)s, but it did not answer.") % {"declared": declared}
    return _("Declared %(declared)s, but observed as %(observed)s.") % {"declared": declared, "observed": observed}


def remarks(members: Members) -> list[Remark]:
    """Everything worth saying, the worst first; empty when all is well."""
    found = [remark for instance in members.instances for remark in instance_remarks(instance)]
    found += [remark for pair in members.pairs for remark in pair_remarks(pair, members.latest.get(pair.pk))]
    order = {"failed": 0, "unknown": 1, "warning": 2}
    return sorted(found, key=lambda remark: order.get(remark.tone, 3))


def instance_remarks(instance: Instance) -> list[Remark]:
    if instance.lifecycle != "ready":
        return []
    if instance.quarantined_at is not None:
        return [_quarantined(instance)]
    sentence = difference(instance)
    if sentence:
        tone = "unknown" if instance.observed_role == Instance.Observed.UNKNOWN else "failed"
        return [Remark(tone, instance.name, sentence, _cure(instance))]
    if is_stale(instance.observed_at):
        return [
            Remark("unknown", instance.name, _("The last look at it is old; what is shown may no longer hold."), _("Verify the cluster."))
        ]
    return []


def _quarantined(instance: Instance) -> Remark:
    """It is meant to be stopped; running, it is an alarm."""
    words, cure = {"reason": instance.quarantine_reason}, _("Rejoin it, or remove it. Every look that finds it running stops it.")
    if instance.observed_role in (Instance.Observed.PRIMARY, Instance.Observed.STANDBY):
        return Remark("failed", instance.name, _("It is in quarantine, and was seen running: %(reason)s") % words, cure)
    return Remark("warning", instance.name, _("It is in quarantine, and stays stopped: %(reason)s") % words, cure)


def pair_remarks(pair: ReplicationPair, latest: Verification | None) -> list[Remark]:
    """The findings of the last verification, and a sentence where there are none but it was not well."""
    about = f"{pair.upstream.name} → {pair.standby.name}"
    if pair.standby.lifecycle != "ready":
        return []
    if latest is None:
        return [Remark("unknown", about, _("This pair has not been verified yet."), _("Verify the cluster."))]
    found = [finding_remark(about, finding) for finding in latest.findings]
    if not found and latest.verdict != Verification.Verdict.OK:
        tone = "failed" if latest.verdict == Verification.Verdict.FAILED else "unknown"
        found = [Remark(tone, about, _("The last verification said: %(verdict)s.") % {"verdict": latest.get_verdict_display()})]
    return found


def finding_remark(about: str, finding: dict[str, Any]) -> Remark:
    return Remark(
        tone=_SEVERITY_TONES.get(str(finding.get("severity")), "warning"),
        about=about,
        sentence=retold(str(finding.get("sentence", ""))),
        cure=retold(str(finding.get("cure") or "")),
        value=finding.get("value"),
        threshold=finding.get("threshold"),
    )


def _cure(instance: Instance) -> str:
    if instance.observed_role == Instance.Observed.UNKNOWN:
        return _("Verify the cluster.")
    if instance.observed_role == Instance.Observed.STOPPED:
        return _("Start it, if nobody stopped it on purpose.")
    if instance.observed_role == Instance.Observed.UNREACHABLE:
        return _("See whether the server %(server)s is up and the panel can reach it, then verify the cluster.") % {
            "server": instance.server.name
        }
    return _("Two servers may accept writes. Find out which one the applications use before you change anything.")


# -- whether a standby could take over


@dataclass(frozen=True)
class Proof:
    """What deep verifications say of a standby's promotion."""

    tone: str
    words: str
    since: datetime | None = None  # nothing was in the way from then on
    proven: datetime | None = None  # the last time that it was seen to be so
    why: str = ""  # what the latest look found in the way


def proof_of(instance: Instance) -> Proof | None:
    """None for what is no standby that the panel could promote."""
    if instance.role != Instance.Role.STANDBY or instance.lifecycle != "ready" or instance.quarantined_at is not None:
        return None
    proven, since = instance.proven_at, instance.promotable_since
    if instance.not_promotable:
        words = _("last proven promotable") if proven else _("never proven promotable")
        return Proof("failed", words, proven=proven, why=retold(instance.not_promotable))
    if proven is None:
        return Proof("unknown", _("not proven promotable yet"))
    if timezone.now() - proven > PROOF_HOLDS:
        return Proof("unknown", _("last proven promotable"), proven=proven, why=_("No deep verification has looked since then."))
    return Proof("ok", _("promotable since"), since=since, proven=proven)


# -- what the last look saw


def facts_of(instance: Instance) -> InstanceFacts | None:
    """The facts of the last look; None where there are none, or none that can be read."""
    try:
        return InstanceFacts.from_row(instance.observed) if instance.observed else None
    except Unreadable:
        return None


def position(instance: Instance) -> str:
    """How far an instance has written WAL, or a standby has replayed it."""
    facts = facts_of(instance)
    lsn = (facts.replay_lsn or facts.wal_lsn) if facts else None
    return str(lsn) if lsn is not None else ""


def slot_words(pair: ReplicationPair) -> tuple[str, str]:
    """(tone, words) about the slot that keeps the standby's WAL on its upstream, with PostgreSQL's own word for its state."""
    facts = facts_of(pair.upstream)
    if facts is None:
        return "unknown", ""
    slot = facts.slot(pair.slot)
    if slot is None:
        return "failed", _("There is no such slot on %(upstream)s.") % {"upstream": pair.upstream.name}
    words = [_("in use") if slot.active else _("not in use")]
    words += [slot.wal_status] if slot.wal_status else []
    if slot.restart_lsn is not None:
        words.append(_("keeps %(size)s of WAL") % {"size": bytes_filter(max(0, facts.lsn - slot.restart_lsn))})
    well = slot.active and slot.wal_status in (None, "reserved", "extended")
    return ("ok" if well else "failed" if slot.wal_status == "lost" else "warning"), " · ".join(words)
