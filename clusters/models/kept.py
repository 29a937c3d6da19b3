from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from clusters.models.server import Server


class KeptCopy(models.Model):
    """A data directory that was put aside instead of deleted. Only a person's own job deletes it."""

    class Origin(models.TextChoices):
        DIVERGED = "diverged", _("diverged from the new primary")  # a copy made before pg_rewind
        REPLACED = "replaced", _("replaced by a new copy")  # the directory itself, renamed
        REMOVED = "removed", _("removed from its cluster")

    # Names, not keys: the copy outlives its cluster and its instance.
    cluster_name = models.CharField(_("cluster"), max_length=41)
    instance_name = models.CharField(_("instance"), max_length=41)
    server = models.ForeignKey(Server, models.PROTECT, related_name="kept_copies", verbose_name=_("server"))
    origin = models.CharField(_("origin"), max_length=10, choices=Origin)
    path = models.CharField(_("directory"), max_length=500)
    size_bytes = models.BigIntegerField(_("size in bytes"), null=True)
    timeline = models.PositiveIntegerField(_("timeline"), null=True)
    end_lsn = models.CharField(_("end of its WAL"), max_length=20, blank=True)
    job_id = models.BigIntegerField(_("job"))
    created_at = models.DateTimeField(_("put aside"), auto_now_add=True)
    gone_at = models.DateTimeField(_("gone"), null=True)  # purged, or put back
    gone_how = models.CharField(_("how it went"), max_length=10, blank=True)  # "purged", "restored"

    class Meta:
        verbose_name = _("kept copy")
        verbose_name_plural = _("kept copies")
        ordering = ("-created_at",)
        constraints = [models.UniqueConstraint(fields=("server", "path"), name="kept_copy_path_unique")]
        indexes = [models.Index(fields=("cluster_name", "instance_name"), name="kept_copy_of_instance")]

    def __str__(self) -> str:
        return f"{self.cluster_name}/{self.instance_name}: {self.path}"
