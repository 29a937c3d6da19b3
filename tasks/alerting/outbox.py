"""What is to be sent, put down in the transaction that found it: one that begins, one that is over, and reminders in between.

So nothing is sent of what was never found, and nothing found is lost: whoever sends (`sender`) tries until it is given up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q

from tasks.alerting.silences import silenced_until, silences_read
from tasks.models import Alert, AlertChannel, Notification, Severity

Event = Notification.Event
Key = tuple[int, int]  # channel, alert


@dataclass(frozen=True)
class _Sent:
    """What a channel was told of an alert: when last, whether something still waits to be sent, whether all of it was given up."""

    last: datetime
    waiting: bool
    in_vain: bool


def put_down(ended: Sequence[Alert], now: datetime) -> None:
    """Of all that are open: those that a channel was not told of yet, and those to remind of. Of `ended`: that they are over.

    What a silence covers waits until that is over. An end is told to whom the begin was told, silence or not: they wait for it.
    """
    _ends(ended, now)
    channels = list(AlertChannel.objects.filter(enabled=True).defer("address"))
    open_ = list(Alert.objects.filter(ended_at=None, raised_at__isnull=False)) if channels else []
    if not open_:
        return
    silences, sent = silences_read(now), _sent(open_)
    loud = [alert for alert in open_ if silenced_until(alert, silences, now) is None]
    rows = []
    for channel in channels:
        for alert in loud:
            event = _event(channel, sent.get((channel.pk, alert.pk)), now)
            if event and takes(channel, alert):
                rows.append(Notification(channel=channel, alert=alert, event=event, next_at=now))
    Notification.objects.bulk_create(rows, ignore_conflicts=True)


def takes(channel: AlertChannel, alert: Alert) -> bool:
    """What is wrong with the panel itself concerns everybody."""
    grave = channel.least == Severity.WARNING or alert.severity == Severity.CRITICAL
    return grave and (not channel.clusters or not alert.cluster_name or alert.cluster_name in channel.clusters)


def _event(channel: AlertChannel, sent: _Sent | None, now: datetime) -> str:
    if sent is None:
        return Event.BEGIN
    due = sent.in_vain or (channel.remind_minutes > 0 and now - sent.last >= timedelta(minutes=channel.remind_minutes))
    return Event.REMINDER if due and not sent.waiting else ""


def _sent(alerts: Iterable[Alert]) -> Mapping[Key, _Sent]:
    waiting = Count("pk", filter=Q(sent_at=None, given_up_at=None))
    rows = Notification.objects.filter(alert__in=alerts).order_by().values("channel_id", "alert_id")
    counted = rows.annotate(last=Max("made_at"), waiting=waiting, sent=Count("sent_at"))
    return {
        (row["channel_id"], row["alert_id"]): _Sent(row["last"], row["waiting"] > 0, not row["waiting"] and not row["sent"])
        for row in counted
    }


def _ends(ended: Sequence[Alert], now: datetime) -> None:
    if not ended:
        return
    told = Notification.objects.filter(alert__in=ended, event=Event.BEGIN).values_list("channel_id", "alert_id")
    by_alert: defaultdict[int, list[int]] = defaultdict(list)
    for channel, alert in told:
        by_alert[alert].append(channel)
    rows = [
        Notification(channel_id=channel, alert=alert, event=Event.END, next_at=now) for alert in ended for channel in by_alert[alert.pk]
    ]
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
