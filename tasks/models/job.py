from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster, Instance, Server
from tasks.kinds import ACTIVE, KIND_CHOICES, RUN_PERMISSIONS, Status, StepStatus


class Job(models.Model):
    """One request. This row is the truth about it; the Celery message only rings the bell."""

    kind = models.CharField(_("kind"), max_length=30, choices=KIND_CHOICES)
    status = models.CharField(_("status"), max_length=15, choices=Status, default=Status.QUEUED)
    mutating = models.BooleanField(_("changes the cluster"), default=True)

    # What it acts on. The names are copies, so that the row still tells its story when the thing itself is gone.
    cluster = models.ForeignKey(Cluster, models.SET_NULL, null=True, blank=True, related_name="jobs", verbose_name=_("cluster"))
    cluster_name = models.CharField(_("cluster"), max_length=41, blank=True)
    instance = models.ForeignKey(Instance, models.SET_NULL, null=True, blank=True, related_name="jobs", verbose_name=_("instance"))
    instance_name = models.CharField(_("instance"), max_length=41, blank=True)
    server = models.ForeignKey(Server, models.SET_NULL, null=True, blank=True, related_name="jobs", verbose_name=_("server"))
    params = models.JSONField(_("parameters"), default=dict)

    # Who asked, from where, and why.
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("requested by")
    )
    requested_by_name = models.CharField(_("requested by"), max_length=150)
    source = models.CharField(_("source"), max_length=20)  # web, api, command, schedule, first start
    reason = models.CharField(_("reason"), max_length=2000, blank=True)
    idempotency_key = models.CharField(_("idempotency key"), max_length=100, null=True, blank=True, unique=True)
    plan = models.JSONField(_("plan"), default=list)
    plan_hash = models.CharField(_("plan hash"), max_length=64, blank=True)

    # The lease. `token` comes from one sequence for all jobs, so a later claim always has the higher one, on every server.
    token = models.BigIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(_("worker"), max_length=200, blank=True, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)

    # When a scheduled job may be queued; by the database's clock.
    not_before = models.DateTimeField(_("not before"), null=True)

    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True, editable=False)
    cancel_requested_by_name = models.CharField(max_length=150, blank=True, editable=False)

    # The journal's counter: events 1..last_event exist, without gap.
    last_event = models.BigIntegerField(default=0, editable=False)
    log_truncated = models.BooleanField(default=False, editable=False)

    summary = models.TextField(_("outcome"), blank=True)  # what happened, one sentence
    hint = models.TextField(_("what to do next"), blank=True)
    result = models.JSONField(_("result"), default=dict)
    created_at = models.DateTimeField(_("requested"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ("-id",)
        permissions = RUN_PERMISSIONS
        constraints = [
            models.UniqueConstraint(
                fields=("cluster",), condition=Q(mutating=True, status__in=ACTIVE), name="job_one_active_mutating_per_cluster"
            ),
        ]
        indexes = [
            models.Index(fields=("status", "lease_until"), name="job_claimable", condition=Q(status__in=ACTIVE)),
            models.Index(fields=("cluster", "-id"), name="job_of_cluster"),
            models.Index(fields=("instance", "-id"), name="job_of_instance"),
            # What changed a cluster a moment ago is asked for every five seconds.
            models.Index(fields=("finished_at",), name="job_changed_lately", condition=Q(mutating=True)),
            # The schedule verifies every few minutes; what a person asked for is found without reading past all that.
            models.Index(fields=("cluster", "-id"), name="job_asked_for", condition=~Q(source="schedule")),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.get_kind_display()} {self.cluster_name}".rstrip()

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE


class JobStep(models.Model):
    """One step of one job: persisted before and after it acts, so that another worker can take over by looking."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=60)  # the step function's name
    title = models.CharField(max_length=200)  # the first line of its docstring
    status = models.CharField(max_length=10, choices=StepStatus, default=StepStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    sentence = models.TextField(blank=True)  # what it made true, or why it failed
    hint = models.TextField(blank=True)
    state = models.JSONField(default=dict)  # what the step must remember across workers: a unit, an offset, an LSN
    progress = models.JSONField(default=dict)  # {"done", "total", "unit", "rate", "seconds_left"}
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        ordering = ("job", "position")
        constraints = [models.UniqueConstraint(fields=("job", "position"), name="step_position_unique_in_job")]

    def __str__(self) -> str:
        return f"{self.position}. {self.title}"


class JobEvent(models.Model):
    """One line of a job's log. Numbered 1, 2, 3 ... within the job; written by `tasks.journal` alone."""

    class Level(models.TextChoices):
        STEP = "step", _("step")  # a step begins or ends
        INFO = "info", _("info")  # a sentence of ours
        COMMAND = "command", _("command")  # a command, statement or file that is used, masked
        OUTPUT = "output", _("output")  # a line that a machine printed
        WARNING = "warning", _("warning")
        ERROR = "error", _("error")

    job = models.ForeignKey(Job, models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    step = models.PositiveSmallIntegerField(null=True)
    level = models.CharField(max_length=8, choices=Level)
    text = models.TextField()
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("job", "seq")
        constraints = [models.UniqueConstraint(fields=("job", "seq"), name="event_seq_unique_in_job")]

    def __str__(self) -> str:
        return f"{self.seq}: {self.text}"
