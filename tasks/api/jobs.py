from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router

from tasks.api.auth import SECURITY, actor, needs, needs_async, still_allowed
from tasks.api.bodies import Body
from tasks.control import job_cancel, job_resume
from tasks.models import Job
from tasks.sheets import job_runbook, job_with_places, sheet_response
from tasks.shown import PAGE, PAGE_MAX, JobDetail, JobShown, job_list, job_show, job_shown
from tasks.stream import events_response, stream_response

router = Router(tags=["jobs"])
VIEW = "tasks.view_job"
SHEET: dict[str, Any] = {"responses": {200: {"description": "OK", "content": {"text/x-shellscript": {"schema": {"type": "string"}}}}}}


class Why(Body):
    reason: str = ""


class CancelBody(Why):
    give_up: bool = False


@router.get("/jobs", auth=needs(VIEW), response=list[JobShown])
def jobs(
    request: HttpRequest,
    cluster: str = "",
    kind: str = "",
    status: str = "",
    before: Annotated[int | None, Query(ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
) -> Any:
    """The newest jobs first; `before` the last number of a page gives the next page."""
    return job_list(cluster=cluster, kind=kind, status=status, before=before, limit=limit)


@router.get("/jobs/{int:job_id}", auth=needs(VIEW), response=JobDetail)
def job(request: HttpRequest, job_id: int) -> Any:
    """One job, with its steps and its plan."""
    return job_show(job_id)


@router.get("/jobs/{int:job_id}/runbook", auth=needs(VIEW), openapi_extra=SHEET)
def runbook(request: HttpRequest, job_id: int) -> HttpResponse:
    """The plan as a sheet for a shell, to be done by hand when the panel is off: text/x-shellscript."""
    return sheet_response(*job_runbook(job_with_places(job_id)))


@router.get("/jobs/{int:job_id}/events", auth=needs_async(VIEW), openapi_extra=SECURITY)
async def events(request: HttpRequest, job_id: int, after: int = 0, limit: int = 500) -> Any:
    """The log from the event numbered `after` on: `{"job", "events", "next", "more"}`. Ask again with `after=<next>`."""
    return await events_response(request, job_id)


@router.get("/jobs/{int:job_id}/stream", auth=needs_async(VIEW), openapi_extra=SECURITY)
async def stream(request: HttpRequest, job_id: int, after: int = 0) -> HttpResponseBase:
    """The log as server-sent events, from `Last-Event-ID` (or `after`) on, until the job has ended."""
    return await stream_response(request, job_id, partial(still_allowed, request, VIEW))


@router.post("/jobs/{int:job_id}/cancel", auth=needs(VIEW), response=JobShown)
def cancel(request: HttpRequest, job_id: int, body: CancelBody) -> Any:
    """Cancel a job: it ends at its next safe moment. Needs the permission to ask for a job of its kind."""
    row = job_cancel(job=Job.objects.get(pk=job_id), actor=actor(request), reason=body.reason, give_up=body.give_up)
    return job_shown(row)


@router.post("/jobs/{int:job_id}/resume", auth=needs(VIEW), response=JobShown)
def resume(request: HttpRequest, job_id: int, body: Why) -> Any:
    """Resume a job that has stopped. Needs the permission to ask for a job of its kind."""
    return job_shown(job_resume(job=Job.objects.get(pk=job_id), actor=actor(request), reason=body.reason))
