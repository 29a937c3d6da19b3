from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from clusters.models.cluster import Instance


class InstanceState(models.Model):
    """What the monitor saw of an instance last: one row each, written every few seconds."""

    instance = models.OneToOneField(Instance, models.CASCADE, primary_key=True, related_name="state", verbose_name=_("instance"))
    tried_at = models.DateTimeField(_("last asked"))
    answered_at = models.DateTimeField(_("last answered"), null=True)
    # Since when it answers as it does now (as primary, as standby), or does not.
    since = models.DateTimeField(_("since"))
    role = models.CharField(_("role"), max_length=12, choices=Instance.Observed)
    error = models.CharField(_("why it did not answer"), max_length=300, blank=True)
    missed = models.PositiveIntegerField(_("times asked in vain"), default=0)
    # `clusters.postgres.sampling.Sampled.as_text` of the last answer.
    sampled = models.JSONField(_("last sample"), default=dict)
    lag_bytes = models.BigIntegerField(_("lag in bytes"), null=True)
    lag_seconds = models.FloatField(_("lag in seconds"), null=True)
    wal_rate = models.FloatField(_("WAL in bytes per second"), null=True)
    # Mean of the last quarter of an hour: what a forecast rests on.
    wal_rate_mean = models.FloatField(_("mean WAL in bytes per second"), null=True)
    # The file system of its data directory, asked less often. `disk_rate`: bytes per second that get used, over the last hour.
    disk_free_bytes = models.BigIntegerField(_("free disk space in bytes"), null=True)
    disk_total_bytes = models.BigIntegerField(_("disk size in bytes"), null=True)
    disk_rate = models.FloatField(_("disk space used up in bytes per second"), null=True)
    disk_at = models.DateTimeField(_("disk last asked"), null=True)

    class Meta:
        verbose_name = _("state of an instance")
        verbose_name_plural = _("states of instances")

    def __str__(self) -> str:
        return f"{self.instance}: {self.get_role_display()}"


class FineSample(models.Model):
    """One minute of an instance, sample by sample; kept for a day. The lists run side by side; NULL in them: not known."""

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="+", verbose_name=_("instance"))
    at = models.DateTimeField(_("minute"))
    offsets = ArrayField(models.FloatField(), verbose_name=_("seconds after it began"))
    lag_bytes = ArrayField(models.BigIntegerField(null=True), verbose_name=_("lag in bytes"))
    lag_seconds = ArrayField(models.FloatField(null=True), verbose_name=_("lag in seconds"))
    wal_rate = ArrayField(models.FloatField(null=True), verbose_name=_("WAL in bytes per second"))
    retained_bytes = ArrayField(models.BigIntegerField(null=True), verbose_name=_("WAL kept for slots"))

    class Meta:
        verbose_name = _("fine sample")
        verbose_name_plural = _("fine samples")
        constraints = [models.UniqueConstraint(fields=("instance", "at"), name="fine_sample_once")]
        indexes = [models.Index(fields=("at",), name="fine_sample_age")]

    def __str__(self) -> str:
        return f"{self.instance} {self.at:%Y-%m-%d %H:%M}"


class Sample(models.Model):
    """A minute (kept for a month) or an hour (for two years) of an instance, with the worst of each."""

    class Period(models.IntegerChoices):
        MINUTE = 60, _("minute")
        HOUR = 3600, _("hour")

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="+", verbose_name=_("instance"))
    seconds = models.PositiveIntegerField(_("period"), choices=Period)
    at = models.DateTimeField(_("begin"))
    looks = models.PositiveIntegerField(_("times asked"))
    answers = models.PositiveIntegerField(_("times answered"))
    lag_bytes = models.BigIntegerField(_("highest lag in bytes"), null=True)
    lag_seconds = models.FloatField(_("highest lag in seconds"), null=True)
    wal_rate = models.FloatField(_("mean WAL in bytes per second"), null=True)
    retained_bytes = models.BigIntegerField(_("most WAL kept for slots"), null=True)
    connections = models.PositiveIntegerField(_("most connections"), null=True)
    disk_free_bytes = models.BigIntegerField(_("least free disk space in bytes"), null=True)

    class Meta:
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        constraints = [models.UniqueConstraint(fields=("instance", "seconds", "at"), name="sample_once")]
        indexes = [models.Index(fields=("seconds", "at"), name="sample_age")]

    def __str__(self) -> str:
        return f"{self.instance} {self.at:%Y-%m-%d %H:%M}"


class Monitor(models.Model):
    """The one row that says which monitor watches, and until when it may. Times are by the database's clock."""

    token = models.BigIntegerField(_("token"), default=0)
    holder = models.CharField(_("process"), max_length=200, blank=True)
    lease_until = models.DateTimeField(_("lease until"), null=True)
    beat_at = models.DateTimeField(_("last round"), null=True)
    instances = models.PositiveIntegerField(_("instances"), default=0)
    interval = models.FloatField(_("interval in seconds"), default=0)

    class Meta:
        verbose_name = _("monitor")
        verbose_name_plural = _("monitors")
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="monitor_one_row")]

    def __str__(self) -> str:
        return self.holder or "-"
