"""The rules in force: each condition as it comes, or as a person has changed it."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.alerting.conditions import CONDITIONS, Condition
from tasks.models import AlertRule, Severity


@dataclass(frozen=True)
class Rule:
    condition: Condition
    enabled: bool
    severity: Severity
    hold_seconds: int
    threshold: float | None
    changed: bool = False  # by a person

    @property
    def limit(self) -> float:
        """The threshold of a condition that has one."""
        assert self.threshold is not None, self.condition.name
        return self.threshold


def rules_read() -> dict[str, Rule]:
    """Condition -> its rule, in the order of the table. One query."""
    changed = {row.condition: row for row in AlertRule.objects.all()}
    return {name: _rule(condition, changed.get(name)) for name, condition in CONDITIONS.items()}


def _rule(condition: Condition, row: AlertRule | None) -> Rule:
    if row is None:
        return Rule(condition, True, condition.severity, condition.hold_seconds, condition.threshold)
    threshold = condition.threshold if row.threshold is None else row.threshold
    return Rule(condition, row.enabled, Severity(row.severity), row.hold_seconds, threshold, changed=True)
