"""May this primary be stopped for a switchover? What is asked of the primary that hands over."""

from __future__ import annotations

from typing import Final

from clusters.postgres.obstacles import Obstacle, obstacle
from clusters.postgres.promotion_facts import PromotionFacts
from clusters.postgres.promotion_rules import PromotionRule, can_rewind, candidate_seen, needs, primary_answers, primary_seen
from clusters.postgres.text import gettext_noop as _


def primary_silent(facts: PromotionFacts) -> Obstacle | None:
    """The primary answers."""
    if facts.primary_now is not None:
        return None
    return obstacle(
        "primary_silent",
        "blocks",
        _("The primary %(primary)s does not answer: %(value)s"),
        _("Bring it back if you can. A switchover needs it; where it is gone for good, a failover is what is left."),
        value=(facts.primary.error.strip() if facts.primary else "") or "nobody has looked at it yet",
        primary=facts.primary_name,
    )


@needs(primary_answers)
def primary_not_primary(facts: PromotionFacts) -> Obstacle | None:
    """The declared primary is a primary."""
    if facts.primary_now is None or not facts.primary_now.in_recovery:
        return None
    return obstacle(
        "primary_not_primary",
        "blocks",
        _("%(primary)s is declared the primary and is in recovery: it accepts no writes."),
        _("Find out which instance is the primary now, and who changed it."),
        value="standby",
        threshold="primary",
        primary=facts.primary_name,
    )


@needs(lambda facts: facts.primary_now is not None and facts.primary_now.archive_waiting is not None)
def archive_backlog(facts: PromotionFacts) -> Obstacle | None:
    """The primary's archive keeps up."""
    waiting, limit = facts.primary_now.archive_waiting if facts.primary_now else None, facts.limits.archive_files
    if waiting is None or waiting <= limit:
        return None
    return obstacle(
        "archive_backlog",
        "blocks",
        _("%(value)s WAL files of %(primary)s wait to be archived (limit %(threshold)s); its stop would wait for them."),
        _("See why archive_command fails or is slow (pg_stat_archiver, the server's log), and let it catch up."),
        value=waiting,
        threshold=limit,
        primary=facts.primary_name,
    )


@needs(primary_answers, candidate_seen)
def backup_running(facts: PromotionFacts) -> Obstacle | None:
    """No base backup runs."""
    sides = ((facts.primary_name, facts.primary_now), (facts.candidate.name, facts.candidate.now))
    found = {name: side.base_backups for name, side in sides if side and side.base_backups}
    if not found:
        return None
    return obstacle(
        "backup_running",
        "blocks",
        _("A base backup is running (%(value)s): the switchover would break it off."),
        _("Wait until it has ended, or end it."),
        value=", ".join(f"{name}: {count}" for name, count in found.items()),
        threshold=0,
    )


@needs(primary_answers)
def name_twice(facts: PromotionFacts) -> Obstacle | None:
    """Every standby of the primary has a name of its own."""
    senders = [sender.application_name for sender in facts.primary_now.senders if sender.state != "backup"] if facts.primary_now else []
    # Only our members' names count: a tool such as pg_receivewal may well run twice.
    twice = [member.name for member in facts.members if senders.count(member.name) > 1]
    if not twice:
        return None
    return obstacle(
        "name_twice",
        "blocks",
        _("More than one standby replicates from %(primary)s under the name %(value)s: whose acknowledgement counts cannot be told."),
        _("Stop the one that is not of this cluster, or give it an application_name of its own."),
        value=", ".join(twice),
        threshold=1,
        primary=facts.primary_name,
    )


@needs(primary_answers)
def prepared_transactions(facts: PromotionFacts) -> Obstacle | None:
    """No prepared transaction is left open."""
    count = facts.primary_now.prepared_transactions if facts.primary_now else 0
    if not count:
        return None
    return obstacle(
        "prepared_transactions",
        "warns",
        _("%(value)s prepared transactions are open on %(primary)s; they go over to the new primary, with their locks."),
        _("See who owns them (pg_prepared_xacts): where their transaction manager is gone, they hold their locks for ever."),
        value=count,
        threshold=0,
        primary=facts.primary_name,
    )


@needs(primary_answers)
def long_transactions(facts: PromotionFacts) -> Obstacle | None:
    """No long transaction would be cut off."""
    age, limit = facts.primary_now.long_transaction_seconds if facts.primary_now else 0.0, facts.limits.transaction_seconds
    if age <= limit:
        return None
    return obstacle(
        "long_transactions",
        "warns",
        _("A transaction on %(primary)s has been open for %(value)s seconds (limit %(threshold)s); it will be cut off and rolled back."),
        _("Wait for it, or end it (pg_stat_activity, column xact_start)."),
        value=round(age),
        threshold=round(limit),
        primary=facts.primary_name,
    )


@needs(primary_seen, candidate_seen)
def slots_left_behind(facts: PromotionFacts) -> Obstacle | None:
    """No slot of somebody else's stays behind on the old primary."""
    ours = {member.slot for member in facts.members}
    there = [slot for slot in facts.primary_then.slots if not slot.temporary and slot.name not in ours] if facts.primary_then else []
    here = {slot.name for slot in facts.candidate.now.slots} if facts.candidate.now else set()
    lost = [f"{slot.name} ({slot.type})" for slot in there if slot.name not in here]
    if not lost:
        return None
    return obstacle(
        "slots_left_behind",
        "warns",
        _("Slots of %(primary)s that %(candidate)s has not: %(value)s. Who reads through them loses the place where they were."),
        _("Stop the readers first and let them begin anew on the new primary, or make the slots there too."),
        value=", ".join(lost),
        primary=facts.primary_name,
        candidate=facts.candidate.name,
    )


@needs(primary_seen)
def rewind_impossible(facts: PromotionFacts) -> Obstacle | None:
    """pg_rewind is possible on the old primary: checksums or wal_log_hints."""
    if facts.primary_then is None or can_rewind(facts.primary_then):
        return None
    return obstacle(
        "rewind_impossible",
        "warns",
        _("%(primary)s has neither checksums nor wal_log_hints: should it have WAL that the new primary lacks, it must be cloned anew."),
        _("Set wal_log_hints = on and restart it, at a quiet moment."),
        value="off",
        threshold="on",
        primary=facts.primary_name,
    )


#: What a switchover asks of the primary.
PRIMARY_RULES: Final[tuple[PromotionRule, ...]] = (
    primary_silent,
    primary_not_primary,
    archive_backlog,
    backup_running,
    name_twice,
    prepared_transactions,
    long_transactions,
    slots_left_behind,
    rewind_impossible,
)
