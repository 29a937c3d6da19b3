"""Does this pair replicate? One pure function a finding; the verdict sums them up.

"blocks" here means: it does not replicate. "warns": it does, but something needs a look.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from clusters.postgres.care_rules import CARE_RULES
from clusters.postgres.facts import InstanceFacts
from clusters.postgres.obstacles import Obstacle, behind, obstacle, size
from clusters.postgres.sync_rules import SYNC_VERIFY_RULES
from clusters.postgres.text import gettext_noop as _
from clusters.postgres.verify_facts import MEGABYTE, VerifyFacts, VerifyRule, lag_bytes, lag_seconds

Verdict = Literal["ok", "warning", "failed", "unknown"]


def upstream_not_observed(facts: VerifyFacts) -> Obstacle | None:
    """The upstream answers."""
    return _not_observed("upstream_not_observed", facts.upstream, facts.upstream_name, facts.upstream_error)


def standby_not_observed(facts: VerifyFacts) -> Obstacle | None:
    """The standby answers."""
    return _not_observed("standby_not_observed", facts.standby, facts.standby_name, facts.standby_error)


def _not_observed(name: str, seen: InstanceFacts | None, instance: str, error: str) -> Obstacle | None:
    if seen is not None:
        return None
    return obstacle(
        name,
        "flag",
        _("%(instance)s could not be observed: %(value)s"),
        _("See on its server whether it runs and what its log says; start it from the panel if it was stopped."),
        value=error.strip() or "no reason given",
        instance=instance,
    )


def system_identifier_differs(facts: VerifyFacts) -> Obstacle | None:
    """Both are kin: the same system identifier, and the cluster's."""
    seen = {side.system_identifier for side in (facts.upstream, facts.standby) if side}
    expected = {facts.system_identifier} - {""}
    if len(seen | expected) <= 1:
        return None
    return obstacle(
        "system_identifier_differs",
        "blocks",
        _("The system identifiers differ (%(value)s): at least one of them is not a copy of this cluster."),
        _("See which data directory was exchanged; the instance that is not kin must be cloned again."),
        value=", ".join(sorted(seen)),
        threshold=facts.system_identifier or None,
    )


def standby_not_in_recovery(facts: VerifyFacts) -> Obstacle | None:
    """The standby is a standby."""
    if facts.standby is None or facts.standby.in_recovery:
        return None
    return obstacle(
        "standby_not_in_recovery",
        "blocks",
        _("%(standby)s is not in recovery: it accepts writes as a primary (timeline %(value)s)."),
        _("Find out who promoted it. Keep applications away from one of the two before anything else is done."),
        value=facts.standby.timeline,
        standby=facts.standby_name,
    )


def upstream_in_recovery(facts: VerifyFacts) -> Obstacle | None:
    """The declared primary is a primary."""
    if facts.upstream is None or not facts.upstream_is_primary or not facts.upstream.in_recovery:
        return None
    return obstacle(
        "upstream_in_recovery",
        "blocks",
        _("%(upstream)s is declared the primary and is in recovery: it accepts no writes."),
        _("Find out which instance is the primary now."),
        upstream=facts.upstream_name,
    )


def not_streaming(facts: VerifyFacts) -> Obstacle | None:
    """The standby receives, and the upstream sends to it."""
    if facts.streaming or (facts.upstream is None and facts.standby is None) or _catching_up(facts):
        return None
    receiver = facts.standby.receiver if facts.standby else None
    sender = facts.upstream.sender(facts.standby_name) if facts.upstream else None
    return obstacle(
        "not_streaming",
        "blocks",
        _("%(standby)s is not streaming from %(upstream)s: its receiver is %(value)s, the sender for it is %(sender)s."),
        _("Read the standby's log: it says whether the address, the password, the slot, WAL or the timeline is the reason."),
        value=_state(receiver.status if receiver else None, facts.standby),
        threshold="streaming",
        sender=_state(sender.state if sender else None, facts.upstream),
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def _state(state: str | None, seen: InstanceFacts | None) -> str:
    return state or ("absent" if seen else "not known")


def _catching_up(facts: VerifyFacts) -> bool:
    sender = facts.upstream.sender(facts.standby_name) if facts.upstream else None
    return sender is not None and sender.state == "catchup"


def catching_up(facts: VerifyFacts) -> Obstacle | None:
    """The standby has caught up."""
    if not _catching_up(facts):
        return None
    return obstacle(
        "catching_up",
        "warns",
        _("%(standby)s is catching up with %(upstream)s: %(lag)s to go."),
        _("Wait, and verify again. If the distance does not shrink, the disk or the network is too slow."),
        value=lag_bytes(facts),
        lag=size(lag_bytes(facts) or 0),
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def wrong_upstream(facts: VerifyFacts) -> Obstacle | None:
    """The standby follows whom it is declared to follow."""
    receiver = facts.standby.receiver if facts.standby else None
    expected = f"{facts.upstream_address}:{facts.upstream_port}"
    if receiver is None or receiver.host is None or f"{receiver.host}:{receiver.port}" == expected:
        return None
    return obstacle(
        "wrong_upstream",
        "blocks",
        _("%(standby)s follows %(value)s, not %(upstream)s at %(threshold)s."),
        _("See replication.conf and postgresql.auto.conf of the standby: somebody has changed primary_conninfo."),
        value=f"{receiver.host}:{receiver.port}",
        threshold=expected,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def slot_missing(facts: VerifyFacts) -> Obstacle | None:
    """The upstream has the standby's slot."""
    if facts.upstream is None or facts.slot_row is not None:
        return None
    if not facts.slot:
        return obstacle(
            "follows_without_slot",
            "warns",
            _("%(standby)s follows %(upstream)s without a slot: once it is away for too long it must be copied anew."),
            _("Take the adopted cluster over: each standby gets a slot of its own then, without a restart."),
            standby=facts.standby_name,
            upstream=facts.upstream_name,
        )
    return obstacle(
        "slot_missing",
        "warns" if facts.streaming else "blocks",
        _("%(upstream)s has no slot %(value)s: nothing keeps the WAL that %(standby)s needs while it is away."),
        _("Somebody dropped it. Make it again, or remove the standby and add it anew if it does not stream."),
        value=facts.slot,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def slot_not_used(facts: VerifyFacts) -> Obstacle | None:
    """The standby uses its slot."""
    slot, receiver = facts.slot_row, facts.standby.receiver if facts.standby else None
    other = receiver is not None and receiver.slot != facts.slot
    if slot is None or slot.wal_status == "lost" or (slot.active and not other):
        return None
    return obstacle(
        "slot_not_used",
        "warns",
        _("The slot %(value)s on %(upstream)s is not used by %(standby)s: it keeps WAL for nobody."),
        _("See primary_slot_name of the standby, and whether the standby runs."),
        value=facts.slot,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def slot_lost(facts: VerifyFacts) -> Obstacle | None:
    """The slot still keeps what the standby needs."""
    if facts.slot_row is None or facts.slot_row.wal_status not in ("lost", "unreserved"):
        return None
    lost = facts.slot_row.wal_status == "lost"
    return obstacle(
        "slot_lost" if lost else "slot_unreserved",
        "blocks" if lost else "warns",
        _("WAL that %(standby)s needs is gone: its slot is lost.")
        if lost
        else _("WAL that %(standby)s needs goes at the next checkpoint: its slot is unreserved."),
        _("It must be cloned again: remove the standby and add it anew; give max_slot_wal_keep_size more room if it stays away that long.")
        if lost
        else _("Bring it back before that, else it must be cloned again; give max_slot_wal_keep_size more room."),
        value=facts.slot_row.wal_status,
        threshold="reserved",
        standby=facts.standby_name,
    )


def slot_filling(facts: VerifyFacts) -> Obstacle | None:
    """The slot keeps much less WAL than it may."""
    if facts.upstream is None or facts.slot_row is None or facts.slot_row.restart_lsn is None or facts.slot_row.wal_status == "lost":
        return None
    cap = facts.upstream.number("max_slot_wal_keep_size") * MEGABYTE
    kept = behind(facts.upstream.lsn, facts.slot_row.restart_lsn)
    if cap <= 0 or kept <= cap * facts.limits.slot_share:
        return None
    urgent = kept > cap * facts.limits.slot_share_urgent
    return obstacle(
        "slot_nearly_full" if urgent else "slot_filling",
        "warns",
        _("The slot of %(standby)s keeps %(kept)s of WAL on %(upstream)s, nearly all it may; past %(cap)s the standby is lost.")
        if urgent
        else _("The slot of %(standby)s keeps %(kept)s of WAL on %(upstream)s; past %(cap)s the standby is lost."),
        _("Bring the standby back now, or give max_slot_wal_keep_size more room; once it is lost it must be cloned again.")
        if urgent
        else _("Bring the standby back soon, or remove it."),
        value=kept,
        threshold=int(cap * (facts.limits.slot_share_urgent if urgent else facts.limits.slot_share)),
        kept=size(kept),
        cap=size(cap),
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def timeline_differs(facts: VerifyFacts) -> Obstacle | None:
    """Both are on the same timeline."""
    if facts.upstream is None or facts.standby is None or facts.upstream.timeline == facts.standby.timeline:
        return None
    return obstacle(
        "timeline_differs",
        "blocks",
        _("%(standby)s is on timeline %(value)s, %(upstream)s on timeline %(threshold)s."),
        _("Read the standby's log. If it has WAL that the upstream lacks, it must be rewound or cloned again."),
        value=facts.standby.timeline,
        threshold=facts.upstream.timeline,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def replay_paused(facts: VerifyFacts) -> Obstacle | None:
    """The standby replays."""
    if facts.standby is None or facts.standby.replay_state in (None, "not paused"):
        return None
    return obstacle(
        "replay_paused",
        "warns",
        _("Replay on %(standby)s does not go on (%(value)s): it receives, but its rows grow old."),
        _("Resume it: SELECT pg_wal_replay_resume(). If a setting is too low there, its log names it."),
        value=facts.standby.replay_state,
        threshold="not paused",
        standby=facts.standby_name,
    )


def replay_delayed(facts: VerifyFacts) -> Obstacle | None:
    """The standby is not told to wait before it replays."""
    delay = int(facts.standby.settings.get("recovery_min_apply_delay", "0")) if facts.standby else 0
    if delay == 0:
        return None
    return obstacle(
        "replay_delayed",
        "warns",
        _("%(standby)s replays %(value)s ms late on purpose (recovery_min_apply_delay)."),
        _("Do not promote it without thought: it has to replay the rest first."),
        value=delay,
        threshold=0,
        standby=facts.standby_name,
    )


def lag_in_bytes(facts: VerifyFacts) -> Obstacle | None:
    """The standby is not far behind, in bytes."""
    lag = lag_bytes(facts)
    if lag is None or lag <= facts.limits.lag_bytes:
        return None
    return obstacle(
        "lag_bytes",
        "warns",
        _("%(standby)s is %(lag)s of WAL behind %(upstream)s (limit %(limit)s)."),
        _("See whether its disk, the network or a long query on it holds it up."),
        value=lag,
        threshold=facts.limits.lag_bytes,
        lag=size(lag),
        limit=size(facts.limits.lag_bytes),
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def lag_in_seconds(facts: VerifyFacts) -> Obstacle | None:
    """The standby is not far behind, in seconds."""
    lag = lag_seconds(facts)
    if lag is None or lag <= facts.limits.lag_seconds:
        return None
    return obstacle(
        "lag_seconds",
        "warns",
        _("%(standby)s is %(value)s seconds behind %(upstream)s (limit %(threshold)s)."),
        _("See whether its disk, the network or a long query on it holds it up."),
        value=round(lag, 1),
        threshold=facts.limits.lag_seconds,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def upstream_silent(facts: VerifyFacts) -> Obstacle | None:
    """The standby hears from its upstream."""
    receiver = facts.standby.receiver if facts.standby else None
    if receiver is None or receiver.message_age_seconds is None or receiver.message_age_seconds <= facts.limits.message_age_seconds:
        return None
    return obstacle(
        "upstream_silent",
        "warns",
        _("%(standby)s has heard nothing from %(upstream)s for %(value)s seconds (limit %(threshold)s)."),
        _("See whether the network between the two works; the connection may be dead without either knowing."),
        value=round(receiver.message_age_seconds, 1),
        threshold=facts.limits.message_age_seconds,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def marker_not_read(facts: VerifyFacts) -> Obstacle | None:
    """A row written on the primary was read on the standby."""
    if facts.marker != "missing":
        return None
    return obstacle(
        "marker_not_read",
        "blocks",
        _("A row written on the primary was not seen on %(standby)s within %(value)s seconds."),
        _("It does not replay, whatever else it says. Read its log, and see whether replay is paused or its disk full."),
        value=facts.marker_seconds,
        standby=facts.standby_name,
    )


def epoch_higher(facts: VerifyFacts) -> Obstacle | None:
    """Nobody with a higher epoch has written to this cluster."""
    if facts.marker != "refused":
        return None
    return obstacle(
        "epoch_higher",
        "blocks",
        _("The primary holds a marker of a higher epoch than the panel knows: another panel, or a later state of this one, acted here."),
        _("Change nothing. Find out who else manages this cluster, or whether the panel's database was restored from a backup."),
    )


NOT_OBSERVED: Final = frozenset({"upstream_not_observed", "standby_not_observed"})

VERIFY_RULES: Final[tuple[VerifyRule, ...]] = (
    upstream_not_observed,
    standby_not_observed,
    system_identifier_differs,
    standby_not_in_recovery,
    upstream_in_recovery,
    not_streaming,
    catching_up,
    wrong_upstream,
    slot_missing,
    slot_not_used,
    slot_lost,
    slot_filling,
    timeline_differs,
    replay_paused,
    replay_delayed,
    lag_in_bytes,
    lag_in_seconds,
    upstream_silent,
    marker_not_read,
    epoch_higher,
    *SYNC_VERIFY_RULES,
    *CARE_RULES,
)


def verify_findings(facts: VerifyFacts) -> list[Obstacle]:
    """Every finding about the pair, in the order of the rules."""
    return [found for rule in VERIFY_RULES if (found := rule(facts))]


def verdict(findings: Iterable[Obstacle]) -> Verdict:
    """failed as soon as one side shows that it does not replicate; unknown when a side could not be seen and the other shows no fault."""
    seen = list(findings)
    if any(finding.severity == "blocks" for finding in seen):
        return "failed"
    if any(finding.name in NOT_OBSERVED for finding in seen):
        return "unknown"
    return "warning" if seen else "ok"
