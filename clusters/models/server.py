from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from clusters.fields import EncryptedField
from clusters.postgres.names import BASE_DIRECTORY_BYTES, OBJECT_NAME


class Server(models.Model):
    """A machine that runs PostgreSQL, reached locally or by SSH."""

    class Connection(models.TextChoices):
        LOCAL = "local", _("this machine")
        SSH = "ssh", _("SSH")

    class Runtime(models.TextChoices):
        PROCESS = "process", _("PostgreSQL binaries")
        DOCKER = "docker", _("Docker Compose")

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
    # How the panel logs in, with a key pair of this server's own (SshKey); empty where the connection is local.
    ssh_host = models.CharField(
        _("SSH host"), max_length=253, blank=True, help_text=_("Where the panel reaches its SSH server. Empty: the address.")
    )
    ssh_port = models.PositiveIntegerField(_("SSH port"), default=22)
    ssh_user = models.CharField(_("SSH user"), max_length=32, blank=True)
    # What identifies its SSH server: one line "type base64". Pinned by a person; what it last offered; nothing is sent where they differ.
    ssh_host_key = models.TextField(_("pinned host key"), blank=True, editable=False)
    ssh_host_key_offered = models.TextField(_("offered host key"), blank=True, editable=False)
    jump = models.ForeignKey("self", models.PROTECT, related_name="reached_through", null=True, blank=True, verbose_name=_("jump server"))
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
            models.CheckConstraint(condition=models.Q(ssh_port__gte=1, ssh_port__lte=65535), name="server_ssh_port_valid"),
            models.CheckConstraint(condition=models.Q(connection="local") | ~models.Q(ssh_user=""), name="server_ssh_user_given"),
            models.CheckConstraint(condition=~models.Q(jump=models.F("id")), name="server_not_its_own_jump"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def in_containers(self) -> bool:
        """Whether PostgreSQL runs in containers there."""
        return self.runtime == self.Runtime.DOCKER


class SshKey(models.Model):
    """The key pair with which the panel logs in to one server. Apart from the server's row, so that no list decrypts it."""

    server = models.OneToOneField(Server, models.CASCADE, related_name="ssh_key", verbose_name=_("server"))
    private_key = EncryptedField(_("private key"), editable=False)  # OpenSSH format, without passphrase
    public_key = models.TextField(_("public key"), editable=False)  # the line for authorized_keys
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("SSH key")
        verbose_name_plural = _("SSH keys")

    def __str__(self) -> str:
        return f"SSH key of {self.server_id}"
