"""May this standby take over from a primary that is gone? (safety.md 3(b))

What could lose a commit or make two primaries takes a flag of its own, never one for all; what could not work at all blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from clusters.postgres.obstacles import Obstacle, obstacle, size
from clusters.postgres.primary_rules import rewind_impossible, slots_left_behind
from clusters.postgres.promotion_facts import (
    MemberFacts,
    PromotionFacts,
    ahead_of_candidate,
    loss_bytes,
    off_branch,
    quorum_seen,
)
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
    primary_seen,
    replay_delayed,
    usable_standbys,
)
from clusters.postgres.text import gettext_noop as _


def _hears_primary(facts: PromotionFacts, member: MemberFacts) -> bool:
    receiver = member.now.receiver if member.now else None
    if receiver is None or member.cascaded or member.deaf or receiver.status != "streaming" or receiver.message_age_seconds is None:
        return False
    return receiver.message_age_seconds <= facts.limits.message_age_seconds


@needs(candidate_seen)
def primary_seen_alive(facts: PromotionFacts) -> Obstacle | None:
    """Nobody hears the old primary any more."""
    answers = facts.primary_now is not None and not facts.primary_now.in_recovery
    heard = [member.name for member in (facts.candidate, *facts.siblings) if _hears_primary(facts, member)]
    by = [*(["the panel"] if answers else []), *heard]
    if not by:
        return None
    return obstacle(
        "primary_seen_alive",
        "flag",
        _("%(primary)s is alive: it is heard by %(value)s. A failover would make a second primary beside it."),
        _("Switch over instead: that loses nothing. Only where it must be given up although it lives: the flag primary_seen_alive."),
        value=", ".join(by),
        primary=facts.primary_name,
    )


def primary_disk_full(facts: PromotionFacts) -> Obstacle | None:
    """The old primary has not just stopped for want of space."""
    if not facts.primary_full or facts.primary_now is not None:
        return None
    return obstacle(
        "primary_disk_full",
        "flag",
        _("%(primary)s has stopped since its disk is full: %(value)s take the space. With some freed it comes back, and nothing is lost."),
        _("Free space there and start it again. Only where that cannot be done in time: the flag primary_disk_full."),
        value=facts.primary_full,
        primary=facts.primary_name,
    )


def unfenced_primary(facts: PromotionFacts) -> Obstacle | None:
    """It is made sure that the old primary accepts no writes."""
    if facts.fence != "none":
        return None
    return obstacle(
        "unfenced_primary",
        "flag",
        _("Nobody can tell that %(primary)s is stopped: if it lives, applications may go on writing to it, and that will be lost."),
        _("Cut its power or its network and confirm that; or go on with the flag unfenced_primary."),
        value="none",
        threshold="stopped",
        primary=facts.primary_name,
    )


@needs(candidate_seen)
def possible_data_loss(facts: PromotionFacts) -> Obstacle | None:
    """It is proven to hold every acknowledged commit."""
    loss = loss_bytes(facts)
    proven = quorum_seen(facts) and not ahead_of_candidate(facts)
    if facts.candidate.now is None or proven or (facts.loss_known and loss == 0):
        return None
    return obstacle(
        "possible_data_loss",
        "flag",
        _loss_words(facts, loss),
        _("Bring %(primary)s back if you can: then nothing is lost. Otherwise accept it with the flag possible_data_loss."),
        value=loss,
        threshold=0 if loss else None,
        loss=size(loss or 0),
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


def _loss_words(facts: PromotionFacts, loss: int | None) -> str:
    if loss is None:
        return _("How far %(primary)s had come is not known: what %(candidate)s lacks of it, acknowledged commits too, will be lost.")
    if facts.loss_known:
        return _("%(candidate)s lacks exactly %(loss)s of the WAL of %(primary)s; acknowledged commits in it will be lost.")
    if loss == 0:
        return _("%(candidate)s has all that %(primary)s was known to have; what it acknowledged after it was last heard may be lost.")
    return _("%(candidate)s lacks at least %(loss)s of WAL that %(primary)s had when last seen; commits in it and after it may be lost.")


@needs(candidate_seen)
def not_most_advanced(facts: PromotionFacts) -> Obstacle | None:
    """No other standby has more WAL."""
    ahead = ahead_of_candidate(facts)
    if not ahead or facts.candidate.now is None:
        return None
    return obstacle(
        "not_most_advanced",
        "flag",
        _("%(best)s has more WAL than %(candidate)s: %(threshold)s against %(value)s."),
        _("Choose %(best)s, or accept the loss of what only it has with the flag not_most_advanced."),
        value=_place(facts.candidate),
        threshold=_place(ahead[0]),
        best=ahead[0].name,
        candidate=facts.candidate.name,
    )


def _place(member: MemberFacts) -> str:
    return f"TLI {member.place[0]} {member.place[1]}"


def missing_standby(facts: PromotionFacts) -> Obstacle | None:
    """Every standby could be asked what it has."""
    silent = [member.name for member in facts.siblings if member.now is None and not member.quarantined]
    if not silent:
        return None
    return obstacle(
        "missing_standby",
        "flag",
        _("%(value)s could not be asked what it has; it may have more than %(candidate)s."),
        _("Bring it back and look again, or go on without it with the flag missing_standby."),
        value=", ".join(silent),
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def relax_sync(facts: PromotionFacts) -> Obstacle | None:
    """Commits find enough standbys afterwards to wait for."""
    left = usable_standbys(facts, facts.primary_name, facts.candidate.name)
    if facts.sync_mode == "async" or len(left) >= facts.sync_count:
        return None
    return obstacle(
        "relax_sync",
        "flag",
        _("Commits must wait for %(threshold)s standbys; after the failover %(value)s are left: no commit would end."),
        _("Bring another standby back; or let commits wait for fewer with the flag relax_sync, until you declare it anew."),
        value=len(left),
        threshold=facts.sync_count,
    )


@needs(candidate_seen)
def dead_branch(facts: PromotionFacts) -> Obstacle | None:
    """It is on the cluster's newest branch of history."""
    others = [*([facts.primary] if facts.primary else []), *facts.siblings]
    # Of two standbys that do not fit together the one on the older timeline was left behind; the primary's branch is the cluster's.
    left = [
        member
        for member in others
        if (member.role == "primary" or (member.now and not member.quarantined and member.place > facts.candidate.place))
        and off_branch(facts.candidate, member)
    ]
    if facts.candidate.now is None or not left:
        return None
    return obstacle(
        "dead_branch",
        "blocks",
        _("%(candidate)s (%(value)s) is on a dead branch of history: it has WAL that does not fit that of %(other)s (%(threshold)s)."),
        _("Choose a standby of the newest branch. This one must be rejoined or cloned again."),
        value=_place(facts.candidate),
        threshold=_place(left[0]),
        other=left[0].name,
        candidate=facts.candidate.name,
    )


# -- what would block a switchover, and is only worth knowing where the primary is gone


@needs(candidate_seen, primary_seen)
def collation_mismatch(facts: PromotionFacts) -> Obstacle | None:
    """Its server sorts text as when the databases were made."""
    changed = collations_changed(facts)
    if not changed:
        return None
    return obstacle(
        "collation_mismatch",
        "warns",
        _("The system of %(candidate)s sorts text in another way than when these databases were made: %(value)s. Indexes may be wrong."),
        _("REINDEX afterwards, then ALTER DATABASE ... REFRESH COLLATION VERSION; or choose another standby."),
        value=", ".join(changed),
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def no_free_walsender(facts: PromotionFacts) -> Obstacle | None:
    """It has a WAL sender for everybody who will follow it, and one to spare."""
    lacking = lacks_senders(facts)
    if lacking is None:
        return None
    return obstacle(
        "no_free_walsender",
        "warns",
        _("%(candidate)s has %(value)s WAL senders left; the instances that will follow it take %(threshold)s, one to spare included."),
        _("Some could not follow it. Raise max_wal_senders in conf/postgresql.conf of every instance and restart them, the standbys last."),
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
        "warns",
        _("%(candidate)s has %(value)s replication slots left; those that will follow it take %(threshold)s, one to spare included."),
        _("Some could not follow it. Drop a slot that nobody uses there, or raise max_replication_slots and restart it."),
        value=lacking[0],
        threshold=lacking[1],
        candidate=facts.candidate.name,
    )


@needs(logins_tried)
def login_refused(facts: PromotionFacts) -> Obstacle | None:
    """It admits the other standbys."""
    refused = logins_refused(facts, tuple(name for name in facts.followers if name != facts.primary_name))
    if not refused:
        return None
    return obstacle(
        "login_refused",
        "warns",
        _("%(names)s could not log in to %(candidate)s as the replication role: %(value)s"),
        _("See that their servers reach its address and port, and that its pg_hba.conf admits the addresses they come from."),
        value=next(iter(refused.values())).strip(),
        names=", ".join(refused),
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def settings_altered(facts: PromotionFacts) -> Obstacle | None:
    """No ALTER SYSTEM outdoes what the panel writes."""
    found = altered([facts.candidate, *facts.siblings])
    if not found:
        return None
    return obstacle(
        "settings_altered",
        "warns",
        _("ALTER SYSTEM outdoes the panel's files: %(value)s."),
        _("Run ALTER SYSTEM RESET for each of them, then pg_reload_conf()."),
        value=found,
    )


FAILOVER_RULES: Final[tuple[PromotionRule, ...]] = (
    primary_seen_alive,
    primary_disk_full,
    unfenced_primary,
    possible_data_loss,
    not_most_advanced,
    missing_standby,
    relax_sync,
    replay_delayed,
    *CANDIDATE_RULES,
    dead_branch,
    collation_mismatch,
    no_free_walsender,
    no_free_slot,
    login_refused,
    settings_altered,
    slots_left_behind,
    rewind_impossible,
)


def failover_obstacles(facts: PromotionFacts) -> list[Obstacle]:
    """Every reason against this failover, in the order of the rules."""
    return [found for rule in FAILOVER_RULES if (found := rule(facts))]


def best_candidate(facts_of_each: Iterable[PromotionFacts]) -> str | None:
    """Of the standbys that nothing blocks, the one with the most WAL on the newest timeline; of equals one that replays at once."""
    free = [facts for facts in facts_of_each if not any(found.severity == "blocks" for found in failover_obstacles(facts))]
    most = max((facts.candidate.place for facts in free), default=None)
    equal = [facts for facts in free if facts.candidate.place == most]
    best = min(equal, key=lambda facts: (replay_delayed(facts) is not None, facts.candidate.cascaded, facts.candidate.name), default=None)
    return best.candidate.name if best else None
