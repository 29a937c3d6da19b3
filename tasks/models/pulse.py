"""That the parts of the panel live. Only `tasks.pulses` writes these rows."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Pulse(models.Model):
    """When a part of the panel did its round last, by the database's clock. A part that never ran has no row."""

    class Part(models.TextChoices):
        ALERTER = "alerter", _("alerter")  # it has judged what is wrong
        WORKERS = "workers", _("workers")  # one of them had room for what beat rings every five seconds

    part = models.CharField(_("part"), max_length=20, primary_key=True, choices=Part)
    at = models.DateTimeField(_("last round"))

    class Meta:
        verbose_name = _("pulse")
        verbose_name_plural = _("pulses")

    def __str__(self) -> str:
        return self.part
