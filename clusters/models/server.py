from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from clusters.postgres.names import BASE_DIRECTORY_BYTES, OBJECT_NAME


class Server(models.Model):
    """A machine that runs PostgreSQL, reached locally (or, in a later release, by SSH)."""

    class Connection(models.TextChoices):
        LOCAL = "local", _("this machine")

    class Runtime(models.TextChoices):
        PROCESS = "process", _("PostgreSQL binaries")

    name = models.CharField(_("name"), max_length=41)
    address = models.CharField(
        _("address"),
        max_length=253,
        help_text=_("IP address or host name at which the other servers and the applications reach this server."),
    )
    connection = models.CharField(_("connection"), max_length=10, choices=Connection, default=Connection.LOCAL)
    runtime = models.CharField(_("runtime"), max_length=10, choices=Runtime, default=Runtime.PROCESS)
    base_directory = models.CharField(
        _("base directory"),
        max_length=BASE_DIRECTORY_BYTES,
        help_text=_("Every file of every cluster on this server lies below this directory."),
    )
    run_as = models.CharField(
        _("system user"),
        max_length=32,
        blank=True,
        help_text=_("The user that owns the data and runs PostgreSQL. Empty: the user the panel connects as."),
    )
    # Observed, never declared: what the last check found.
    # {"system", "machine", "libc", "cpus", "memory_bytes", "postgres": [{"major", "version", "bindir"}], "disks": [...]}
    facts = models.JSONField(_("facts"), default=dict, blank=True, editable=False)
    observed_at = models.DateTimeField(_("last observed"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("server")
        verbose_name_plural = _("servers")
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="server_name_unique",
                violation_error_message=_("A server of this name exists already. Choose another name."),
            ),
            models.CheckConstraint(condition=models.Q(name__regex=OBJECT_NAME), name="server_name_valid"),
            models.CheckConstraint(condition=models.Q(base_directory__startswith="/"), name="server_base_directory_absolute"),
        ]

    def __str__(self) -> str:
        return self.name
