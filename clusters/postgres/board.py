"""The eligibility board: every standby against every rule, before anything is asked for. Pure, as the rules are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Literal

from clusters.postgres.obstacles import Obstacle
from clusters.postgres.parsers import Unreadable
from clusters.postgres.promotion_facts import PromotionFacts
from clusters.postgres.promotion_rules import PromotionRule, is_known

#: "unknown": what the rule judges was not seen, so that its silence says nothing.
CellStatus = Literal["ok", "obstacle", "unknown"]
#: What only the act itself finds out: it tries to stop the old primary.
DECIDED_LATER = frozenset({"unfenced_primary"})


@dataclass(frozen=True)
class Cell:
    """One standby under one rule."""

    rule: str
    title: str  # what should hold
    status: CellStatus
    obstacle: Obstacle | None = None


@dataclass(frozen=True)
class Standing:
    """One standby under all rules."""

    facts: PromotionFacts
    cells: tuple[Cell, ...]

    @property
    def obstacles(self) -> list[Obstacle]:
        return [cell.obstacle for cell in self.cells if cell.obstacle]

    @property
    def eligible(self) -> bool:
        """Whether nothing blocks; flags may be needed."""
        return all(found.severity != "blocks" for found in self.obstacles)

    @property
    def flags(self) -> list[str]:
        """The flags without which the act would be refused."""
        return [found.name for found in self.obstacles if found.severity == "flag"]


def board(rules: Sequence[PromotionRule], facts_of_each: Mapping[str, PromotionFacts]) -> dict[str, Standing]:
    """Each standby's standing under these rules, by its name."""
    return {name: Standing(facts, tuple(_cell(rule, facts) for rule in rules)) for name, facts in facts_of_each.items()}


def title_of(rule: PromotionRule) -> str:
    """What should hold, in one sentence: the first line of the rule's docstring."""
    return (getdoc(rule) or rule.__name__).partition("\n")[0]


def _cell(rule: PromotionRule, facts: PromotionFacts) -> Cell:
    if rule.__name__ in DECIDED_LATER:
        return Cell(rule.__name__, title_of(rule), "unknown")
    try:
        found = rule(facts)
    except Unreadable:  # a look of an earlier release, which did not ask for everything
        return Cell(rule.__name__, title_of(rule), "unknown")
    if found is not None:
        return Cell(rule.__name__, title_of(rule), "obstacle", found)
    return Cell(rule.__name__, title_of(rule), "ok" if is_known(rule, facts) else "unknown")
