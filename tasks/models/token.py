from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class ApiToken(models.Model):
    """A bearer token of the API. Only its SHA-256 is stored; the token itself is shown once, when it is made."""

    class Scope(models.TextChoices):
        READ = "read", _("read")
        OPERATE = "operate", _("read and request jobs")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=60, help_text=_("What uses it, so that you know which one to revoke."))
    prefix = models.CharField(_("begins with"), max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.CharField(_("scope"), max_length=10, choices=Scope, default=Scope.READ)
    expires_at = models.DateTimeField(_("expires"))
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    created_at = models.DateTimeField(_("made"), auto_now_add=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ("user", "name")
        constraints = [models.UniqueConstraint(fields=("user", "name"), name="token_name_unique_of_user")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
