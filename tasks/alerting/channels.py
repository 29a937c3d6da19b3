"""Channels made, changed, tested and removed: the same for page, API and command. Each act is an entry of the audit trail.

An address goes in and never comes out: not to a page, not to the trail, not into a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from typing_extensions import TypedDict

from clusters.secrets import Secret
from tasks.actor import Actor
from tasks.alerting.channel_forms import ChannelForm, channel_values
from tasks.alerting.delivery_services import SERVICES, address_check
from tasks.audit import audit_append
from tasks.models import AlertChannel, Notification
from tasks.refusals import RequestRefused, allow

VIEW, ADD, CHANGE, DELETE = (f"tasks.{verb}_alertchannel" for verb in ("view", "add", "change", "delete"))
_FIELDS: Final = ("name", "enabled", "least", "clusters", "language", "remind_minutes")
#: Tests that one channel takes in so long a time: each makes the panel speak to somebody else.
TESTS_MOST: Final = 5
TESTS_WITHIN: Final = timedelta(minutes=1)


class ChannelShow(TypedDict):
    name: str
    service: str
    service_label: str
    enabled: bool
    least: str
    clusters: list[str]  # empty: all
    language: str
    remind_minutes: int
    tried_at: datetime | None
    delivered_at: datetime | None
    failure: str


def channels_shown() -> list[ChannelShow]:
    """By name."""
    return [_shown(row) for row in AlertChannel.objects.defer("address").order_by("name")]


def channel_shown(name: str) -> ChannelShow:
    """Raises: AlertChannel.DoesNotExist."""
    return _shown(channel_get(name))


def channel_get(name: str) -> AlertChannel:
    """Raises: AlertChannel.DoesNotExist."""
    return AlertChannel.objects.defer("address").get(name=name.replace("\0", ""))


def _shown(row: AlertChannel) -> ChannelShow:
    return {
        "name": row.name,
        "service": row.service,
        "service_label": str(SERVICES.get(row.service, row.service)),
        "enabled": row.enabled,
        "least": row.least,
        "clusters": row.clusters,
        "language": row.language,
        "remind_minutes": row.remind_minutes,
        "tried_at": row.tried_at,
        "delivered_at": row.delivered_at,
        "failure": row.failure,
    }


def channel_add(*, actor: Actor, data: Mapping[str, Any]) -> AlertChannel:
    """Raises: RequestRefused, Forbidden."""
    allow(actor, ADD)
    values = _checked(ChannelForm(channel_values(None) | dict(data)))
    row = AlertChannel(service=_service(values["address"]), address=values["address"])
    with transaction.atomic():
        _save(row, values)
        _audit(actor, "alert_channel_add", row, _told(values))
    return row


def channel_change(*, actor: Actor, channel: AlertChannel, data: Mapping[str, Any]) -> list[str]:
    """Change what is given; the names of the fields whose values are others now. Raises: RequestRefused, Forbidden."""
    allow(actor, CHANGE)
    old = channel_values(channel)
    values = _checked(ChannelForm(old | dict(data), known=channel))
    new_address: Secret | None = values["address"] or None
    if new_address:
        channel.service, channel.address = _service(new_address), new_address
    with transaction.atomic():
        _save(channel, values, *(("service", "address") if new_address else ()))
        changed = [field for field, value in channel_values(channel).items() if value != old[field]]
        details = {field: [old[field], channel_values(channel)[field]] for field in changed}
        if changed or new_address:
            _audit(actor, "alert_channel_change", channel, details | ({"address": "changed"} if new_address else {}))
    return [*changed, *(["address"] if new_address else [])]


def channel_remove(*, actor: Actor, channel: AlertChannel) -> None:
    """What waits to be sent through it is gone with it. Raises: Forbidden."""
    allow(actor, DELETE)
    with transaction.atomic():
        _audit(actor, "alert_channel_remove", channel, {})
        channel.delete()


def channel_test(*, actor: Actor, channel: AlertChannel) -> Notification:
    """Ask for a test message; the alerter sends it within seconds. Raises: RequestRefused, Forbidden."""
    allow(actor, CHANGE)
    now = timezone.now()
    tests = channel.notifications.filter(event=Notification.Event.TEST)
    if tests.filter(made_at__gt=now - TESTS_WITHIN).count() >= TESTS_MOST:
        raise RequestRefused(
            {"__all__": [_("This channel was tested %(number)d times in a minute. Wait a little.") % {"number": TESTS_MOST}]}
        )
    with transaction.atomic():
        row = Notification.objects.create(channel=channel, event=Notification.Event.TEST, requested_by=actor.name, next_at=now)
        _audit(actor, "alert_channel_test", channel, {})
    return row


def _checked(form: ChannelForm) -> dict[str, Any]:
    if not form.is_valid():
        raise RequestRefused(form.messages())
    return form.cleaned_data


def _service(address: Secret) -> str:
    answer = address_check(address)
    if answer.failure:
        raise RequestRefused({"address": [answer.failure]})
    return answer.service


def _save(row: AlertChannel, values: Mapping[str, Any], *more: str) -> None:
    for field in _FIELDS:
        setattr(row, field, values[field])
    row.save(update_fields=[*_FIELDS, *more] if row.pk else None)


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {field: values[field] for field in _FIELDS}


def _audit(actor: Actor, action: str, row: AlertChannel, details: Mapping[str, Any]) -> None:
    audit_append(actor=actor.name, source=actor.source, action=action, target=row.name, details={"service": row.service, **details})
