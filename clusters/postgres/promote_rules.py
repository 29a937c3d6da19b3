"""May this standby leave its cluster and become a primary of its own, for tests or a migration?"""

from __future__ import annotations

from typing import Final

from clusters.postgres.obstacles import Obstacle, obstacle, size
from clusters.postgres.primary_rules import primary_silent
from clusters.postgres.promotion_facts import PromotionFacts, behind_primary
from clusters.postgres.promotion_rules import (
    CANDIDATE_RULES,
    PromotionRule,
    altered,
    candidate_seen,
    needs,
    primary_answers,
    replay_delayed,
    usable_standbys,
)
from clusters.postgres.text import gettext_noop as _


def followed_by_others(facts: PromotionFacts) -> Obstacle | None:
    """Nobody follows it."""
    names = [member.name for member in facts.siblings if member.upstream == facts.candidate.name]
    if not names:
        return None
    return obstacle(
        "followed_by_others",
        "blocks",
        _("%(value)s follows %(candidate)s and would leave the cluster with it."),
        _("Remove what follows it first."),
        value=", ".join(names),
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def backup_of_candidate(facts: PromotionFacts) -> Obstacle | None:
    """No base backup of it runs."""
    if facts.candidate.now is None or not facts.candidate.now.base_backups:
        return None
    return obstacle(
        "backup_of_candidate",
        "blocks",
        _("Base backups of %(candidate)s are running (%(value)s); a promotion spoils them."),
        _("Wait until they have ended, or end them."),
        value=facts.candidate.now.base_backups,
        threshold=0,
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def settings_altered(facts: PromotionFacts) -> Obstacle | None:
    """No ALTER SYSTEM on it outdoes what the panel writes."""
    found = altered([facts.candidate])
    if not found:
        return None
    return obstacle(
        "settings_altered",
        "blocks",
        _("ALTER SYSTEM outdoes the panel's files: %(value)s."),
        _("Run ALTER SYSTEM RESET for each of them, then pg_reload_conf()."),
        value=found,
    )


@needs(candidate_seen, primary_answers)
def lag_bytes(facts: PromotionFacts) -> Obstacle | None:
    """It has what the primary has."""
    lag = behind_primary(facts)
    if not lag or lag <= facts.limits.lag_bytes:
        return None
    return obstacle(
        "lag_bytes",
        "warns",
        _("%(candidate)s is %(lag)s of WAL behind %(primary)s: it will lack what is in it."),
        _("Wait until it has caught up, if it is to have everything."),
        value=lag,
        threshold=facts.limits.lag_bytes,
        lag=size(lag),
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


@needs(primary_answers)
def relax_sync(facts: PromotionFacts) -> Obstacle | None:
    """Commits on the primary find enough standbys without it."""
    left = usable_standbys(facts, facts.primary_name)
    if facts.sync_mode == "async" or len(left) >= facts.sync_count:
        return None
    return obstacle(
        "relax_sync",
        "flag",
        _("Commits must wait for %(threshold)s standbys; without %(candidate)s %(value)s are left: no commit would end."),
        _("Add another standby, or change the synchronous replication first."),
        value=len(left),
        threshold=facts.sync_count,
        candidate=facts.candidate.name,
    )


def last_standby(facts: PromotionFacts) -> Obstacle | None:
    """The cluster keeps another standby."""
    if usable_standbys(facts, facts.primary_name):
        return None
    return obstacle(
        "last_standby",
        "warns",
        _("Without %(candidate)s the cluster has no standby: its data is on one disk only."),
        _("Add another standby first."),
        value=0,
        threshold=1,
        candidate=facts.candidate.name,
    )


PROMOTE_RULES: Final[tuple[PromotionRule, ...]] = (
    primary_silent,
    *CANDIDATE_RULES,
    followed_by_others,
    backup_of_candidate,
    replay_delayed,
    settings_altered,
    lag_bytes,
    relax_sync,
    last_standby,
)


def promote_obstacles(facts: PromotionFacts) -> list[Obstacle]:
    """Every reason against this promotion, in the order of the rules."""
    return [found for rule in PROMOTE_RULES if (found := rule(facts))]
