"""May this standby take over from the primary in a planned switchover? (safety.md 3(a), step S1)"""

from __future__ import annotations

from typing import Final

from clusters.postgres.facts import ReceiverRow, SlotRow
from clusters.postgres.obstacles import Obstacle, obstacle, size
from clusters.postgres.primary_rules import PRIMARY_RULES
from clusters.postgres.promotion_facts import PromotionFacts, behind_primary
from clusters.postgres.promotion_rules import (
    CANDIDATE_RULES,
    PromotionRule,
    altered,
    candidate_seen,
    collations_changed,
    lacks_senders,
    lacks_slots,
    logins_refused,
    logins_tried,
    needs,
    primary_answers,
    primary_seen,
    replay_delayed,
    usable_standbys,
)
from clusters.postgres.text import gettext_noop as _

#: How much a primary writes into its WAL, the least first.
_LEVELS: Final = ("minimal", "replica", "logical")


def candidate_cascaded(facts: PromotionFacts) -> Obstacle | None:
    """It follows the primary itself."""
    if not facts.candidate.cascaded:
        return None
    return obstacle(
        "candidate_cascaded",
        "blocks",
        _("%(candidate)s follows %(value)s, another standby: what the primary sends last would not reach it directly."),
        _("Choose a standby that follows %(threshold)s directly."),
        value=facts.candidate.upstream,
        threshold=facts.primary_name,
        candidate=facts.candidate.name,
    )


@needs(candidate_seen, primary_answers)
def timeline_differs(facts: PromotionFacts) -> Obstacle | None:
    """It is on the primary's timeline."""
    now, primary = facts.candidate.now, facts.primary_now
    if now is None or primary is None or now.timeline == primary.timeline:
        return None
    return obstacle(
        "timeline_differs",
        "blocks",
        _("%(candidate)s is on timeline %(value)s, %(primary)s on timeline %(threshold)s."),
        _("Read the standby's log. If it has WAL that the primary lacks, it must be rejoined or cloned again."),
        value=now.timeline,
        threshold=primary.timeline,
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


def _receiver(facts: PromotionFacts) -> ReceiverRow | None:
    return facts.candidate.now.receiver if facts.candidate.now else None


@needs(candidate_seen, primary_answers)
def not_streaming(facts: PromotionFacts) -> Obstacle | None:
    """It receives from the primary, and the primary sends to it."""
    if facts.candidate.now is None or facts.candidate.cascaded:
        return None
    receiver, sender = _receiver(facts), facts.primary_now.sender(facts.candidate.name) if facts.primary_now else None
    sends = facts.primary_now is None or (sender is not None and sender.state == "streaming")
    if sends and receiver is not None and receiver.status == "streaming":
        return None
    return obstacle(
        "not_streaming",
        "blocks",
        _("%(candidate)s is not streaming from %(primary)s: its receiver is %(value)s, the sender for it is %(sender)s."),
        _("Read the standby's log: it says whether the address, the password, the slot, WAL or the timeline is the reason."),
        value=receiver.status if receiver else "absent",
        threshold="streaming",
        sender=(sender.state if sender else "absent") if facts.primary_now else "not known",
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


@needs(lambda facts: (receiver := _receiver(facts)) is not None and receiver.message_age_seconds is not None)
def upstream_silent(facts: PromotionFacts) -> Obstacle | None:
    """It hears from the primary."""
    receiver, limit = _receiver(facts), facts.limits.message_age_seconds
    if receiver is None or receiver.message_age_seconds is None or receiver.message_age_seconds <= limit:
        return None
    return obstacle(
        "upstream_silent",
        "blocks",
        _("%(candidate)s has heard nothing from its upstream for %(value)s seconds (limit %(threshold)s)."),
        _("See whether the network between the two works and whether its receiver is frozen."),
        value=round(receiver.message_age_seconds, 1),
        threshold=limit,
        candidate=facts.candidate.name,
    )


@needs(candidate_seen, primary_answers)
def lag_bytes(facts: PromotionFacts) -> Obstacle | None:
    """It is not far behind."""
    lag, limit = behind_primary(facts), facts.limits.lag_bytes
    if lag is None or lag <= limit:
        return None
    return obstacle(
        "lag_bytes",
        "blocks",
        _("%(candidate)s is %(lag)s of WAL behind %(primary)s (limit %(limit)s); while it catches up nobody could write."),
        _("Wait until it has caught up, or switch over when less is written."),
        value=lag,
        threshold=limit,
        lag=size(lag),
        limit=size(limit),
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


@needs(candidate_seen)
def replay_paused(facts: PromotionFacts) -> Obstacle | None:
    """It replays."""
    now = facts.candidate.now
    if now is None or now.replay_state in (None, "not paused"):
        return None
    return obstacle(
        "replay_paused",
        "blocks",
        _("Replay on %(candidate)s does not go on (%(value)s)."),
        _("Resume it: SELECT pg_wal_replay_resume(). If a setting is too low there, its log names it."),
        value=now.replay_state,
        threshold="not paused",
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def replay_late(facts: PromotionFacts) -> Obstacle | None:
    """It is not told to wait before it replays."""
    return None if replay_paused(facts) else replay_delayed(facts)


@needs(candidate_seen, primary_seen)
def collation_mismatch(facts: PromotionFacts) -> Obstacle | None:
    """Its server sorts text as when the databases were made."""
    changed = collations_changed(facts)
    if not changed:
        return None
    return obstacle(
        "collation_mismatch",
        "blocks",
        _("The system of %(candidate)s sorts text in another way than when these databases were made: %(value)s. Indexes may be wrong."),
        _("Use the primary's system there; or switch over to another standby."),
        value=", ".join(changed),
        candidate=facts.candidate.name,
    )


@needs(candidate_seen, primary_seen)
def wal_level_too_low(facts: PromotionFacts) -> Obstacle | None:
    """It will write as much into its WAL as the primary does."""
    now, then = facts.candidate.now, facts.primary_then
    level = now.settings.get("wal_level", "replica") if now else "logical"
    wanted = then.settings.get("wal_level", "replica") if then else "replica"
    if level not in _LEVELS or wanted not in _LEVELS or _LEVELS.index(level) >= _LEVELS.index(wanted):
        return None
    return obstacle(
        "wal_level_too_low",
        "blocks",
        _("wal_level is %(value)s on %(candidate)s and %(threshold)s on %(primary)s: who reads its WAL there could not go on."),
        _("Give both the same wal_level in conf/postgresql.conf and restart the standby."),
        value=level,
        threshold=wanted,
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


@needs(candidate_seen)
def no_free_walsender(facts: PromotionFacts) -> Obstacle | None:
    """It has a WAL sender for everybody who will follow it, and one to spare."""
    lacking = lacks_senders(facts)
    if lacking is None:
        return None
    return obstacle(
        "no_free_walsender",
        "blocks",
        _("%(candidate)s has %(value)s WAL senders left; the instances that will follow it take %(threshold)s, one to spare included."),
        _("Raise max_wal_senders in conf/postgresql.conf of every instance and restart them, the standbys last."),
        value=lacking[0],
        threshold=lacking[1],
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def no_free_slot(facts: PromotionFacts) -> Obstacle | None:
    """It has a replication slot for everybody who will follow it, and one to spare."""
    lacking = lacks_slots(facts)
    if lacking is None:
        return None
    return obstacle(
        "no_free_slot",
        "blocks",
        _("%(candidate)s has %(value)s replication slots left; those that will follow it take %(threshold)s, one to spare included."),
        _("Drop a slot that nobody uses there, or raise max_replication_slots in conf/postgresql.conf and restart it."),
        value=lacking[0],
        threshold=lacking[1],
        candidate=facts.candidate.name,
    )


@needs(logins_tried)
def login_refused(facts: PromotionFacts) -> Obstacle | None:
    """It admits the old primary and the other standbys."""
    refused = logins_refused(facts, facts.followers)
    if not refused:
        return None
    return obstacle(
        "login_refused",
        "blocks",
        _("%(names)s could not log in to %(candidate)s as the replication role: %(value)s"),
        _("See that their servers reach its address and port, and that its pg_hba.conf admits the addresses they come from."),
        value=next(iter(refused.values())).strip(),
        names=", ".join(refused),
        candidate=facts.candidate.name,
    )


def _slot(facts: PromotionFacts) -> SlotRow | None:
    return facts.primary_now.slot(facts.candidate.slot or "") if facts.primary_now else None


@needs(primary_answers)
def slot_lost(facts: PromotionFacts) -> Obstacle | None:
    """Its slot still keeps what it needs."""
    slot = _slot(facts)
    if slot is None or slot.wal_status not in ("lost", "unreserved"):
        return None
    lost = slot.wal_status == "lost"
    return obstacle(
        "slot_lost" if lost else "slot_unreserved",
        "blocks" if lost else "warns",
        _("WAL that %(candidate)s needs is gone: its slot %(slot)s is lost.")
        if lost
        else _("WAL that %(candidate)s needs goes at the next checkpoint: its slot %(slot)s is unreserved."),
        _("Choose another standby; this one must be added again, or have caught up, before it can be the primary."),
        value=slot.wal_status,
        threshold="reserved",
        slot=slot.name,
        candidate=facts.candidate.name,
    )


@needs(primary_answers)
def slot_missing(facts: PromotionFacts) -> Obstacle | None:
    """It has its slot on the primary."""
    if facts.primary_now is None or facts.candidate.cascaded or facts.candidate.slot is None or _slot(facts) is not None:
        return None
    return obstacle(
        "slot_missing",
        "warns",
        _("%(primary)s has no slot %(value)s: nothing keeps the WAL that %(candidate)s needs, should it be cut off."),
        _("Somebody dropped it. Make it again before the switchover."),
        value=facts.candidate.slot,
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


@needs(candidate_seen, primary_answers)
def settings_altered(facts: PromotionFacts) -> Obstacle | None:
    """No ALTER SYSTEM outdoes what the panel writes, on any instance."""
    found = altered(list(facts.members))
    if not found:
        return None
    return obstacle(
        "settings_altered",
        "blocks",
        _("ALTER SYSTEM outdoes the panel's files: %(value)s. After the switchover these would follow the wrong instance, or wait for it."),
        _("Run ALTER SYSTEM RESET for each of them, then pg_reload_conf()."),
        value=found,
    )


def sibling_silent(facts: PromotionFacts) -> Obstacle | None:
    """The other standbys answer."""
    silent = [member.name for member in facts.siblings if member.now is None and not member.quarantined]
    if not silent:
        return None
    return obstacle(
        "sibling_silent",
        "warns",
        _("%(value)s does not answer; it will follow the new primary when it is back, if its WAL is still there."),
        _("Bring it back first if you can."),
        value=", ".join(silent),
    )


@needs(primary_answers)
def relax_sync(facts: PromotionFacts) -> Obstacle | None:
    """Commits find enough standbys afterwards to wait for."""
    left = [facts.primary_name, *usable_standbys(facts, facts.primary_name, facts.candidate.name)]
    if facts.sync_mode == "async" or len(left) >= facts.sync_count:
        return None
    return obstacle(
        "relax_sync",
        "flag",
        _("Commits must wait for %(threshold)s standbys; after the switchover %(value)s are left (%(names)s): no commit would end."),
        _("Bring another standby back, or change the synchronous replication first."),
        value=len(left),
        threshold=facts.sync_count,
        names=", ".join(left),
    )


SWITCHOVER_RULES: Final[tuple[PromotionRule, ...]] = (
    *PRIMARY_RULES,
    *CANDIDATE_RULES,
    candidate_cascaded,
    timeline_differs,
    not_streaming,
    upstream_silent,
    lag_bytes,
    replay_paused,
    replay_late,
    collation_mismatch,
    wal_level_too_low,
    no_free_walsender,
    no_free_slot,
    login_refused,
    slot_lost,
    slot_missing,
    settings_altered,
    sibling_silent,
    relax_sync,
)


def switchover_obstacles(facts: PromotionFacts) -> list[Obstacle]:
    """Every reason against this switchover, in the order of the rules."""
    return [found for rule in SWITCHOVER_RULES if (found := rule(facts))]
