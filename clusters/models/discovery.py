from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Discovery(models.Model):
    """One look at some servers for PostgreSQL that the panel has not made: facts only, graded whenever they are shown."""

    job_id = models.BigIntegerField(_("job"), unique=True)
    # {server: [sentences about what could not be looked at]}, in the order in which they were asked for.
    servers = models.JSONField(_("servers"), default=dict)
    found = models.JSONField(_("found"), default=list)  # `clusters.postgres.found.Found.as_row`
    created_at = models.DateTimeField(_("looked at"), auto_now_add=True)

    class Meta:
        verbose_name = _("discovery")
        verbose_name_plural = _("discoveries")
        ordering = ("-job_id",)

    def __str__(self) -> str:
        return f"{self.job_id}: {', '.join(self.servers)}"
