"""Cancel and resume: the two decisions a person takes about a job that exists. Callers use them through `tasks.services`."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.postgres import names
from tasks.actor import Actor
from tasks.audit import audit_close, audit_open, audit_single
from tasks.delivery import enqueue
from tasks.events import Level, event_append
from tasks.kinds import CANCELABLE, KINDS, RESUMABLE, Status, StepStatus
from tasks.models import Job
from tasks.nudge import nudge
from tasks.refusals import ONE_ACTIVE, Busy, allow, constraint_of, holder_of, refuse
from tasks.workflows import plan_set
from tasks.workflows.step import POINT_OF_NO_RETURN

#: What a run writes into `Job.result` about its end; a resumed job starts without it.
OUTCOME_KEYS = ("rollback", "failed_step", "obstacles")


def job_cancel(*, job: Job, actor: Actor, reason: str = "", give_up: bool = False) -> Job:
    """Cancel it, or ask the worker that has it to do so at its next safe moment. Gives the job as it is then.

    queued: ends at once. running: the flag is set. needs an operator: rolled back, or, after the point of no return or
    with `give_up`, ended as failed with everything left as it is (then a reason is required).
    Raises: Forbidden, RequestRefused.
    """
    allow(actor, KINDS[job.kind].permission)
    reason = _reason(reason)
    with transaction.atomic():
        job = Job.objects.select_for_update().get(pk=job.pk)
        _cancel(job, actor, reason, give_up)
        transaction.on_commit(partial(nudge, job.pk, job.last_event))
    return job


def job_resume(*, job: Job, actor: Actor, reason: str = "") -> Job:
    """Queue it again: it goes on at the step where it stopped, or from the start where it was rolled back.

    Raises: Forbidden, RequestRefused (wrong status, target gone), Busy (another job holds the cluster).
    """
    allow(actor, KINDS[job.kind].permission)
    reason = _reason(reason)
    try:
        with transaction.atomic():
            job = Job.objects.select_for_update().get(pk=job.pk)
            _resume(job, actor, reason)
            transaction.on_commit(partial(enqueue, job.pk))
    except IntegrityError as error:
        holder = holder_of(job.cluster)
        if holder is None or constraint_of(error) != ONE_ACTIVE:
            raise
        raise Busy(holder) from error
    return job


def past_no_return(job: Job) -> bool:
    return job.steps.filter(name=POINT_OF_NO_RETURN, status=StepStatus.DONE).exists()


# -- cancel


def _cancel(job: Job, actor: Actor, reason: str, give_up: bool) -> None:
    if job.status not in CANCELABLE:
        raise refuse(_("Job #%(number)s is %(status)s: there is nothing to cancel.") % _shown(job))
    past = past_no_return(job)
    if job.status == Status.NEEDS_OPERATOR and (past or give_up):
        _give_up(job, actor, reason)
    elif past or give_up:
        raise refuse(_past_sentence(job) if past else _("Only a job that needs an operator can be given up. Cancel it instead."))
    elif job.status == Status.RUNNING:
        _ask(job, actor, reason)
    else:
        _cancel_idle(job, actor, reason)


def _past_sentence(job: Job) -> str:
    return _("Job #%(number)s is past its point of no return: it only finishes forward. Wait for its end.") % _shown(job)


def _ask(job: Job, actor: Actor, reason: str) -> None:
    """The worker reads the flag at the next border of a step; the log line is the worker's."""
    if job.cancel_requested_at is None:
        _set(job, cancel_requested_at=timezone.now(), cancel_requested_by_name=actor.name)
        _audit(job, actor, "cancel", reason)


def _cancel_idle(job: Job, actor: Actor, reason: str) -> None:
    """No worker has it. What it had begun is rolled back by one; where nothing was begun it is over now."""
    _audit(job, actor, "cancel", reason)
    what = f"Canceled by {actor.name}." + (f" Reason: {reason}" if reason else "")
    event_append(job, Level.WARNING, what)
    begun = job.steps.exclude(status__in=(StepStatus.PENDING, StepStatus.UNDONE)).exists()
    asked = {"cancel_requested_at": timezone.now(), "cancel_requested_by_name": actor.name}
    if begun:
        result = {**job.result, "rollback": {"to": Status.CANCELED, "what": what, "hint": ""}}
        _set(job, status=Status.ROLLING_BACK, result=result, summary=what, hint="", lease_until=None, sent_at=None, **asked)
        transaction.on_commit(partial(enqueue, job.pk))
    else:
        _end(job, Status.CANCELED, what, **asked)


def _give_up(job: Job, actor: Actor, reason: str) -> None:
    if not reason:
        raise refuse(_("Giving up leaves everything as it is now. Say why, and what was done by hand."), "reason")
    _audit(job, actor, "give_up", reason)
    what = f"Given up by {actor.name}; everything was left as it was. Reason: {reason}"
    event_append(job, Level.WARNING, what)
    _end(job, Status.FAILED, f"{job.summary} {what}".strip())


def _end(job: Job, status: Status, summary: str, **values: Any) -> None:
    _set(job, status=status, summary=summary, finished_at=timezone.now(), lease_until=None, **values)
    if job.mutating:
        audit_close(job, status, summary=summary)


# -- resume


def _resume(job: Job, actor: Actor, reason: str) -> None:
    if job.status not in RESUMABLE:
        raise refuse(_("Job #%(number)s is %(status)s: there is nothing to resume.") % _shown(job))
    if job.cluster_name and job.cluster is None:
        raise refuse(_("Cluster %(cluster)s is not there any more, so job #%(number)s cannot go on.") % _shown(job))
    if job.instance_name and job.instance is None:
        raise refuse(_("Instance %(instance)s is not there any more, so job #%(number)s cannot go on.") % _shown(job))
    ended = job.status != Status.NEEDS_OPERATOR
    _reset_steps(job, from_the_start=ended and not past_no_return(job))
    hash_before = job.plan_hash
    plan_set(job)
    _set(
        job,
        status=Status.QUEUED,
        plan=job.plan,
        plan_hash=job.plan_hash,
        result={key: value for key, value in job.result.items() if key not in OUTCOME_KEYS},
        summary="",
        hint="",
        finished_at=None,
        lease_until=None,
        sent_at=None,
        cancel_requested_at=None,
        cancel_requested_by_name="",
    )
    changed = " The plan has changed since it was requested." if job.plan_hash != hash_before else ""
    event_append(job, Level.INFO, f"Resumed by {actor.name}.{changed}" + (f" Reason: {reason}" if reason else ""))
    if job.mutating:
        audit_open(job, actor, resumed=True, why=reason) if ended else audit_single(job, actor, "resume", reason)


def _reset_steps(job: Job, *, from_the_start: bool) -> None:
    """Done steps stay, or, from the start, look again. One that failed keeps what it remembers; one that was undone has nothing to."""
    fresh = {"status": StepStatus.PENDING, "attempts": 0, "sentence": "", "hint": "", "progress": {}, "finished_at": None}
    job.steps.filter(status__in=(StepStatus.UNDONE, StepStatus.UNDOING)).update(**fresh, state={}, started_at=None)
    again = (StepStatus.FAILED, StepStatus.RUNNING, *((StepStatus.DONE,) if from_the_start else ()))
    job.steps.filter(status__in=again).update(**fresh)


# -- helpers


def _reason(text: str) -> str:
    try:
        return names.reason(text) if text else ""
    except names.NameRefused as refusal:
        raise refuse(refusal.sentence, "reason") from refusal


def _shown(job: Job) -> dict[str, Any]:
    return {"number": job.pk, "status": job.get_status_display(), "cluster": job.cluster_name, "instance": job.instance_name}


def _audit(job: Job, actor: Actor, action: str, reason: str) -> None:
    if job.mutating:
        audit_single(job, actor, action, reason)


def _set(job: Job, **values: Any) -> None:
    for field, value in values.items():
        setattr(job, field, value)
    job.save(update_fields=list(values))
