from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Schema

from tasks.api.auth import needs
from tasks.audit import Verified, audit_verify
from tasks.shown import PAGE, PAGE_MAX, audit_list
from tasks.trail import Format, aware, entries_of, trail_response

router = Router(tags=["audit"])
VIEW = "tasks.view_auditentry"
_TEXT = {"schema": {"type": "string"}}
LINES: dict[str, Any] = {"responses": {200: {"description": "OK", "content": {"application/jsonl": _TEXT, "text/csv": _TEXT}}}}


class Entry(Schema):
    number: int
    at: datetime
    actor: str
    source: str
    action: str
    phase: str
    cluster_name: str
    target: str
    reason: str
    job_id: int | None
    plan_hash: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class Verification(Schema):
    intact: bool
    entries: int | None = None
    head: str | None = None
    first_fault: int | None = None
    sentence: str = ""


@router.get("/audit", auth=needs(VIEW), response=list[Entry])
def entries(
    request: HttpRequest,
    cluster: str = "",
    before: Annotated[int | None, Query(ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
) -> Any:
    """The newest entries first; `before` the last number of a page gives the next page."""
    return audit_list(cluster=cluster, before=before, limit=limit)


@router.get("/audit/export", auth=needs(VIEW), openapi_extra=LINES)
def export(
    request: HttpRequest,
    format: Format = "jsonl",
    cluster: str = "",
    actor: str = "",
    action: str = "",
    phase: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> StreamingHttpResponse:
    """Every entry that fits, the oldest first, as JSON lines or CSV."""
    rows = entries_of(cluster=cluster, actor=actor, action=action, phase=phase, since=aware(since), until=aware(until))
    return trail_response(rows, format)


@router.get("/audit/verify", auth=needs(VIEW), response=Verification)
def chain(request: HttpRequest) -> Any:
    """Compute the whole chain again: the number of entries and the head hash, or the first entry that does not hold."""
    found = audit_verify()
    if isinstance(found, Verified):
        return {"intact": True, "entries": found.count, "head": found.head}
    return {"intact": False, "first_fault": found.number, "sentence": found.sentence}
