"""The only doors in: a job is requested, cancelled and resumed here, whether a page, the API, a command or a schedule asks.

Each checks the actor's permission, changes rows in one transaction and rings the broker once that is committed.
Refusals are exceptions of `tasks.refusals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from clusters.form_base import RequestForm
from clusters.forms import REQUEST_FORMS
from clusters.models import Cluster, Instance, Server
from tasks.actor import Actor
from tasks.adopted import adopted_reason
from tasks.audit import audit_open
from tasks.control import job_cancel, job_resume
from tasks.delivery import enqueue
from tasks.events import Level, event_append
from tasks.kinds import KINDS, Kind, Status
from tasks.models import Job
from tasks.plan import PlanStep
from tasks.refusals import GENERAL, ONE_ACTIVE, Busy, Forbidden, RequestRefused, allow, constraint_of, holder_of, refuse
from tasks.runbook import Head
from tasks.sheets import job_runbook
from tasks.workflows import plan_set, steps_create

__all__ = ["Busy", "Forbidden", "Preview", "RequestRefused", "job_cancel", "job_preview", "job_request", "job_resume", "job_sheet"]

KEY_LENGTH = 100
Read = TypeVar("Read")


@dataclass(frozen=True)
class Preview:
    """What a request would do: the plan, its hash, and the parameters with every choice the panel made."""

    plan: list[PlanStep]
    plan_hash: str
    params: dict[str, Any]


def job_request(
    *,
    kind: str,
    actor: Actor,
    data: Mapping[str, Any],
    reason: str = "",
    idempotency_key: str | None = None,
    plan_hash: str | None = None,
    cluster: Cluster | None = None,
    instance: Instance | None = None,
    server: Server | None = None,
) -> Job:
    """A new job, queued; or the earlier one that was requested with the same idempotency key.

    `data` goes to the kind's form; rows that are given here stand in it by their names. With `plan_hash` the job is taken
    only if its plan is still the one that was shown.
    Raises: RequestRefused, Forbidden, Busy. Then nothing was changed.
    """
    chosen = _kind(kind, actor)
    key = _key(idempotency_key)
    earlier = _earlier(key, chosen, actor)
    if earlier:
        return earlier
    form = _form(chosen, data, reason, cluster, instance, server)
    try:
        with transaction.atomic():
            job = _prepared(form, chosen, actor, key)
            if plan_hash is not None and plan_hash != job.plan_hash:
                raise refuse(_("The plan has changed since it was shown to you. Look at the new one, then confirm again."), "plan_hash")
            _store(job, actor)
    except (Busy, IntegrityError, ValidationError) as error:
        earlier = _earlier(key, chosen, actor)  # the same request, a moment earlier
        if earlier:
            return earlier
        if isinstance(error, Busy):
            raise
        raise _refusal(error, form, chosen) from error
    return job


def job_preview(
    *,
    kind: str,
    actor: Actor,
    data: Mapping[str, Any],
    reason: str = "",
    cluster: Cluster | None = None,
    instance: Instance | None = None,
    server: Server | None = None,
) -> Preview:
    """What `job_request` with the same arguments would do. Nothing is stored.

    Raises: RequestRefused, Forbidden, Busy.
    """
    chosen = _kind(kind, actor)
    form = _form(chosen, data, reason, cluster, instance, server)
    return _looked_at(form, chosen, actor, lambda job: Preview(job.plan, job.plan_hash, job.params))


def job_sheet(
    *,
    kind: str,
    actor: Actor,
    data: Mapping[str, Any],
    reason: str = "",
    cluster: Cluster | None = None,
    instance: Instance | None = None,
    server: Server | None = None,
) -> tuple[Head, str]:
    """The runbook of what `job_request` with the same arguments would do. Nothing is stored.

    Raises: RequestRefused, Forbidden, Busy.
    """
    chosen = _kind(kind, actor)
    return _looked_at(_form(chosen, data, reason, cluster, instance, server), chosen, actor, job_runbook)


def _looked_at(form: RequestForm, chosen: Kind, actor: Actor, read: Callable[[Job], Read]) -> Read:
    """What `read` says of the job as it would be; its rows are there for it, and gone afterwards."""
    try:
        with transaction.atomic():
            found = read(_prepared(form, chosen, actor, None))
            transaction.set_rollback(True)
    except (IntegrityError, ValidationError) as error:
        raise _refusal(error, form, chosen) from error
    return found


# -- the request, checked


def _kind(name: str, actor: Actor) -> Kind:
    chosen = KINDS.get(name)
    if chosen is None:
        raise refuse(_("There is no job of this kind. Known kinds: %(kinds)s.") % {"kinds": ", ".join(KINDS)}, "kind")
    allow(actor, chosen.permission)
    return chosen


def _key(key: str | None) -> str | None:
    if key is not None and (not key or len(key) > KEY_LENGTH or not key.isprintable()):
        sentence = _("An idempotency key has 1 to %(length)d printable characters.") % {"length": KEY_LENGTH}
        raise refuse(sentence, "idempotency_key")
    return key


def _earlier(key: str | None, chosen: Kind, actor: Actor) -> Job | None:
    job = Job.objects.filter(idempotency_key=key).first() if key else None
    if job and (job.kind != chosen.name or job.requested_by_name != actor.name):
        raise refuse(_("This idempotency key was used for another request. Use a new one."), "idempotency_key")
    return job


def _form(
    chosen: Kind, data: Mapping[str, Any], reason: str, cluster: Cluster | None, instance: Instance | None, server: Server | None
) -> RequestForm:
    rows = {"cluster": cluster, "instance": instance, "server": server}
    names = {field: row.name for field, row in rows.items() if row is not None}
    form = REQUEST_FORMS[chosen.name]({**data, **names, **({"reason": reason} if reason else {})})
    if not form.is_valid():
        raise RequestRefused(form.messages())
    return form


def _refusal(error: IntegrityError | ValidationError, form: RequestForm, chosen: Kind) -> Exception:
    """The cluster is held, somebody was faster, or else a fault of ours that must be seen as one."""
    holder = holder_of(form.target.cluster) if chosen.mutating else None
    if holder:
        return Busy(holder)
    if isinstance(error, ValidationError):
        return RequestRefused(error.message_dict if hasattr(error, "error_dict") else {GENERAL: error.messages})
    if constraint_of(error) == ONE_ACTIVE:
        return refuse(_("Another job held the cluster until just now. Try again."))
    return error


# -- the rows


def _prepared(form: RequestForm, chosen: Kind, actor: Actor, key: str | None) -> Job:
    """The job, its target declared and its plan made; not stored yet."""
    at = form.cleaned_data.get("at")
    if sentence := adopted_reason(chosen, form.target.cluster):
        raise refuse(sentence, "cluster")
    holder = holder_of(form.target.cluster) if chosen.mutating and not at else None
    if holder:
        raise Busy(holder)
    target = form.declare()
    job = Job(
        kind=chosen.name,
        mutating=chosen.mutating,
        cluster=target.cluster,
        cluster_name=target.cluster.name if target.cluster else target.cluster_name,
        instance=target.instance,
        instance_name=target.instance.name if target.instance else target.instance_name,
        server=target.server,
        params=form.params(),
        requested_by=actor.user,
        requested_by_name=actor.name,
        source=actor.source,
        reason=form.cleaned_data.get("reason") or "",
        idempotency_key=key,
        status=Status.SCHEDULED if at else Status.QUEUED,
        not_before=datetime.fromisoformat(at) if at else None,
    )
    plan_set(job)
    return job


def _store(job: Job, actor: Actor) -> None:
    job.save(force_insert=True)
    steps_create(job)
    event_append(job, Level.INFO, f"Requested by {actor.name} ({actor.source})." + (f" Reason: {job.reason}" if job.reason else ""))
    if job.not_before:
        event_append(job, Level.INFO, f"It waits until {job.not_before.isoformat(timespec='minutes')}, and holds nothing until then.")
    if job.mutating:
        audit_open(job, actor, params=job.params)
    if job.status == Status.QUEUED:
        transaction.on_commit(partial(enqueue, job.pk))
