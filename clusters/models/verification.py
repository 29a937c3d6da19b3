from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from clusters.models.cluster import ReplicationPair


class Verification(models.Model):
    """One look at a replication pair: its findings and the verdict that sums them up."""

    class Verdict(models.TextChoices):
        OK = "ok", _("replicating")
        WARNING = "warning", _("replicating, with warnings")
        FAILED = "failed", _("not replicating")
        UNKNOWN = "unknown", _("could not be observed")

    pair = models.ForeignKey(ReplicationPair, models.CASCADE, related_name="verifications", verbose_name=_("replication pair"))
    verdict = models.CharField(_("verdict"), max_length=10, choices=Verdict)
    # [{"name", "severity", "sentence", "value", "threshold", "cure"}], as `clusters.postgres.rules.Obstacle` gives them.
    findings = models.JSONField(_("findings"), default=list)
    lag_bytes = models.BigIntegerField(_("lag in bytes"), null=True)
    lag_seconds = models.FloatField(_("lag in seconds"), null=True)
    job_id = models.BigIntegerField(_("job"), null=True, help_text=_("Number of the job that looked."))
    created_at = models.DateTimeField(_("looked at"), auto_now_add=True)

    class Meta:
        verbose_name = _("verification")
        verbose_name_plural = _("verifications")
        ordering = ("-created_at",)
        indexes = [models.Index(fields=("pair", "-created_at"), name="verification_latest")]

    def __str__(self) -> str:
        return f"{self.pair}: {self.get_verdict_display()}"
