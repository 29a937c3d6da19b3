from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from clusters.models.cluster import Cluster, ReplicationPair


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
        indexes = [
            models.Index(fields=("pair", "-created_at"), name="verification_latest"),
            models.Index(fields=("created_at",), name="verification_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.pair}: {self.get_verdict_display()}"


class VerificationRun(models.Model):
    """One verification of a cluster, by one job: what it found beside its pairs, and how deep it looked."""

    class Depth(models.TextChoices):
        STANDING = "standing", _("standing")  # every few minutes: every instance, a marker row, every pair
        DEEP = "deep", _("deep")  # also drift, role-swap readiness, checksums, collations
        CONTENT = "content", _("content")  # also compares rows, and runs pg_amcheck on a standby

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="verification_runs", verbose_name=_("cluster"))
    depth = models.CharField(_("depth"), max_length=10, choices=Depth, default=Depth.STANDING)
    verdict = models.CharField(_("verdict"), max_length=10, choices=Verification.Verdict)
    # As in Verification, those of pairs left out. Each has "instance": the name of the one it is about, or "" for the cluster; "depth": of
    # the look that finds such things; "act": "promotion" where it is in the way of one, else "".
    findings = models.JSONField(_("findings"), default=list)
    job_id = models.BigIntegerField(_("job"), null=True, help_text=_("Number of the job that looked."))
    created_at = models.DateTimeField(_("looked at"), auto_now_add=True)

    class Meta:
        verbose_name = _("verification run")
        verbose_name_plural = _("verification runs")
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=("cluster", "-created_at"), name="verification_run_latest"),
            models.Index(fields=("cluster", "depth", "-created_at"), name="verification_run_by_depth"),
            models.Index(fields=("depth", "created_at"), name="verification_run_oldest"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster}: {self.get_verdict_display()}"
