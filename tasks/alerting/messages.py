"""What a notification says, in its channel's language. Plain text; what comes from servers was cleaned when it was stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from django.conf import settings
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tasks.alerting.conditions import CONDITIONS
from tasks.models import Alert, Notification, Severity
from tasks.retold import retold

#: A message lists so many; of the rest it says the number.
LISTED: Final = 20
Event = Notification.Event
_ORDER: Final = (Event.BEGIN, Event.REMINDER, Event.END, Event.TEST)


class Message(NamedTuple):
    """`told`: what is said of each, the gravest first. `rest`: what is said where only so many of them are told, by their number."""

    title: str
    told: list[str]
    rest: list[str]


def message_of(rows: Sequence[Notification], language: str) -> Message:
    """One message that tells of all of them. How many it names is for the service to say: some take 160 characters."""
    with translation.override(language):
        ordered = sorted(rows, key=_rank)
        told = [_harmless(_told(row)) for row in ordered[:LISTED]]
        title = _title(ordered[0]) if len(ordered) == 1 else _title_of_all(ordered)
        return Message(title, told, [_rest(len(ordered) - count) for count in range(len(told) + 1)])


def _rest(number: int) -> str:
    return ngettext("And %(number)d more.", "And %(number)d more.", number) % {"number": number} if number else ""


def _harmless(text: str) -> str:
    """What a server says calls nobody: chats ring everybody at such words."""
    return re.sub(r"(?<=[@!])(?=(?:everyone|here|channel|all|subteam)\b)", "\u200b", text)


def _rank(row: Notification) -> tuple[int, int, int]:
    grave = row.alert is not None and row.alert.severity == Severity.CRITICAL
    return _ORDER.index(Event(row.event)), not grave, row.pk


def _title(row: Notification) -> str:
    alert = row.alert
    if alert is None:
        return _("Test from pgreplica-admin")
    words = {
        "severity": Severity(alert.severity).label,
        "what": CONDITIONS[alert.condition].label if alert.condition in CONDITIONS else alert.condition,
        "where": where(alert),
    }
    if row.event == Event.END:
        return _("[over] %(where)s: %(what)s") % words
    if row.event == Event.REMINDER:
        return _("[%(severity)s, still] %(where)s: %(what)s") % words
    return _("[%(severity)s] %(where)s: %(what)s") % words


def where(alert: Alert) -> str:
    return "/".join(part for part in (alert.cluster_name, alert.instance_name) if part) or _("the panel")


def _title_of_all(rows: Sequence[Notification]) -> str:
    counted = [(event, sum(row.event == event for row in rows)) for event in _ORDER]
    words = {
        Event.BEGIN: ngettext("%(number)d alert", "%(number)d alerts", counted[0][1]),
        Event.REMINDER: ngettext("%(number)d still so", "%(number)d still so", counted[1][1]),
        Event.END: ngettext("%(number)d over", "%(number)d over", counted[2][1]),
        Event.TEST: ngettext("%(number)d test", "%(number)d tests", counted[3][1]),
    }
    return ", ".join(words[event] % {"number": number} for event, number in counted if number)


def _told(row: Notification) -> str:
    alert = row.alert
    if alert is None:
        return _("This channel works. %(who)s has asked for this test.") % {"who": row.requested_by or "-"}
    lines = [_title(row), retold(alert.sentence)]
    if row.event == Event.END:
        assert alert.ended_at is not None
        lines.append(_("It lasted from %(begin)s to %(end)s.") % {"begin": _moment(alert.began_at), "end": _moment(alert.ended_at)})
    else:
        lines += [retold(alert.cure), *_values(alert), _("Since %(moment)s.") % {"moment": _moment(alert.began_at)}]
    return "\n".join(line for line in [*lines, _link(alert)] if line)


def _values(alert: Alert) -> list[str]:
    if not alert.value:
        return []
    words = {"value": alert.value, "threshold": alert.threshold}
    return [_("Value: %(value)s, limit: %(threshold)s.") % words if alert.threshold else _("Value: %(value)s.") % words]


def _moment(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"


def _link(alert: Alert) -> str:
    if not settings.PUBLIC_URL:
        return ""
    return f"{settings.PUBLIC_URL}/clusters/{alert.cluster_name}/" if alert.cluster_name else f"{settings.PUBLIC_URL}/alerts/"
