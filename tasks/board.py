"""The eligibility board of a cluster: every standby under every rule of an act, from what was last seen and written down.

The first step of the act looks again and runs the same rules; here nothing is looked at, so a look that is old, or that did
not tell what a rule asks for, is shown as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, get_args

from django.utils import timezone
from typing_extensions import TypedDict

from clusters.models import Cluster, Instance, ReplicationPair
from clusters.models.cluster import Lifecycle
from clusters.postgres.board import Cell, Standing, board
from clusters.postgres.build import Build
from clusters.postgres.promotion_facts import MemberFacts, PromotionFacts, Surroundings
from clusters.postgres.promotion_rules import PromotionRule
from clusters.postgres.rules import FAILOVER_RULES, PROMOTE_RULES, SWITCHOVER_RULES, best_candidate
from clusters.selectors import cluster_get
from tasks.members import Members, facts_around, member_declared, members_of
from tasks.standing import facts_of

Act = Literal["switchover", "failover", "promote"]
ACTS: Final[tuple[Act, ...]] = get_args(Act)
RULES: Final[Mapping[Act, Sequence[PromotionRule]]] = {
    "switchover": SWITCHOVER_RULES,
    "failover": FAILOVER_RULES,
    "promote": PROMOTE_RULES,
}
_SILENT: Final = {
    Instance.Observed.STOPPED: "it is stopped",
    Instance.Observed.UNREACHABLE: "it did not answer",
    Instance.Observed.UNKNOWN: "nobody has looked at it yet",
}


class RuleShown(TypedDict):
    rule: str
    title: str  # what should hold
    status: str  # ok, obstacle, unknown (the rule could not see what it judges)
    name: str | None  # of the obstacle; what follows is null where there is none
    severity: str | None  # blocks, flag, warns
    sentence: str | None
    value: str | int | float | bool | None
    threshold: str | int | float | bool | None
    cure: str | None


class StandbyShown(TypedDict):
    name: str
    server: str
    eligible: bool  # nothing blocks
    flags: list[str]  # without which it would be refused all the same
    observed_at: datetime | None
    rules: list[RuleShown]


class BoardShown(TypedDict):
    cluster: str
    act: str
    primary: str | None  # as declared
    best: str | None  # whom the panel would choose
    observed_at: datetime | None  # the oldest look that this rests on
    standbys: list[StandbyShown]


def board_show(name: str, act: Act) -> BoardShown:
    """Raises: Cluster.DoesNotExist."""
    return board_of(cluster_get(name), act)


def board_of(cluster: Cluster, act: Act) -> BoardShown:
    members = members_of([cluster], server_facts=True)[cluster.pk]
    standings = board(RULES[act], promotion_facts_of(cluster, members))
    rows = {row.name: row for row in members.instances}
    return {
        "cluster": cluster.name,
        "act": act,
        "primary": next((row.name for row in members.instances if row.role == Instance.Role.PRIMARY), None),
        "best": _best(act, list(standings.values())),
        "observed_at": members.observed_at,
        "standbys": [_standby_shown(rows[name], standing) for name, standing in standings.items()],
    }


def promotion_facts_of(cluster: Cluster, members: Members, now: datetime | None = None) -> dict[str, PromotionFacts]:
    """What the rules judge, for each finished standby as the candidate, from the rows."""
    moment, pairs = now or timezone.now(), {pair.standby_id: pair for pair in members.pairs}
    ready = [row for row in members.instances if row.lifecycle == Lifecycle.READY]
    seen = [_member(cluster, row, pairs.get(row.pk), moment) for row in ready]
    return {member.name: facts_around(cluster, member, seen) for member in seen if member.role == "standby"}


def _member(cluster: Cluster, row: Instance, pair: ReplicationPair | None, now: datetime) -> MemberFacts:
    return replace(
        member_declared(cluster.name, row, pair),
        facts=facts_of(row),
        error=_SILENT.get(Instance.Observed(row.observed_role), ""),
        around=_around(row),
        age_seconds=(now - row.observed_at).total_seconds() if row.observed_at else None,
    )


def _around(row: Instance) -> Surroundings:
    """What a look at the instance has told of its server, and else a check of the server; an image has a C library of its own."""
    around = Surroundings.from_row(row.surroundings)
    names = ("machine",) if row.server.in_containers else ("machine", "libc")
    checked = {name: str(row.server.facts[name]) for name in names if row.server.facts.get(name)}
    told = {name: value for name, value in around.build.as_row().items() if value}
    return replace(around, build=Build.from_row({**checked, **told}))


def _best(act: Act, standings: Sequence[Standing]) -> str | None:
    """In a failover who has the most WAL; in a switchover, where nothing is lost, who has least in its way; nobody who is to leave."""
    if act == "failover":
        return best_candidate(standing.facts for standing in standings)
    eligible = [standing for standing in standings if standing.eligible] if act == "switchover" else []
    best = min(eligible, key=lambda standing: (len(standing.flags), len(standing.obstacles), standing.facts.candidate.name), default=None)
    return best.facts.candidate.name if best else None


def _standby_shown(row: Instance, standing: Standing) -> StandbyShown:
    return {
        "name": row.name,
        "server": row.server.name,
        "eligible": standing.eligible,
        "flags": standing.flags,
        "observed_at": row.observed_at,
        "rules": [_rule_shown(cell) for cell in standing.cells],
    }


def _rule_shown(cell: Cell) -> RuleShown:
    found: dict[str, Any] = cell.obstacle.as_row() if cell.obstacle else {}
    return {
        "rule": cell.rule,
        "title": cell.title,
        "status": cell.status,
        "name": found.get("name"),
        "severity": found.get("severity"),
        "sentence": found.get("sentence"),
        "value": found.get("value"),
        "threshold": found.get("threshold"),
        "cure": found.get("cure"),
    }
