"""Jobs and audit entries as API and commands show them: plain values, ready for JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from typing_extensions import TypedDict

from tasks.kinds import UNENDED
from tasks.models import ApiToken, AuditEntry, Job
from tasks.selectors import job_snapshot

PAGE = 50
PAGE_MAX = 500
AUDIT_FIELDS = (
    *("number", "at", "actor", "source", "action", "phase", "cluster_name", "target", "reason", "job_id", "plan_hash", "details"),
    *("previous_hash", "hash"),
)


class JobShown(TypedDict):
    id: int
    kind: str
    status: str
    ended: bool  # no worker works on it, or will by itself
    cluster: str | None
    instance: str | None
    server: str | None
    params: dict[str, Any]
    reason: str
    requested_by: str
    source: str
    plan_hash: str
    events: int
    cancel_requested: bool
    summary: str
    hint: str
    result: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobDetail(JobShown):
    plan: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    log_truncated: bool


def job_list(*, cluster: str = "", kind: str = "", status: str = "", before: int | None = None, limit: int = PAGE) -> list[JobShown]:
    """The newest jobs first; `before` a job's number goes on from there."""
    given = {"cluster_name": cluster, "kind": kind, "status": status}
    rows = Job.objects.select_related("server").filter(**{field: storable(value) for field, value in given.items() if value})
    rows = rows if before is None else rows.filter(pk__lt=before)
    return [job_shown(job) for job in _page(rows.defer("plan"), limit)]


def job_show(job_id: int) -> JobDetail:
    """One job with its steps and plan. Raises: Job.DoesNotExist."""
    job = Job.objects.select_related("server").get(pk=job_id)
    snapshot = job_snapshot(job_id) or {}
    return {**job_shown(job), "plan": job.plan, "steps": snapshot.get("steps", []), "log_truncated": job.log_truncated}


def job_shown(job: Job) -> JobShown:
    return {
        "id": job.pk,
        "kind": job.kind,
        "status": job.status,
        "ended": job.status not in UNENDED,
        "cluster": job.cluster_name or None,
        "instance": job.instance_name or None,
        "server": job.server.name if job.server else None,
        "params": job.params,
        "reason": job.reason,
        "requested_by": job.requested_by_name,
        "source": job.source,
        "plan_hash": job.plan_hash,
        "events": job.last_event,
        "cancel_requested": job.cancel_requested_at is not None,
        "summary": job.summary,
        "hint": job.hint,
        "result": job.result,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def job_outcome(job: Job) -> dict[str, Any]:
    """How a job stands, for scripts: number, kind, status, cluster, instance, summary, hint, number of events, and its result's keys."""
    shown = job_shown(job)
    kept = {key: value for key, value in shown.items() if key in ("kind", "status", "cluster", "instance", "summary", "hint", "events")}
    return {**job.result, "job": job.pk, **kept}


def audit_list(*, cluster: str = "", before: int | None = None, limit: int = PAGE) -> list[dict[str, Any]]:
    """The newest entries first; `before` an entry's number goes on from there."""
    rows = AuditEntry.objects.filter(cluster_name=storable(cluster)) if cluster else AuditEntry.objects.all()
    rows = rows if before is None else rows.filter(number__lt=before)
    return list(_page(rows.values(*AUDIT_FIELDS), limit))


def token_list() -> list[dict[str, Any]]:
    rows = ApiToken.objects.select_related("user").order_by("user__username", "name")
    return [
        {
            "user": token.user.get_username(),
            "name": token.name,
            "prefix": token.prefix,
            "scope": token.scope,
            "expires_at": token.expires_at,
            "last_used_at": token.last_used_at,
        }
        for token in rows
    ]


def storable(text: str) -> str:
    """PostgreSQL cannot even compare with NUL; no row holds one."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _page(rows: QuerySet[Any, Any], limit: int) -> QuerySet[Any, Any]:
    return rows[: max(1, min(limit, PAGE_MAX))]
