"""Silences made and ended, rules changed: the same for page, API and command. Each act is an entry of the audit trail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from clusters.form_base import SentenceForm, named
from clusters.form_fields import CheckedField, NumberField, choice, moment, seconds, yes_no
from clusters.models import Cluster
from clusters.postgres import names
from clusters.postgres.refused import NameRefused
from tasks.actor import Actor
from tasks.alerting.channel_forms import ON_OFF
from tasks.alerting.conditions import CONDITIONS, Condition
from tasks.alerting.rules import Rule, rules_read
from tasks.alerting.silences import is_past
from tasks.audit import audit_append
from tasks.models import AlertRule, Severity, Silence
from tasks.refusals import GENERAL, RequestRefused, allow

SILENCE_ADD, SILENCE_CHANGE, RULE_CHANGE = "tasks.add_silence", "tasks.change_silence", "tasks.change_alertrule"
HOLD_MOST: Final = 86_400
REASON_MOST: Final = 500  # as Silence.reason
_UNITS: Final[Mapping[str, timedelta]] = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(days=7),
}
LASTS_MOST: Final = timedelta(days=92)
LASTS: Final = (
    ("30m", gettext_lazy("30 minutes")),
    ("1h", gettext_lazy("an hour")),
    ("4h", gettext_lazy("4 hours")),
    ("12h", gettext_lazy("12 hours")),
    ("1d", gettext_lazy("a day")),
    ("3d", gettext_lazy("3 days")),
    ("1w", gettext_lazy("a week")),
)


def lasts(text: str, field: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,4})([mhdw])", text, re.ASCII)
    found = int(match[1]) * _UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < found <= LASTS_MOST:
        raise NameRefused(field, gettext_noop("%(field)s: write how long as a number with m, h, d or w, for example 2h; at most 92d."))
    return found


def why(text: str, field: str) -> str:
    """A reason as short as a silence keeps it: one that is cut would say something else."""
    found = names.reason(text, field)
    if len(found) > REASON_MOST:
        sentence = gettext_noop("%(field)s: it has %(size)s characters. Say it in at most %(most)s.")
        raise NameRefused(field, sentence, size=len(found), most=REASON_MOST)
    return found


def threshold(text: str, field: str) -> float:
    if not re.fullmatch(r"[0-9]{1,10}([.][0-9]{1,6})?", text, re.ASCII) or not float(text):
        raise NameRefused(field, gettext_noop("%(field)s: write a number above zero, for example 30 or 0.5."))
    return float(text)


def _conditions() -> list[tuple[str, Any]]:
    return [("", gettext_lazy("every one")), *((name, condition.label) for name, condition in CONDITIONS.items())]


def _clusters() -> list[tuple[str, Any]]:
    return [("", gettext_lazy("all")), *((name, name) for name in Cluster.objects.order_by("name").values_list("name", flat=True))]


class SilenceForm(SentenceForm):
    """What is to be kept quiet, when and why."""

    cluster = named(gettext_lazy("Cluster"), required=False, widget=forms.Select(choices=_clusters))  # type: ignore[arg-type]  # callables are fine
    condition = CheckedField(
        choice(list(CONDITIONS)),
        label=gettext_lazy("Condition"),
        required=False,
        widget=forms.Select(choices=_conditions),  # type: ignore[arg-type]  # callables are fine
    )
    starts_at = CheckedField(
        moment,
        label=gettext_lazy("From"),
        required=False,
        help_text=gettext_lazy("A time with its offset, for example 2026-12-01T03:00+01:00. Empty: now."),
    )
    lasts = CheckedField(lasts, label=gettext_lazy("For"), widget=forms.Select(choices=LASTS))
    weekly = CheckedField(
        yes_no, label=gettext_lazy("Every week"), widget=forms.Select(choices=ON_OFF), help_text=gettext_lazy("A maintenance window.")
    )
    reason = CheckedField(why, label=gettext_lazy("Reason"))

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = self.cleaned_data
        if name := values.get("cluster"):
            values["cluster"] = Cluster.objects.filter(name=name).only("pk", "name").first()
            if values["cluster"] is None:
                self.add_error("cluster", _("There is no cluster of this name. See: cluster list."))
        if values.get("weekly") and values.get("lasts", timedelta(0)) >= timedelta(days=7):
            self.add_error("lasts", _("What comes every week must be over before it comes again. Choose less than a week."))
        return values


def silence_make(*, actor: Actor, data: Mapping[str, Any]) -> Silence:
    """Raises: RequestRefused, Forbidden."""
    allow(actor, SILENCE_ADD)
    form = SilenceForm({"weekly": "no", "lasts": "1h"} | dict(data))
    if not form.is_valid():
        raise RequestRefused(form.messages())
    values = form.cleaned_data
    begin = datetime.fromisoformat(values["starts_at"]) if values["starts_at"] else timezone.now()
    with transaction.atomic():
        row = Silence.objects.create(
            cluster=values["cluster"] or None,
            condition=values["condition"] or "",
            starts_at=begin,
            ends_at=begin + values["lasts"],
            weekly=values["weekly"],
            reason=values["reason"],
            made_by=actor.name,
        )
        _audit(actor, "silence_make", row)
    return row


def silence_end(*, actor: Actor, silence: Silence) -> None:
    """From now on it covers nothing; one that has not begun never does. Raises: RequestRefused, Forbidden."""
    allow(actor, SILENCE_CHANGE)
    now = timezone.now()
    if is_past(silence, now):
        raise RequestRefused({GENERAL: [_("This silence is over already.")]})
    with transaction.atomic():
        if silence.starts_at >= now:
            _audit(actor, "silence_end", silence)
            silence.delete()
            return
        silence.weekly, silence.ends_at = False, min(now, silence.ends_at)
        silence.save(update_fields=["weekly", "ends_at"])
        _audit(actor, "silence_end", silence)


def _audit(actor: Actor, action: str, row: Silence) -> None:
    details = {
        "condition": row.condition,
        "from": row.starts_at.isoformat(),
        "until": row.ends_at.isoformat(),
        "weekly": row.weekly,
    }
    cluster = row.cluster.name if row.cluster else ""
    audit_append(
        actor=actor.name, source=actor.source, action=action, cluster_name=cluster, target=str(row.pk), reason=row.reason, details=details
    )


# -- rules


class RuleForm(SentenceForm):
    """How strict a condition is. `condition`: one without a threshold has no such field."""

    enabled = CheckedField(yes_no, label=gettext_lazy("Switched on"), widget=forms.Select(choices=ON_OFF))
    severity = CheckedField(choice(Severity.values), label=gettext_lazy("Severity"), widget=forms.Select(choices=Severity.choices))
    hold_seconds = CheckedField(
        seconds(0, HOLD_MOST),
        label=gettext_lazy("Hold time in seconds"),
        help_text=gettext_lazy("How long it must last before somebody is told."),
    )
    threshold = NumberField(threshold, label=gettext_lazy("Threshold"), required=False)

    def __init__(self, data: Mapping[str, Any] | None = None, *, condition: Condition | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.condition = condition
        if condition is not None and condition.threshold is None:
            del self.fields["threshold"]
        elif condition is not None:
            self.fields["threshold"].required = True
            self.fields["threshold"].help_text = _("In %(unit)s.") % {"unit": condition.unit}

    def clean(self) -> dict[str, Any]:
        most = self.condition.most if self.condition else 0
        if self.cleaned_data.get("threshold", 0) > most:
            sentence = _("threshold: this is more than there can be. Write a number up to %(most)s.")
            self.add_error("threshold", sentence % {"most": f"{most:.0f}"})
        return self.cleaned_data


def rule_values(rule: Rule) -> dict[str, Any]:
    """The rule as its form has it."""
    values: dict[str, Any] = {"enabled": "yes" if rule.enabled else "no", "severity": str(rule.severity), "hold_seconds": rule.hold_seconds}
    return values if rule.threshold is None else values | {"threshold": f"{rule.threshold:.6f}".rstrip("0").rstrip(".")}


def rule_change(*, actor: Actor, name: str, data: Mapping[str, Any]) -> list[str]:
    """Change what is given; the names of the fields whose values are others now.

    Raises: RequestRefused, Forbidden, AlertRule.DoesNotExist where there is no such condition.
    """
    allow(actor, RULE_CHANGE)
    rule = _rule(name)
    old = rule_values(rule)
    form = RuleForm(old | dict(data), condition=rule.condition)
    if not form.is_valid():
        raise RequestRefused(form.messages())
    if "threshold" in data and rule.threshold is None:
        raise RequestRefused({"threshold": [_("This condition has no threshold. Leave it out.")]})
    with transaction.atomic():
        _keep(rule.condition, form.cleaned_data)
        details = _differences(old, rule_values(_rule(name)))
        if details:
            audit_append(actor=actor.name, source=actor.source, action="alert_rule_change", target=name, details=details)
    return list(details)


def _keep(condition: Condition, values: Mapping[str, Any]) -> None:
    """A rule that is as it comes again has no row, so that it does not say that somebody has changed it."""
    as_it_comes = {"enabled": True, "severity": condition.severity, "hold_seconds": condition.hold_seconds}
    if {"threshold": None, **values} == {**as_it_comes, "threshold": condition.threshold}:
        AlertRule.objects.filter(condition=condition.name).delete()
    else:
        AlertRule.objects.update_or_create(condition=condition.name, defaults=dict(values))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {field: [old[field], new[field]] for field in new if new[field] != old[field]}


def rule_reset(*, actor: Actor, name: str) -> None:
    """As it comes. Raises: Forbidden, AlertRule.DoesNotExist where there is no such condition."""
    allow(actor, RULE_CHANGE)
    old = rule_values(_rule(name))
    with transaction.atomic():
        if AlertRule.objects.filter(condition=name).delete()[0]:
            details = _differences(old, rule_values(_rule(name)))
            audit_append(actor=actor.name, source=actor.source, action="alert_rule_reset", target=name, details=details)


def _rule(name: str) -> Rule:
    if name not in CONDITIONS:
        raise AlertRule.DoesNotExist(name)
    return rules_read()[name]
