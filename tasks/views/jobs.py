"""The page of one job, and the two decisions about it: cancel and resume."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from tasks.actor import actor_of
from tasks.control import past_no_return
from tasks.durations import step_bars
from tasks.kinds import ACTIVE, CANCELABLE, KINDS, RESUMABLE, UNENDED, Status
from tasks.models import AuditEntry, Job
from tasks.outcome import outcome_of
from tasks.services import Busy, Forbidden, RequestRefused, job_cancel, job_resume
from tasks.sheets import job_runbook, sheet_response
from tasks.standing import finding_remark
from tasks.views.acts import permission_reason
from tasks.views.frame import page, render
from tasks.views.words import live_words


@page("tasks.view_job")
def job_page(request: HttpRequest, job_id: int) -> HttpResponseBase:
    job = job_or_404(job_id)
    label = capfirst(str(job.get_kind_display()))
    steps = list(job.steps.order_by("position"))
    return render(
        request,
        "tasks/job.html",
        title=f"#{job.pk} {label}",
        crumbs=[(_("Fleet"), reverse("admin:index")), (_("Jobs"), reverse("admin:tasks_job_changelist"))],
        job=job,
        label=label,
        steps=steps,
        bars=step_bars(job, steps),
        ended=job.status not in UNENDED,
        obstacles=[finding_remark("", obstacle) for obstacle in job.result.get("obstacles", ())],
        view="plan" if request.GET.get("view") == "plan" else "log",
        decisions=decisions(request, job),
        outcome=outcome_of(job.kind, job.result),
        audit_url=audit_url(request, job),
        words=live_words(),
        runbook_url=reverse("job-runbook", args=[job.pk]),
    )


def audit_url(request: HttpRequest, job: Job) -> str:
    """The entry that closed the job, for those who may read it; "" where there is none."""
    if not job.mutating or job.status in ACTIVE or not request.user.has_perm("tasks.view_auditentry"):
        return ""
    number = AuditEntry.objects.filter(job_id=job.pk, phase="closed").order_by("-number").values_list("pk", flat=True).first()
    return reverse("admin:tasks_auditentry_change", args=[number]) if number else ""


def job_or_404(job_id: int) -> Job:
    job = Job.objects.select_related("cluster", "server", "instance").defer(*_SECRETS).filter(pk=job_id).first()
    if job is None:
        raise Http404(_("There is no job of this number."))
    return job


_SECRETS = [f"cluster__{name}" for name in ("superuser_password", "owner_password", "replication_password", "panel_password")]


def decisions(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Which decisions this user may take about the job, in any of its states; the page shows those that fit the state it is in.

    `reason` says why none can be taken, "" where they can.
    """
    return {
        "reason": permission_reason(request.user, KINDS[job.kind]),
        "cancel": " ".join(status for status in CANCELABLE if status != Status.NEEDS_OPERATOR),
        "resume": " ".join(RESUMABLE),
        "give_up": Status.NEEDS_OPERATOR.value,
        "past_no_return": past_no_return(job),
    }


@page("tasks.view_job")
def job_runbook_view(request: HttpRequest, job_id: int) -> HttpResponse:
    job = job_or_404(job_id)
    return sheet_response(*job_runbook(job))


@page("tasks.view_job", ("POST",))
def job_cancel_view(request: HttpRequest, job_id: int) -> HttpResponse:
    give_up = request.POST.get("give_up") == "1"
    return _decide(request, job_or_404(job_id), job_cancel, _("Cancelling was asked for."), give_up=give_up)


@page("tasks.view_job", ("POST",))
def job_resume_view(request: HttpRequest, job_id: int) -> HttpResponse:
    return _decide(request, job_or_404(job_id), job_resume, _("The job was queued again."))


def _decide(request: HttpRequest, job: Job, decide: Any, done: str, **options: Any) -> HttpResponse:
    """Take the decision and go back to the job's page, which says what came of it."""
    user: Any = request.user
    try:
        decide(job=job, actor=actor_of(user, "web"), reason=request.POST.get("reason", ""), **options)
        messages.success(request, done)
    except (RequestRefused, Busy) as refused:
        messages.error(request, refused.sentence)
    except Forbidden as forbidden:
        raise PermissionDenied(forbidden.sentence) from forbidden
    return redirect("job-page", job.pk)
