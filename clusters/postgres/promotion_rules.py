"""May this standby be the primary? What every act that promotes one asks of the candidate and of its server.

One pure function a rule, as in `clone_rules`. `switchover_rules`, `failover_rules` and `promote_rules` add what each act asks
besides; an obstacle of severity "flag" has the name of the flag that allows it (`promotion_facts.FLAGS`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clusters.postgres import parity_rules
from clusters.postgres.build import Build
from clusters.postgres.facts import InstanceFacts
from clusters.postgres.obstacles import PANEL_SETTINGS, Obstacle, obstacle, size
from clusters.postgres.promotion_facts import MemberFacts, PromotionFacts
from clusters.postgres.settings import PARITY
from clusters.postgres.text import gettext_noop as _

PromotionRule = Callable[[PromotionFacts], Obstacle | None]
Known = Callable[[PromotionFacts], bool]

_NEEDED: Final[dict[PromotionRule, tuple[Known, ...]]] = {}


def needs(*known: Known) -> Callable[[PromotionRule], PromotionRule]:
    """What a rule must have seen. Where that was not seen its silence says nothing, and the board says “not known”."""

    def marked(rule: PromotionRule) -> PromotionRule:
        _NEEDED[rule] = known
        return rule

    return marked


def is_known(rule: PromotionRule, facts: PromotionFacts) -> bool:
    """Whether the rule could see what it judges."""
    return all(known(facts) for known in _NEEDED.get(rule, ()))


def candidate_seen(facts: PromotionFacts) -> bool:
    return facts.candidate.now is not None


def primary_seen(facts: PromotionFacts) -> bool:
    """By this look or an earlier one."""
    return facts.primary_then is not None


def primary_answers(facts: PromotionFacts) -> bool:
    return facts.primary_now is not None


def room_seen(facts: PromotionFacts) -> bool:
    return facts.candidate.around.free_bytes is not None


def logins_tried(facts: PromotionFacts) -> bool:
    return {name for name in facts.followers if name in _answering(facts)} <= facts.candidate.around.logins.keys()


def candidate_silent(facts: PromotionFacts) -> Obstacle | None:
    """The standby answers."""
    if facts.candidate.now is not None:
        return None
    return obstacle(
        "candidate_silent",
        "blocks",
        _("%(candidate)s does not answer: %(value)s"),
        _("See on its server whether it runs and what its log says, then look again."),
        value=facts.candidate.error.strip() or "nobody has looked at it yet",
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def candidate_not_standby(facts: PromotionFacts) -> Obstacle | None:
    """It is a standby."""
    if facts.candidate.now is None or facts.candidate.now.in_recovery:
        return None
    return obstacle(
        "candidate_not_standby",
        "blocks",
        _("%(candidate)s is not in recovery: it accepts writes as a primary already (timeline %(value)s)."),
        _("Find out who promoted it. Keep applications away from one of the two before anything else is done."),
        value=facts.candidate.now.timeline,
        candidate=facts.candidate.name,
    )


def candidate_quarantined(facts: PromotionFacts) -> Obstacle | None:
    """It is not in quarantine."""
    if not facts.candidate.quarantined:
        return None
    return obstacle(
        "candidate_quarantined",
        "blocks",
        _("%(candidate)s is in quarantine: it may lack what the cluster has, and have what the cluster never had."),
        _("Rejoin it first, or choose another standby."),
        candidate=facts.candidate.name,
    )


def candidate_fenced(facts: PromotionFacts) -> Obstacle | None:
    """Its server does not forbid that it becomes a primary."""
    if facts.candidate.around.fenced is None:
        return None
    return obstacle(
        "candidate_fenced",
        "blocks",
        _("%(candidate)s bears a fence on its server: %(value)s"),
        _("Another act has forbidden it to be a primary. Rejoin it, which takes the fence away, or choose another standby."),
        value=facts.candidate.around.fenced or "no reason given",
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def second_primary(facts: PromotionFacts) -> Obstacle | None:
    """Nobody else accepts writes."""
    writable = [member.name for member in facts.siblings if member.now and not member.now.in_recovery]
    if not writable:
        return None
    return obstacle(
        "second_primary",
        "blocks",
        _("%(value)s, declared a standby, accepts writes: the cluster has a primary that the panel did not make."),
        _("Find out who promoted it and which one the applications use. Stop the other one before anything else is done."),
        value=", ".join(writable),
    )


@needs(candidate_seen)
def system_identifier_differs(facts: PromotionFacts) -> Obstacle | None:
    """It is kin to the primary and to the cluster: the same system identifier."""
    seen = [side.system_identifier for side in (facts.primary_then, facts.candidate.facts) if side]
    if len({*seen, facts.system_identifier or (seen or [""])[0]}) <= 1:
        return None
    return obstacle(
        "system_identifier_differs",
        "blocks",
        _("The system identifiers differ (%(value)s; recorded: %(threshold)s): at least one is not a copy of this cluster."),
        _("See which data directory was exchanged; the instance that is not kin must be cloned again."),
        value=", ".join(dict.fromkeys(seen)),
        threshold=facts.system_identifier or "-",
    )


@needs(candidate_seen, primary_seen)
def major_version_differs(facts: PromotionFacts) -> Obstacle | None:
    """It runs the primary's major version."""
    now, then = facts.candidate.now, facts.primary_then
    if now is None or then is None or now.major == then.major:
        return None
    return obstacle(
        "major_version_differs",
        "blocks",
        _("%(candidate)s runs PostgreSQL %(value)s, %(primary)s ran %(threshold)s."),
        _("Physical replication does not cross major versions: see whose programs were exchanged."),
        value=now.major,
        threshold=then.major,
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


def _both(what: Callable[[Build], object]) -> Known:
    """Whether it is known of the candidate's programs and of the primary's."""
    return lambda facts: bool(what(facts.parity.here) and what(facts.parity.there))


@needs(_both(lambda build: build.machine))
def machine_differs(facts: PromotionFacts) -> Obstacle | None:
    """Its server has the primary's kind of processor."""
    return parity_rules.machine_differs(facts.parity)


@needs(_both(lambda build: build.libc))
def libc_differs(facts: PromotionFacts) -> Obstacle | None:
    """Its server sorts text as the primary's does."""
    return parity_rules.libc_differs(facts.parity)


@needs(lambda facts: bool(facts.parity.here.icu) == bool(facts.parity.there.icu))
def icu_differs(facts: PromotionFacts) -> Obstacle | None:
    """Its PostgreSQL is linked with the primary's ICU."""
    return parity_rules.icu_differs(facts.parity)


@needs(lambda facts: bool(facts.parity.here.image) == bool(facts.parity.there.image))
def image_differs(facts: PromotionFacts) -> Obstacle | None:
    """It runs the primary's image."""
    return parity_rules.image_differs(facts.parity)


@needs(_both(lambda build: build.extensions))
def extension_missing(facts: PromotionFacts) -> Obstacle | None:
    """It has every extension on disk that the databases use."""
    return parity_rules.extension_missing(facts.parity)


def collations_changed(facts: PromotionFacts) -> list[str]:
    """Databases whose texts the candidate's server sorts in another way, and the primary's does not."""
    there = facts.primary_then.collation_mismatches if facts.primary_then else ()
    return [name for name in (facts.candidate.now.collation_mismatches if facts.candidate.now else ()) if name not in there]


@needs(candidate_seen, primary_seen)
def parameters_lower(facts: PromotionFacts) -> Obstacle | None:
    """It has no less connections, workers, senders, prepared transactions and locks than the primary."""
    now, then = facts.candidate.now, facts.primary_then
    lower = [name for name in PARITY if now and then and now.number(name) < then.number(name)]
    if not lower or now is None or then is None:
        return None
    return obstacle(
        "parameters_lower",
        "blocks",
        _("%(candidate)s has %(value)s, less than %(primary)s (%(threshold)s): its replay pauses, and a promotion would shut it down."),
        _("Raise them in its conf/postgresql.conf and restart it, then look again."),
        value=", ".join(f"{name} = {now.number(name)}" for name in lower),
        threshold=", ".join(f"{name} = {then.number(name)}" for name in lower),
        candidate=facts.candidate.name,
        primary=facts.primary_name,
    )


@needs(room_seen)
def disk_full(facts: PromotionFacts) -> Obstacle | None:
    """Its disk has room to write on."""
    free, limit = facts.candidate.around.free_bytes, facts.limits.free_bytes
    if free is None or free >= limit:
        return None
    return obstacle(
        "disk_full",
        "blocks",
        _("%(candidate)s has %(free)s free on its disk; a primary needs at least %(limit)s to go on."),
        _("Free some room there: the primary stops when its disk is full."),
        value=free,
        threshold=limit,
        free=size(free),
        limit=size(limit),
        candidate=facts.candidate.name,
    )


def epoch_higher(facts: PromotionFacts) -> Obstacle | None:
    """No server knows a higher epoch than the panel."""
    higher = {member.name: member.around.epoch for member in facts.members if (member.around.epoch or 0) > facts.epoch}
    if not higher:
        return None
    return obstacle(
        "epoch_higher",
        "blocks",
        _("The server of %(names)s has heard of epoch %(value)s, the panel knows %(threshold)s: somebody else has promoted here since."),
        _("Change nothing. Find out who else manages this cluster, or whether the panel's database was restored from a backup."),
        value=max(epoch or 0 for epoch in higher.values()),
        threshold=facts.epoch,
        names=", ".join(higher),
    )


def look_too_old(facts: PromotionFacts) -> Obstacle | None:
    """It was looked at lately."""
    age, limit = facts.candidate.age_seconds, facts.limits.look_age_seconds
    if age is not None and age <= limit:
        return None
    return obstacle(
        "look_too_old",
        "blocks",
        _("The last look at %(candidate)s is %(value)s seconds old (limit %(threshold)s); everything may have changed since.")
        if age is not None
        else _("Nobody has looked at %(candidate)s yet (limit %(threshold)s seconds)."),
        _("Verify the cluster: that looks again."),
        value=None if age is None else round(age),
        threshold=round(limit),
        candidate=facts.candidate.name,
    )


@needs(candidate_seen)
def replay_delayed(facts: PromotionFacts) -> Obstacle | None:
    """It replays at once what it receives."""
    now = facts.candidate.now
    delay = int(now.settings.get("recovery_min_apply_delay", "0")) if now else 0
    paused = now is not None and now.replay_state not in (None, "not paused")
    if now is None or not (delay or paused):
        return None
    return obstacle(
        "replay_delayed",
        "flag",
        _("Replay on %(candidate)s does not go on (%(value)s): it must replay the rest before it accepts writes.")
        if paused
        else _("%(candidate)s replays %(value)s ms late on purpose: it must replay the rest before it accepts writes."),
        _("Choose another standby, or allow it with the flag replay_delayed. To end it: pg_wal_replay_resume(), or reset the delay."),
        value=now.replay_state if paused else delay,
        threshold="not paused" if paused else 0,
        candidate=facts.candidate.name,
    )


# -- what the lists of several acts say with other words or weights


def lacks_senders(facts: PromotionFacts) -> tuple[int, int] | None:
    """(free, needed) WAL senders on the candidate, where there are too few: one for each follower, one to spare."""
    now = facts.candidate.now
    if now is None:
        return None
    others = [sender for sender in now.senders if sender.application_name not in facts.followers]
    free, needed = now.number("max_wal_senders") - len(others), len(facts.followers) + 1
    return (free, needed) if free < needed else None


def lacks_slots(facts: PromotionFacts) -> tuple[int, int] | None:
    """(free, needed) replication slots on the candidate, where there are too few: one for each follower, one to spare."""
    now = facts.candidate.now
    if now is None:
        return None
    theirs = {member.slot for member in facts.members if member.name in facts.followers}
    others = [slot for slot in now.slots if slot.name not in theirs]
    free, needed = now.number("max_replication_slots") - len(others), len(facts.followers) + 1
    return (free, needed) if free < needed else None


def altered(members: list[MemberFacts]) -> str:
    """Settings of the panel that ALTER SYSTEM outdoes, by instance; "" where there are none."""
    found = {
        member.name: sorted((PANEL_SETTINGS | PROMOTION_SETTINGS) & set(member.now.altered_settings)) for member in members if member.now
    }
    return "; ".join(f"{name}: {', '.join(settings)}" for name, settings in found.items() if settings)


#: The panel writes these too, and a promotion rests on them.
PROMOTION_SETTINGS: Final = frozenset({"synchronous_standby_names", "recovery_min_apply_delay", "recovery_target_timeline"})


def logins_refused(facts: PromotionFacts, names: tuple[str, ...]) -> dict[str, str]:
    """Of those that answer: who could not log in to the candidate for replication, and what was answered."""
    tried = facts.candidate.around.logins
    return {name: tried[name] for name in names if name in _answering(facts) and tried.get(name)}


def _answering(facts: PromotionFacts) -> set[str]:
    return {member.name for member in facts.members if member.now}


def can_rewind(side: InstanceFacts) -> bool:
    return side.data_checksums or side.settings.get("wal_log_hints") == "on"


def usable_standbys(facts: PromotionFacts, *upstreams: str) -> list[str]:
    """Siblings that answer, are not in quarantine, and follow one of these."""
    return [member.name for member in facts.siblings if member.now and not member.quarantined and member.upstream in upstreams]


#: What every act asks.
CANDIDATE_RULES: Final[tuple[PromotionRule, ...]] = (
    candidate_silent,
    look_too_old,
    candidate_not_standby,
    candidate_quarantined,
    candidate_fenced,
    second_primary,
    system_identifier_differs,
    major_version_differs,
    machine_differs,
    libc_differs,
    icu_differs,
    image_differs,
    extension_missing,
    parameters_lower,
    disk_full,
    epoch_higher,
)
