"""Where notifications go: the channels, each with how its last delivery went, and what is waiting."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from tasks.alerting.channel_forms import ChannelForm, channel_values
from tasks.alerting.channels import (
    ADD,
    CHANGE,
    DELETE,
    VIEW,
    channel_add,
    channel_change,
    channel_get,
    channel_remove,
    channel_test,
    channels_shown,
)
from tasks.alerting.conditions import CONDITIONS
from tasks.models import AlertChannel, Notification
from tasks.refusals import GENERAL, RequestRefused
from tasks.views.alerts import acting, crumbs, fields_of, given_of
from tasks.views.frame import page, render
from tasks.views.requests import METHODS

NOTIFICATIONS_SHOWN = 15


@page(VIEW)
def channels_page(request: HttpRequest) -> HttpResponseBase:
    return render(
        request,
        "alerts/channels.html",
        title=_("Alert channels"),
        crumbs=crumbs(),
        channels=channels_shown(),
        may_add=request.user.has_perm(ADD),
        may_change=request.user.has_perm(CHANGE),
        here="channels",
    )


@page(ADD, METHODS)
def channel_add_page(request: HttpRequest) -> HttpResponseBase:
    given, errors = given_of(request, ChannelForm), {}
    if request.method == "POST":
        try:
            row = channel_add(actor=acting(request), data=given)
        except RequestRefused as refused:
            errors = dict(refused.errors)
        else:
            messages.success(request, _("The channel is made. Send a test, so that you know that it works."))
            return redirect("alert-channel", row.name)
    given.pop("address", None)  # never back to a page
    form = ChannelForm(initial=channel_values(None) | given)
    return render(
        request,
        "alerts/form.html",
        title=_("New alert channel"),
        crumbs=[*crumbs(), (_("Channels"), reverse("alert-channels"))],
        fields=fields_of(form, errors, long="address"),
        errors=errors,
        general=errors.get(GENERAL, []),
        button=_("Make the channel"),
        back_url=reverse("alert-channels"),
    )


@page(CHANGE, METHODS)
def channel_page(request: HttpRequest, name: str) -> HttpResponseBase:
    channel = _channel(name)
    given, errors = given_of(request, ChannelForm), {}
    if request.method == "POST":
        try:
            changed = channel_change(actor=acting(request), channel=channel, data=given)
        except RequestRefused as refused:
            errors, channel = dict(refused.errors), _channel(name)
        else:
            messages.success(request, _("The channel was changed.") if changed else _("The channel is as it was."))
            return redirect("alert-channels")
    given.pop("address", None)
    form = ChannelForm(initial=channel_values(channel) | given, known=channel)
    sent = Notification.objects.filter(channel=channel).select_related("alert").order_by("-pk")
    return render(
        request,
        "alerts/channel.html",
        title=_("Alert channel %(name)s") % {"name": channel.name},
        crumbs=[*crumbs(), (_("Channels"), reverse("alert-channels"))],
        channel=channel,
        fields=fields_of(form, errors, long="address"),
        errors=errors,
        general=errors.get(GENERAL, []),
        sent=[(row, _label(row)) for row in sent[:NOTIFICATIONS_SHOWN]],
        may_remove=request.user.has_perm(DELETE),
        back_url=reverse("alert-channels"),
    )


@page(CHANGE, ("POST",))
def channel_test_view(request: HttpRequest, name: str) -> HttpResponseBase:
    try:
        channel_test(actor=acting(request), channel=_channel(name))
    except RequestRefused as refused:
        messages.error(request, refused.sentence)
    else:
        messages.success(request, _("A test is on its way. Below is said how it went, within seconds."))
    return redirect("alert-channel", name)


@page(DELETE, ("POST",))
def channel_remove_view(request: HttpRequest, name: str) -> HttpResponseBase:
    channel_remove(actor=acting(request), channel=_channel(name))
    messages.success(request, _("The channel %(name)s is removed.") % {"name": name})
    return redirect("alert-channels")


def _label(row: Notification) -> Any:
    condition = CONDITIONS.get(row.alert.condition) if row.alert else None
    return condition.label if condition else ""


def _channel(name: str) -> Any:
    try:
        return channel_get(name)
    except AlertChannel.DoesNotExist as error:
        raise Http404(_("There is no channel of this name.")) from error
