"""Synchronous replication: findings of a verification, and what stands in the way of a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clusters.postgres.facts import InstanceFacts
from clusters.postgres.guarantee import same_names
from clusters.postgres.obstacles import Obstacle, obstacle
from clusters.postgres.refused import shown
from clusters.postgres.sync import SyncNames, below_on, counted, parse_names, twins
from clusters.postgres.text import gettext_noop as _
from clusters.postgres.verify_facts import VerifyFacts, VerifyRule

# -- findings of a verification


def sync_not_met(facts: VerifyFacts) -> Obstacle | None:
    """As many synchronous standbys stream as commits wait for."""
    primary, names = _promised(facts)
    if primary is None or names is None or len(counted(primary)) >= names.count:
        return None
    return obstacle(
        "sync_not_met",
        "warns",
        _("Only %(value)s of the %(threshold)s standbys that commits on %(upstream)s wait for stream: commits wait."),
        _("Bring the standbys back. If that takes long, let commits wait for fewer (change synchronous replication)."),
        value=len(counted(primary)),
        threshold=names.count,
        upstream=facts.upstream_name,
    )


def sync_commits_wait(facts: VerifyFacts) -> Obstacle | None:
    """No commit waits for a standby for long. One that is cut off is shown as streaming for a minute more: commits tell it at once."""
    if facts.upstream is None or facts.upstream.in_recovery or not facts.upstream.sync_waits:
        return None
    return obstacle(
        "sync_commits_wait",
        "warns",
        _("%(value)s commits on %(upstream)s wait for a standby and are not acknowledged: applications stand still."),
        _("See whether the standbys reach the primary. If that takes long: switch over, or let commits wait for fewer."),
        value=facts.upstream.sync_waits,
        threshold=0,
        upstream=facts.upstream_name,
    )


def sync_weakened(facts: VerifyFacts) -> Obstacle | None:
    """No role and no database is set to commit without waiting for the standbys."""
    primary, names = _promised(facts)
    if primary is None or names is None:
        return None
    commit = primary.settings.get("synchronous_commit", "on")
    places = [*([f"server: {commit}"] if below_on(commit) else []), *(shown(place) for place in primary.weak_sync)]
    if not places:
        return None
    return obstacle(
        "sync_weakened",
        "warns",
        _("synchronous_commit is below on for: %(value)s. What they commit is not on a standby when it is acknowledged."),
        _("ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit, unless you mean it: a failover may lose their last commits."),
        value=", ".join(places),
        threshold="on",
    )


def sync_star(facts: VerifyFacts) -> Obstacle | None:
    """Commits wait for standbys by name."""
    primary, names = _promised(facts)
    if primary is None or names is None or not names.star:
        return None
    return obstacle(
        "sync_star",
        "warns",
        _("synchronous_standby_names of %(upstream)s holds *: whoever replicates counts, so nobody knows who has the commits."),
        _("Change synchronous replication: the panel then writes the standbys by name."),
        value="*",
        upstream=facts.upstream_name,
    )


def sync_names_differ(facts: VerifyFacts) -> Obstacle | None:
    """The primary waits for whom the panel declares."""
    if facts.upstream is None or facts.upstream.in_recovery or facts.synchronous is None:
        return None
    setting = facts.upstream.settings.get("synchronous_standby_names", "")
    if same_names(setting, facts.synchronous):
        return None
    return obstacle(
        "sync_names_differ",
        "blocks" if _promises_less(setting, facts.synchronous) else "warns",
        _("synchronous_standby_names of %(upstream)s is %(value)s, and the panel declares %(threshold)s."),
        _("Somebody changed it by hand. Change synchronous replication to what you want: the panel then writes it again."),
        value=setting or "''",
        threshold=facts.synchronous or "''",
        upstream=facts.upstream_name,
    )


def sync_names_after(facts: VerifyFacts) -> Obstacle | None:
    """The standby would wait for whom the panel declares, were it promoted."""
    if facts.standby is None or not facts.standby.in_recovery or facts.standby_synchronous is None:
        return None
    setting = facts.standby.settings.get("synchronous_standby_names", "")
    if same_names(setting, facts.standby_synchronous):
        return None
    return obstacle(
        "sync_names_after",
        "warns",
        _("Were %(standby)s promoted, its commits would wait for %(value)s, and the panel declares %(threshold)s."),
        _("Change synchronous replication to what it is: the panel then writes the file of every member again."),
        value=setting or "''",
        threshold=facts.standby_synchronous or "''",
        standby=facts.standby_name,
    )


def _promised(facts: VerifyFacts) -> tuple[InstanceFacts | None, SyncNames | None]:
    """The primary and whom its commits wait for; nothing where they wait for nobody or the upstream is a standby."""
    if facts.upstream is None or facts.upstream.in_recovery:
        return None, None
    names = parse_names(facts.upstream.settings.get("synchronous_standby_names", ""))
    return (facts.upstream, names) if names and names.mode != "async" else (None, None)


def _promises_less(setting: str, declared: str) -> bool:
    """Whether a server with this setting acknowledges commits that fewer have than the panel says."""
    has, wanted = parse_names(setting), parse_names(declared)
    return has is None or wanted is None or has.count < wanted.count or has.star


SYNC_VERIFY_RULES: Final[tuple[VerifyRule, ...]] = (
    sync_not_met,
    sync_commits_wait,
    sync_weakened,
    sync_star,
    sync_names_differ,
    sync_names_after,
)


# -- what stands in the way of a change


@dataclass(frozen=True)
class SyncChangeFacts:
    """The primary as it was just seen, and what is wanted of it."""

    primary: InstanceFacts
    name: str
    wanted: SyncNames
    lower: bool = False  # it asks commits to wait for fewer than now: no reason to refuse because standbys are away

    @property
    def streaming(self) -> list[str]:
        """Those of the wanted standbys that stream."""
        senders = {sender.application_name.casefold() for sender in self.primary.senders if sender.state == "streaming"}
        return [name for name in self.wanted.names if name.casefold() in senders]


def sync_primary_in_recovery(facts: SyncChangeFacts) -> Obstacle | None:
    """The primary is one."""
    if not facts.primary.in_recovery:
        return None
    return obstacle(
        "sync_primary_in_recovery",
        "blocks",
        _("%(instance)s is declared the primary and is in recovery: whom its commits wait for means nothing now."),
        _("Verify the cluster and find out which instance is the primary."),
        instance=facts.name,
    )


def sync_altered(facts: SyncChangeFacts) -> Obstacle | None:
    """No ALTER SYSTEM outdoes the file."""
    if "synchronous_standby_names" not in facts.primary.altered_settings:
        return None
    return obstacle(
        "sync_altered",
        "blocks",
        _("ALTER SYSTEM has set synchronous_standby_names on %(instance)s: it outdoes what the panel writes."),
        _("Run ALTER SYSTEM RESET synchronous_standby_names on it, then resume the job."),
        value=facts.primary.settings.get("synchronous_standby_names", ""),
        instance=facts.name,
    )


def sync_standbys_missing(facts: SyncChangeFacts) -> Obstacle | None:
    """As many of the standbys stream as commits are to wait for."""
    if len(facts.streaming) >= facts.wanted.count:
        return None
    return obstacle(
        "sync_standbys_missing",
        "warns" if facts.lower else "blocks",
        _(
            "%(value)s of the standbys (%(names)s) stream from %(instance)s, and commits are to wait for %(threshold)s: "
            "they would not return."
        ),
        _("Start the standbys and let them catch up, or ask for fewer."),
        value=len(facts.streaming),
        threshold=facts.wanted.count,
        names=", ".join(facts.wanted.names),
        instance=facts.name,
    )


def sync_name_twice(facts: SyncChangeFacts) -> Obstacle | None:
    """Each standby has a name of its own."""
    found = twins(facts.primary.senders, facts.wanted.names)
    if not found:
        return None
    return obstacle(
        "sync_name_twice",
        "blocks",
        _("More than one standby replicates from %(instance)s as %(value)s: each would count, so the number would be untrue."),
        _("Find the one that the panel did not make (pg_stat_replication), and give it another application_name."),
        value=", ".join(found),
        threshold=1,
        instance=facts.name,
    )


def sync_roles_weak(facts: SyncChangeFacts) -> Obstacle | None:
    """No role and no database commits without waiting."""
    commit = facts.primary.settings.get("synchronous_commit", "on")
    places = [*([f"server: {commit}"] if below_on(commit) else []), *(shown(place) for place in facts.primary.weak_sync)]
    if facts.wanted.mode == "async" or not places:
        return None
    return obstacle(
        "sync_roles_weak",
        "warns",
        _("synchronous_commit is below on for: %(value)s. What they commit will not wait."),
        _("ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit, unless you mean it."),
        value=", ".join(places),
        threshold="on",
    )


SyncChangeRule = Callable[[SyncChangeFacts], Obstacle | None]
SYNC_CHANGE_RULES: Final[tuple[SyncChangeRule, ...]] = (
    sync_primary_in_recovery,
    sync_altered,
    sync_standbys_missing,
    sync_name_twice,
    sync_roles_weak,
)


def sync_obstacles(facts: SyncChangeFacts) -> list[Obstacle]:
    """Every obstacle to the change, in the order of the rules."""
    return [found for rule in SYNC_CHANGE_RULES if (found := rule(facts))]
