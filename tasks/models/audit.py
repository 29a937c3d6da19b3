from __future__ import annotations

import pgtrigger
from django.db import models
from django.utils.translation import gettext_lazy as _


class AuditEntry(models.Model):
    """One decision, for good. Only `tasks.audit` writes it, the database refuses changes; each entry carries the hash of the one before."""

    number = models.BigIntegerField(_("number"), unique=True)
    at = models.DateTimeField(_("at"))
    actor = models.CharField(_("who"), max_length=150)
    source = models.CharField(_("from where"), max_length=100)
    action = models.CharField(_("action"), max_length=40)
    phase = models.CharField(_("phase"), max_length=10)  # opened, closed, or single
    cluster_name = models.CharField(_("cluster"), max_length=41, blank=True)
    target = models.CharField(_("target"), max_length=100, blank=True)
    reason = models.CharField(_("reason"), max_length=2000, blank=True)
    job_id = models.BigIntegerField(_("job"), null=True)
    plan_hash = models.CharField(_("plan hash"), max_length=64, blank=True)
    details = models.JSONField(_("details"), default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ("-number",)
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            pgtrigger.Trigger(
                name="no_truncate",
                level=pgtrigger.Statement,
                when=pgtrigger.Before,
                operation=pgtrigger.Truncate,
                func="RAISE EXCEPTION 'pgreplica: the audit trail is append-only, TRUNCATE is refused';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.action} {self.cluster_name}".rstrip()
