"""Alerts, silences, rules and channels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Status

from tasks.alerting import changes, channels
from tasks.alerting.changes import RuleForm, SilenceForm
from tasks.alerting.channel_forms import ChannelForm
from tasks.alerting.channels import ChannelShow
from tasks.alerting.selectors import (
    PAGE,
    AlertShow,
    RuleShow,
    SilenceShow,
    alert_show,
    alerts_past,
    alerts_shown,
    rules_shown,
    silence_shown,
    silences_shown,
)
from tasks.api.auth import actor, needs
from tasks.api.bodies import body_of, given
from tasks.models import Silence
from tasks.shown import PAGE_MAX

router = Router(tags=["alerts"])

NewSilence = body_of("NewSilence", SilenceForm)
RuleChanges = body_of("RuleChanges", RuleForm)
NewChannel = body_of("NewChannel", ChannelForm)
ChannelChanges = body_of("ChannelChanges", ChannelForm)
RuleChanges.needed = ChannelChanges.needed = ()
NewSilence.needed, NewChannel.needed = ("reason",), ("name", "address")


@router.get("/alerts", auth=needs("tasks.view_alert"), response=list[AlertShow])
def alerts(
    request: HttpRequest,
    state: Literal["open", "all"] = "open",
    cluster: Annotated[str, Query(max_length=41)] = "",
    severity: Literal["", "warning", "critical"] = "",
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
) -> Any:
    """The newest first; `before` is the id of the last one of the page before."""
    rows = alerts_past(cluster=cluster, severity=severity)
    rows = rows.filter(ended_at=None) if state == "open" else rows
    return alerts_shown(list((rows.filter(pk__lt=before) if before else rows)[:limit]))


@router.get("/alerts/{number}", auth=needs("tasks.view_alert"), response=AlertShow)
def alert(request: HttpRequest, number: int) -> Any:
    """One alert, open or over."""
    return alert_show(number)


@router.get("/silences", auth=needs("tasks.view_silence"), response=list[SilenceShow])
def silences(request: HttpRequest) -> Any:
    """Those that are or will be in force."""
    return silences_shown()


@router.post("/silences", auth=needs(changes.SILENCE_ADD), response={201: SilenceShow})
def make_silence(request: HttpRequest, body: NewSilence) -> Any:  # type: ignore[valid-type]
    """Keep alerts quiet: from now on or later, once or every week."""
    return Status(201, silence_shown(changes.silence_make(actor=actor(request), data=given(body))))


@router.post("/silences/{number}/end", auth=needs(changes.SILENCE_CHANGE), response=list[SilenceShow])
def end_silence(request: HttpRequest, number: int) -> Any:
    """From now on it covers nothing; those that are left."""
    changes.silence_end(actor=actor(request), silence=Silence.objects.select_related("cluster").get(pk=number))
    return silences_shown()


@router.get("/alert-rules", auth=needs("tasks.view_alertrule"), response=list[RuleShow])
def rules(request: HttpRequest) -> Any:
    """Every condition with its severity, hold time and threshold."""
    return rules_shown()


@router.patch("/alert-rules/{condition}", auth=needs(changes.RULE_CHANGE), response=list[RuleShow])
def change_rule(request: HttpRequest, condition: str, body: RuleChanges) -> Any:  # type: ignore[valid-type]
    """Change what is given."""
    changes.rule_change(actor=actor(request), name=condition, data=given(body))
    return rules_shown()


@router.post("/alert-rules/{condition}/reset", auth=needs(changes.RULE_CHANGE), response=list[RuleShow])
def reset_rule(request: HttpRequest, condition: str) -> Any:
    """As it comes."""
    changes.rule_reset(actor=actor(request), name=condition)
    return rules_shown()


@router.get("/alert-channels", auth=needs(channels.VIEW), response=list[ChannelShow])
def channel_list(request: HttpRequest) -> Any:
    """Where notifications go. Addresses are never given back."""
    return channels.channels_shown()


@router.post("/alert-channels", auth=needs(channels.ADD), response={201: ChannelShow})
def add_channel(request: HttpRequest, body: NewChannel) -> Any:  # type: ignore[valid-type]
    """Make a channel of an Apprise address."""
    return Status(201, channels.channel_shown(channels.channel_add(actor=actor(request), data=given(body)).name))


@router.patch("/alert-channels/{name}", auth=needs(channels.CHANGE), response=ChannelShow)
def change_channel(request: HttpRequest, name: str, body: ChannelChanges) -> Any:  # type: ignore[valid-type]
    """Change what is given; without an address it stays as it is."""
    channel = channels.channel_get(name)
    channels.channel_change(actor=actor(request), channel=channel, data=given(body))
    return channels.channel_shown(channel.name)


@router.delete("/alert-channels/{name}", auth=needs(channels.DELETE), response={204: None})
def remove_channel(request: HttpRequest, name: str) -> Any:
    """What waits to be sent through it is gone with it."""
    channels.channel_remove(actor=actor(request), channel=channels.channel_get(name))
    return Status(204, None)


@router.post("/alert-channels/{name}/test", auth=needs(channels.CHANGE), response={202: ChannelShow})
def test_channel(request: HttpRequest, name: str) -> Any:
    """Ask for a test message; `delivered_at` and `failure` tell within seconds how it went."""
    channels.channel_test(actor=actor(request), channel=channels.channel_get(name))
    return Status(202, channels.channel_shown(name))
