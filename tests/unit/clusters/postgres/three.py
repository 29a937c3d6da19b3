"""Facts of three that are well: alpha is the primary, beta the candidate, gamma its sibling. Tests change one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clusters.postgres.build import Build
from clusters.postgres.facts import InstanceFacts
from clusters.postgres.promotion_facts import MemberFacts, PromotionFacts, Surroundings
from tests.unit.clusters.postgres.cast import SLOT
from tests.unit.clusters.postgres.pair import GB, HELD, RECEIVER, SENDER, SYSTEM, primary, standby

BUILD = Build(machine="x86_64", libc="glibc 2.36", icu="72", extensions=("plpgsql", "postgis"))
AROUND = Surroundings(epoch=1, free_bytes=100 * GB, build=BUILD)
GAMMA_SLOT = "pgr_orders_gamma"
SENDERS = (SENDER, replace(SENDER, pid=4713, application_name="gamma", address="10.0.0.7"))
SLOTS = (HELD, replace(HELD, name=GAMMA_SLOT, pid=4713))
#: A standby whose upstream is gone.
ALONE = replace(RECEIVER, status="waiting", message_age_seconds=90.0)


def alpha(facts: InstanceFacts | None = None) -> MemberFacts:
    seen = facts or primary(senders=SENDERS, slots=SLOTS, archive_waiting=0)
    return MemberFacts("alpha", "server-alpha", "primary", slot="pgr_orders_alpha", facts=seen, around=AROUND)


def beta(**changes: Any) -> MemberFacts:
    member = MemberFacts("beta", "server-beta", "standby", "alpha", SLOT, around=replace(AROUND, logins={"alpha": "", "gamma": ""}))
    return replace(member, facts=standby(**changes))


def gamma(**changes: Any) -> MemberFacts:
    member = MemberFacts("gamma", "server-gamma", "standby", "alpha", GAMMA_SLOT, around=AROUND)
    return replace(member, facts=standby(**{"receiver": replace(RECEIVER, slot=GAMMA_SLOT), **changes}))


def dead(member: MemberFacts) -> MemberFacts:
    """It does not answer; what was seen of it before stays."""
    return replace(member, error="connection refused")


def planned(**changes: Any) -> PromotionFacts:
    """beta is to take over from alpha, and nothing is in the way."""
    values: dict[str, Any] = {"candidate": beta(), "primary": alpha(), "siblings": (gamma(),), "system_identifier": SYSTEM}
    return PromotionFacts(**{**values, **changes})


def forced(**changes: Any) -> PromotionFacts:
    """alpha is dead and stopped; commits waited for one of the two, and beta has them all: nothing is in the way."""
    values: dict[str, Any] = {
        "candidate": beta(receiver=ALONE),
        "primary": dead(alpha()),
        "siblings": (gamma(receiver=ALONE),),
        "system_identifier": SYSTEM,
        "sync_mode": "any",
        "sync_count": 1,
        "fence": "stopped",
    }
    return PromotionFacts(**{**values, **changes})
