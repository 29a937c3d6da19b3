from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from clusters.fields import EncryptedField
from clusters.models.server import Server
from clusters.postgres.names import OBJECT_NAME


class Lifecycle(models.TextChoices):
    """How far the panel has brought what was declared. It says nothing of whether the thing runs right now: that is observed."""

    PLANNED = "planned", _("planned")  # declared; its job has not finished (or was rolled back)
    READY = "ready", _("ready")  # made, and seen to work
    REMOVING = "removing", _("being removed")


class SyncMode(models.TextChoices):
    """Whom a commit waits for (PostgreSQL manual, section "Synchronous Replication")."""

    ASYNC = "async", _("asynchronous")
    FIRST = "first", _("synchronous, the first ones in order")
    ANY = "any", _("synchronous, any of them")


class Cluster(models.Model):
    """One primary and its standbys, kin by system identifier."""

    name = models.CharField(_("name"), max_length=41)
    postgres_major = models.PositiveSmallIntegerField(_("PostgreSQL major version"))
    database = models.CharField(_("database"), max_length=63, help_text=_("The application's database."))
    owner_role = models.CharField(_("owner role"), max_length=63, help_text=_("The application's role; it owns the database."))
    replication_role = models.CharField(_("replication role"), max_length=63, default="replicator", editable=False)
    panel_role = models.CharField(_("panel role"), max_length=63, default="pgreplica_panel", editable=False)
    superuser_password = EncryptedField(_("superuser password"), editable=False)
    owner_password = EncryptedField(_("owner password"), editable=False)
    replication_password = EncryptedField(_("replication password"), editable=False)
    panel_password = EncryptedField(_("panel password"), editable=False)
    client_networks = models.JSONField(
        _("client networks"), default=list, help_text=_("Networks (CIDR) from which applications may connect.")
    )
    settings = models.JSONField(_("settings"), default=dict, blank=True, help_text=_("Further postgresql.conf settings: name to value."))
    # How many standbys must have a commit on disk before it is acknowledged. While a job changes it, the weaker of old and new.
    sync_mode = models.CharField(_("replication mode"), max_length=5, choices=SyncMode, default=SyncMode.ASYNC, editable=False)
    sync_count = models.PositiveSmallIntegerField(_("synchronous standbys"), default=0, editable=False)
    lifecycle = models.CharField(_("lifecycle"), max_length=10, choices=Lifecycle, default=Lifecycle.PLANNED, editable=False)
    system_identifier = models.CharField(_("system identifier"), max_length=20, blank=True, editable=False)
    epoch = models.PositiveIntegerField(_("epoch"), default=1, editable=False)
    # Somebody else has made it. Until it is taken over it is only watched: nothing on its servers is changed.
    adopted_at = models.DateTimeField(_("adopted"), null=True, editable=False)
    taken_over_at = models.DateTimeField(_("taken over"), null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("cluster")
        verbose_name_plural = _("clusters")
        ordering = ("name",)
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="cluster_name_unique",
                violation_error_message=_("A cluster of this name exists already. Choose another name."),
            ),
            models.CheckConstraint(condition=Q(name__regex=OBJECT_NAME), name="cluster_name_valid"),
            models.CheckConstraint(condition=Q(postgres_major__gte=14, postgres_major__lte=18), name="cluster_postgres_major_supported"),
            models.CheckConstraint(
                condition=Q(sync_mode="async", sync_count=0) | ~Q(sync_mode="async") & Q(sync_count__gte=1), name="cluster_sync_count_valid"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_watched(self) -> bool:
        """Adopted and not taken over: it is looked at, and nothing else."""
        return self.adopted_at is not None and self.taken_over_at is None


class Instance(models.Model):
    """One PostgreSQL data directory on a server, member of a cluster."""

    class Role(models.TextChoices):
        PRIMARY = "primary", _("primary")
        STANDBY = "standby", _("standby")

    class Observed(models.TextChoices):
        PRIMARY = "primary", _("primary")
        STANDBY = "standby", _("standby")
        STOPPED = "stopped", _("stopped")
        UNREACHABLE = "unreachable", _("not reachable")
        UNKNOWN = "unknown", _("not observed yet")

    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="instances", verbose_name=_("cluster"))
    server = models.ForeignKey(Server, models.PROTECT, related_name="instances", verbose_name=_("server"))
    name = models.CharField(_("name"), max_length=41)
    port = models.PositiveIntegerField(_("port"))
    # Where its programs are: a directory of the server, or an image of its Docker engine. The other one is empty.
    bindir = models.CharField(
        _("PostgreSQL programs"), max_length=255, blank=True, help_text=_("Directory of the PostgreSQL programs on the server.")
    )
    image = models.CharField(_("image"), max_length=255, blank=True, help_text=_("Image of the container, by tag or digest."))
    network = models.CharField(
        _("Docker network"), max_length=128, blank=True, help_text=_("An existing network of the engine. Empty: one of its own.")
    )
    # Where an adopted one lies, as `clusters.postgres.layout.Layout.as_row` gives it; empty for one that the panel has made.
    layout = models.JSONField(_("layout"), default=dict, blank=True, editable=False)
    # Declared: what the panel means it to be. Written by one step of the workflow that saw it become true.
    role = models.CharField(_("declared role"), max_length=10, choices=Role)
    lifecycle = models.CharField(_("lifecycle"), max_length=10, choices=Lifecycle, default=Lifecycle.PLANNED, editable=False)
    # An old primary whose WAL may hold what the new one lacks: whenever it is seen running it is stopped, until it is rejoined.
    quarantined_at = models.DateTimeField(_("in quarantine since"), null=True, editable=False)
    quarantine_reason = models.CharField(_("why it is in quarantine"), max_length=500, blank=True, editable=False)
    # Observed: what the last look found, and when.
    observed_role = models.CharField(_("observed role"), max_length=12, choices=Observed, default=Observed.UNKNOWN, editable=False)
    observed = models.JSONField(_("observed facts"), default=dict, blank=True, editable=False)
    # What was seen around it, as `clusters.postgres.surroundings.Surroundings.as_row` gives it: epoch file, fence, free space, logins.
    surroundings = models.JSONField(_("observed surroundings"), default=dict, blank=True, editable=False)
    observed_at = models.DateTimeField(_("last observed"), null=True, editable=False)
    # A standby's: deep verifications under which nothing blocked its promotion, the first of the unbroken row and the last of all;
    # and what the latest one found in the way.
    promotable_since = models.DateTimeField(_("promotable since"), null=True, editable=False)
    proven_at = models.DateTimeField(_("last proven promotable"), null=True, editable=False)
    not_promotable = models.CharField(_("why it could not be promoted"), max_length=500, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("instance")
        verbose_name_plural = _("instances")
        ordering = ("cluster", "name")
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                "cluster",
                name="instance_name_unique_in_cluster",
                violation_error_message=_("This cluster has an instance of this name already. Choose another name."),
            ),
            models.UniqueConstraint(
                fields=("server", "port"),
                name="instance_port_unique_on_server",
                violation_error_message=_("Another instance on this server has this port. Choose another port."),
            ),
            models.UniqueConstraint(
                fields=("cluster",),
                condition=Q(role="primary"),
                name="instance_one_declared_primary",
                violation_error_message=_("This cluster has a declared primary already."),
            ),
            models.CheckConstraint(condition=Q(port__gte=1, port__lte=65535), name="instance_port_valid"),
            models.CheckConstraint(condition=Q(name__regex=OBJECT_NAME), name="instance_name_valid"),
            models.CheckConstraint(condition=Q(bindir="") ^ Q(image=""), name="instance_programs_one_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name}/{self.name}"

    @property
    def seen_at(self) -> datetime | None:
        """When the observed role was seen last: by a job, which saw all the rest too (`observed_at`), or by the monitor since then."""
        state = getattr(self, "state", None)
        told = (state.tried_at if state.role == self.observed_role else state.answered_at) if state else None
        return max((moment for moment in (self.observed_at, told) if moment), default=None)


class ReplicationPair(models.Model):
    """One upstream instance and one standby that follows it, with the slot that keeps the standby's WAL."""

    upstream = models.ForeignKey(Instance, models.PROTECT, related_name="downstream_pairs", verbose_name=_("upstream"))
    standby = models.OneToOneField(Instance, models.PROTECT, related_name="pair", verbose_name=_("standby"))
    slot = models.CharField(_("slot"), max_length=63, blank=True)  # empty: an adopted standby that uses none
    # Observed by the last look: a job's, or the monitor's every few seconds.
    state = models.CharField(_("replication state"), max_length=20, blank=True, editable=False)
    sync_state = models.CharField(_("sync state"), max_length=20, blank=True, editable=False)
    lag_bytes = models.BigIntegerField(_("lag in bytes"), null=True, editable=False)
    lag_seconds = models.FloatField(_("lag in seconds"), null=True, editable=False)
    observed_at = models.DateTimeField(_("last observed"), null=True, editable=False)

    class Meta:
        verbose_name = _("replication pair")
        verbose_name_plural = _("replication pairs")
        ordering = ("upstream", "standby")
        constraints = [
            models.UniqueConstraint(fields=("upstream", "slot"), condition=~Q(slot=""), name="pair_slot_unique_on_upstream"),
            models.CheckConstraint(condition=~Q(upstream=models.F("standby")), name="pair_not_with_itself"),
        ]

    def __str__(self) -> str:
        return f"{self.upstream} → {self.standby.name}"

    @property
    def cascaded(self) -> bool:
        """Whether the upstream is a standby itself."""
        return self.upstream.role != Instance.Role.PRIMARY
