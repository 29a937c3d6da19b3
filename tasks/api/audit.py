from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from tasks.api.auth import needs
from tasks.audit import Verified, audit_verify
from tasks.shown import PAGE, PAGE_MAX, audit_list

router = Router(tags=["audit"])
VIEW = "tasks.view_auditentry"


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


@router.get("/audit/verify", auth=needs(VIEW), response=Verification)
def chain(request: HttpRequest) -> Any:
    """Compute the whole chain again: the number of entries and the head hash, or the first entry that does not hold."""
    found = audit_verify()
    if isinstance(found, Verified):
        return {"intact": True, "entries": found.count, "head": found.head}
    return {"intact": False, "first_fault": found.number, "sentence": found.sentence}
