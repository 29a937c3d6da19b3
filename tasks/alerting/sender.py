"""Sends what waits in the outbox: one message for each channel at a time, each in a process of its own, the channels beside one another.

At least once: who is killed between sending and putting that down sends again. No transaction and no lock is held meanwhile, and nobody
waits for a service that hangs but its own channel.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.fields import SecretUnreadable
from clusters.secrets import Secret
from tasks.alerting.delivery_services import Answer, deliver
from tasks.alerting.messages import message_of
from tasks.models import AlertChannel, Notification
from tasks.threads import started

logger = logging.getLogger(__name__)

#: So long nobody else sends anything through a channel that one is sending through: more than a delivery lasts.
CLAIM: Final = timedelta(seconds=60)
#: Deliveries at the same time.
AT_ONCE: Final = 4
#: A channel gets so many messages in so long a time; the rest is put together into the next one.
MESSAGES_MOST: Final = 10
MESSAGES_WITHIN: Final = timedelta(minutes=10)
#: After so many failures in a row, the next attempt comes so much later.
PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 60, 120, 300, 600, 1800))
GIVEN_UP_AFTER: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=30)
ROWS_MOST: Final = 500
FAILURE_LENGTH: Final = 500


@dataclass(frozen=True)
class _Parcel:
    """`address` is a sentence where it cannot be read: a key that is missing concerns this channel alone."""

    channel: AlertChannel
    address: Secret | str
    rows: Sequence[Notification]


class Sender:
    """Call `step` again and again."""

    def __init__(self) -> None:
        self._under_way: dict[Future[Answer], _Parcel] = {}

    def step(self) -> int:
        """Put down what has ended, and begin what is due; it waits for no delivery. How many messages went out."""
        sent = sum(self._ended(delivery) for delivery in [one for one in self._under_way if one.done()])
        if (free := AT_ONCE - len(self._under_way)) > 0:
            busy = [parcel.channel.pk for parcel in self._under_way.values()]
            for channel in _channels(timezone.now(), besides=busy)[:free]:
                if parcel := _claim(channel, timezone.now()):
                    self._under_way[started(_deliver, parcel)] = parcel
        return sent

    def finish(self, seconds: float) -> int:
        """Put down what ends within `seconds`. How many messages went out; of the rest the claim will run out, and it is sent again."""
        return sum(self._ended(delivery) for delivery in wait(self._under_way, seconds).done)

    def _ended(self, delivery: Future[Answer]) -> bool:
        """Kept until it is put down: where the panel's database is gone, the next step tries again."""
        answer = delivery.result()
        _put_down(self._under_way[delivery], answer, timezone.now())
        del self._under_way[delivery]
        return not answer.failure


def notifications_prune(now: datetime | None = None) -> int:
    """Delete what was sent, or given up, long ago; what belongs to an open alert stays. How many went."""
    moment = (now or timezone.now()) - KEPT
    old = Notification.objects.filter(Q(sent_at__lt=moment) | Q(given_up_at__lt=moment), Q(alert=None) | Q(alert__ended_at__isnull=False))
    return Notification.objects.filter(pk__in=list(old.order_by("pk").values_list("pk", flat=True)[:5000])).delete()[0]


def _claimed(now: datetime) -> Q:
    """What reaches further is of a clock that was set back."""
    return Q(claimed_until__range=(now, now + CLAIM))


def _due(now: datetime) -> Q:
    free = Q(claimed_until=None) | ~_claimed(now)
    return free & Q(sent_at=None, given_up_at=None, next_at__lte=now)


def _channels(now: datetime, besides: Collection[int]) -> list[AlertChannel]:
    """Those that something waits for, that nobody sends through now, and that have not had their fill; longest not tried first.

    A test goes through one that is switched off, too.
    """
    open_ = Q(channel__enabled=True) | Q(event=Notification.Event.TEST)
    waiting = Notification.objects.filter(_due(now) & open_).order_by().values_list("channel_id", flat=True).distinct()
    claimed = Notification.objects.filter(channel=OuterRef("pk"), sent_at=None, given_up_at=None)
    claimed = claimed.filter(_claimed(now))
    lately = Q(notifications__sent_at__range=(now - MESSAGES_WITHIN, now))
    rows = (
        AlertChannel.objects.filter(~Exists(claimed), pk__in=waiting)
        .exclude(pk__in=besides)
        .annotate(
            messages=Count("notifications__sent_at", filter=lately, distinct=True),  # what went in one message was sent at one moment
        )
    )
    return list(rows.filter(messages__lt=MESSAGES_MOST).defer("address").order_by(F("tried_at").asc(nulls_first=True), "pk"))


def _claim(channel: AlertChannel, now: datetime) -> _Parcel | None:
    """What is due for it, which nobody else sends now."""
    with transaction.atomic():
        rows = Notification.objects.select_for_update(skip_locked=True, of=("self",)).filter(_due(now), channel=channel)
        if not channel.enabled:
            rows = rows.filter(event=Notification.Event.TEST)
        # What waited too long, while the channel was switched off or could not be reached, is news no more.
        rows.filter(made_at__lt=now - GIVEN_UP_AFTER, attempts=0).update(given_up_at=now)
        taken = list(rows.select_related("alert").order_by("pk")[:ROWS_MOST])
        _rows(taken).update(claimed_until=now + CLAIM, attempts=F("attempts") + 1)
    return _Parcel(channel, _address(channel), taken) if taken else None


def _address(channel: AlertChannel) -> Secret | str:
    try:
        return channel.address
    except SecretUnreadable as error:
        return str(error)


def _deliver(parcel: _Parcel) -> Answer:
    """In a thread, so without the database."""
    if isinstance(parcel.address, str):
        return Answer("", parcel.address)
    try:
        return deliver(parcel.address, message_of(parcel.rows, parcel.channel.language))
    except Exception:  # a fault of ours: the other channels' messages are out, and must be put down as sent
        logger.exception("The message to channel %s could not be made or handed over", parcel.channel.name)
        return Answer("", _("The panel could not make or hand over this message. Its log says why."))


def _put_down(parcel: _Parcel, answer: Answer, now: datetime) -> None:
    failure = answer.failure[:FAILURE_LENGTH]
    channel = AlertChannel.objects.filter(pk=parcel.channel.pk)
    if not failure:
        _rows(parcel.rows).update(sent_at=now, claimed_until=None, failure="")
        channel.update(tried_at=now, delivered_at=now, failure="")
        return
    attempts = max(row.attempts for row in parcel.rows)
    _rows(parcel.rows).update(claimed_until=None, failure=failure, next_at=now + PAUSES[min(attempts, len(PAUSES) - 1)])
    old = Q(made_at__lt=now - GIVEN_UP_AFTER) | Q(event=Notification.Event.TEST)  # who asked for a test looks at how it went
    _rows(parcel.rows).filter(old).update(given_up_at=now)
    channel.update(tried_at=now, failure=failure)


def _rows(rows: Sequence[Notification]) -> QuerySet[Notification]:
    return Notification.objects.filter(pk__in=[row.pk for row in rows])
