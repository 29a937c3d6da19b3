"""What people are told of: alerts, the channels they go through, and what keeps them quiet. Only `tasks.alerting` writes these rows."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from clusters.fields import EncryptedField
from clusters.models import Cluster


class Severity(models.TextChoices):
    WARNING = "warning", _("warning")  # somebody should look in working hours
    CRITICAL = "critical", _("critical")  # somebody must look now


class AlertRule(models.Model):
    """How a person has changed one condition of `tasks.alerting.conditions`; a condition without a row is as it comes."""

    condition = models.CharField(_("condition"), max_length=40, unique=True)
    enabled = models.BooleanField(_("switched on"), default=True)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity)
    hold_seconds = models.PositiveIntegerField(_("hold time in seconds"))
    threshold = models.FloatField(_("threshold"), null=True)

    class Meta:
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")
        ordering = ("condition",)

    def __str__(self) -> str:
        return self.condition


class Alert(models.Model):
    """One thing that is wrong, from when it was seen until it was not any more.

    It is held back until `raised_at`; a thing that goes away before leaves no row. `subject` tells apart what one condition says of
    several things of a cluster: an instance, an instance and a slot, a finding. Sentences are kept as `clusters.postgres.text` writes
    them, so that each reader gets them in their own language.
    """

    condition = models.CharField(_("condition"), max_length=40)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity)
    cluster = models.ForeignKey(Cluster, models.SET_NULL, null=True, related_name="alerts", verbose_name=_("cluster"))
    cluster_name = models.CharField(_("cluster"), max_length=41, blank=True)  # "" for what is wrong with the panel itself
    instance_name = models.CharField(_("instance"), max_length=41, blank=True)
    subject = models.CharField(max_length=200, blank=True)
    sentence = models.TextField(_("what is wrong"))
    cure = models.TextField(_("what to do"), blank=True)
    value = models.CharField(_("value"), max_length=200, blank=True)
    threshold = models.CharField(_("threshold"), max_length=200, blank=True)
    began_at = models.DateTimeField(_("began"))  # first seen
    raised_at = models.DateTimeField(_("raised"), null=True)  # when it had held long enough
    seen_at = models.DateTimeField(_("last seen"))
    cleared_at = models.DateTimeField(_("not seen any more since"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=("condition", "cluster_name", "subject"), condition=Q(ended_at=None), name="alert_one_open_of_a_thing"
            ),
        ]
        indexes = [
            models.Index(fields=("ended_at",), name="alert_ended"),
            models.Index(fields=("cluster", "-id"), name="alert_of_cluster"),
        ]

    def __str__(self) -> str:
        return f"{self.condition} {self.cluster_name} {self.subject}".rstrip()


class Silence(models.Model):
    """Nothing is sent of what it covers while it lasts: from now on (a silence) or planned ahead (a maintenance window).

    Alerts are raised and shown all the same. One that is still there when the silence is over is told of then.
    """

    cluster = models.ForeignKey(Cluster, models.CASCADE, null=True, blank=True, related_name="silences", verbose_name=_("cluster"))
    condition = models.CharField(_("condition"), max_length=40, blank=True)  # "": every one
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    weekly = models.BooleanField(_("every week"), default=False)  # again seven days later, and so on
    reason = models.CharField(_("reason"), max_length=500)
    made_by = models.CharField(_("made by"), max_length=150)
    made_at = models.DateTimeField(_("made"), auto_now_add=True)

    class Meta:
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        ordering = ("-starts_at",)
        constraints = [models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="silence_ends_after_it_starts")]

    def __str__(self) -> str:
        return self.reason


class AlertChannel(models.Model):
    """Where notifications go: an Apprise address, which holds secrets and is never shown again."""

    name = models.CharField(
        _("name"), max_length=41, unique=True, error_messages={"unique": _("There is a channel of this name already. Choose another name.")}
    )
    service = models.CharField(_("service"), max_length=40)  # of the address, for people: mailtos, slack, jsons ...
    address = EncryptedField(_("address"))
    enabled = models.BooleanField(_("switched on"), default=True)
    least = models.CharField(_("from which severity on"), max_length=8, choices=Severity, default=Severity.WARNING)
    # Names, and no keys: where the only one is removed, the channel is not for all of them. Empty: all.
    clusters = models.JSONField(_("only these clusters"), default=list, blank=True)
    language = models.CharField(_("language"), max_length=10, default="en")
    remind_minutes = models.PositiveIntegerField(_("remind every so many minutes"), default=240)  # 0: never
    created_at = models.DateTimeField(_("made"), auto_now_add=True)
    # How the last delivery went.
    tried_at = models.DateTimeField(_("last tried"), null=True, editable=False)
    delivered_at = models.DateTimeField(_("last delivered"), null=True, editable=False)
    failure = models.CharField(_("why the last delivery failed"), max_length=500, blank=True, editable=False)

    class Meta:
        verbose_name = _("alert channel")
        verbose_name_plural = _("alert channels")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """One thing to be told through one channel. The outbox: written with what it tells of, sent by a worker, tried again until given up."""

    class Event(models.TextChoices):
        BEGIN = "begin", _("begins")
        REMINDER = "reminder", _("still so")
        END = "end", _("is over")
        TEST = "test", _("test")

    channel = models.ForeignKey(AlertChannel, models.CASCADE, related_name="notifications", verbose_name=_("channel"))
    alert = models.ForeignKey(Alert, models.CASCADE, null=True, related_name="notifications", verbose_name=_("alert"))  # None: a test
    event = models.CharField(_("what of it"), max_length=8, choices=Event)
    requested_by = models.CharField(_("requested by"), max_length=150, blank=True)  # of a test
    made_at = models.DateTimeField(_("made"), auto_now_add=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_at = models.DateTimeField(_("next attempt"))
    claimed_until = models.DateTimeField(null=True)  # a worker is sending it
    sent_at = models.DateTimeField(_("sent"), null=True)
    given_up_at = models.DateTimeField(_("given up"), null=True)
    failure = models.CharField(_("why it failed"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=("channel", "alert", "event"), condition=Q(event__in=("begin", "end")), name="notification_begins_and_ends_once"
            ),
        ]
        indexes = [
            models.Index(fields=("channel", "next_at"), condition=Q(sent_at=None, given_up_at=None), name="notification_waiting"),
            models.Index(fields=("alert", "channel", "-id"), name="notification_of_alert"),
        ]

    def __str__(self) -> str:
        return f"{self.get_event_display()}: {self.alert or self.channel}"
