"""The eligibility board's row of one candidate, beside the plan: what is in the way, which flags it takes, what may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from django.utils.translation import gettext as _

from clusters.models import Cluster
from tasks.board import ACTS, Act, BoardShown, RuleShown, StandbyShown, board_of
from tasks.retold import retold
from tasks.standing import Remark

_TONES = {"blocks": "failed", "flag": "operator", "warns": "warning"}
_ORDER = tuple(_TONES)
#: It says that the look is too old to say anything; the act looks again.
STALE = "look_too_old"
LOSS = "possible_data_loss"


@dataclass(frozen=True)
class Loss:
    """What a failover may lose, by the last looks. `size` None: nobody can tell."""

    sentence: str
    size: int | None
    primary_seen_at: datetime | None = None
    candidate_seen_at: datetime | None = None
    proven: bool = False  # every acknowledged commit is known to be on the candidate


@dataclass(frozen=True)
class Eligibility:
    """One candidate under every rule of an act."""

    act: Act
    candidate: str | None  # None: by the last look nobody could take over
    chosen_by_panel: bool = False
    remarks: list[Remark] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # titles of rules that nobody could judge
    well: int = 0
    needs: dict[str, str] = field(default_factory=dict)  # flag -> why it is needed
    stale: bool = False
    blocked: str = ""  # why the act cannot be asked for now; "" where it can
    observed_at: datetime | None = None
    loss: Loss | None = None


def eligibility_of(kind: str, cluster: Cluster, wanted: str, *, later: bool = False) -> Eligibility | None:
    """None for kinds of jobs that have no board. `later`: the act is for another time, so what blocks now only warns."""
    if kind not in ACTS:
        return None
    shown = board_of(cluster, kind)
    name = wanted or shown["best"] or ""
    row = next((standby for standby in shown["standbys"] if standby["name"] == name), None)
    if row is None:
        return _nobody(shown, later)
    found = sorted((rule for rule in row["rules"] if rule["status"] == "obstacle"), key=lambda rule: _ORDER.index(str(rule["severity"])))
    stale = any(rule["name"] == STALE for rule in found)
    blocks = [retold(rule["sentence"] or "") for rule in found if rule["severity"] == "blocks"]
    return Eligibility(
        act=kind,
        candidate=name,
        chosen_by_panel=not wanted,
        remarks=[_remark(rule) for rule in found],
        unknown=[rule["title"] for rule in row["rules"] if rule["status"] == "unknown"],
        well=sum(rule["status"] == "ok" for rule in row["rules"]),
        needs={str(rule["name"]): retold(rule["sentence"] or "") for rule in found if rule["severity"] == "flag"},
        stale=stale,
        blocked="" if stale or later or not blocks else blocks[0],
        observed_at=row["observed_at"],
        loss=loss_of(cluster, shown, row) if kind == "failover" else None,
    )


def loss_of(cluster: Cluster, shown: BoardShown, row: StandbyShown) -> Loss:
    """The bound of what is lost, as the rule about it says; with the ages of the two looks it rests on."""
    rule = next(rule for rule in row["rules"] if rule["rule"] == LOSS)
    seen = dict(cluster.instances.filter(name__in=[shown["primary"], row["name"]]).values_list("name", "observed_at"))
    ages = (seen.get(shown["primary"] or ""), seen.get(row["name"]))
    if rule["status"] == "ok":
        words = _("Nothing that was acknowledged: by the last look %(name)s is proven to have it all.")
        return Loss(words % {"name": row["name"]}, 0, *ages, proven=True)
    if rule["status"] == "unknown":
        return Loss(_("Nobody has looked at %(name)s well enough to tell.") % {"name": row["name"]}, None, *ages)
    return Loss(retold(rule["sentence"] or ""), cast("int | None", rule["value"]), *ages)


def _nobody(shown: BoardShown, later: bool) -> Eligibility:
    """No candidate was named, and the panel would choose none; or one was named that is not there any more."""
    stale = any(_is_stale(standby["rules"]) for standby in shown["standbys"])
    words = _("By the last look no standby could take over. The board says what is in the way of each.")
    return Eligibility(shown["act"], None, stale=stale, blocked="" if stale or later else words, observed_at=shown["observed_at"])  # type: ignore[arg-type]


def _is_stale(rules: Sequence[RuleShown]) -> bool:
    return any(rule["name"] == STALE for rule in rules)


def _remark(rule: RuleShown) -> Remark:
    values: dict[str, Any] = {"value": rule["value"], "threshold": rule["threshold"]}
    return Remark(_TONES[str(rule["severity"])], "", retold(rule["sentence"] or ""), retold(rule["cure"] or ""), **values)
