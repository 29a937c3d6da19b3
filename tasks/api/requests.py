"""How a route asks for a job."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Header, Schema, Status

from tasks.api.auth import actor
from tasks.api.bodies import given
from tasks.api.errors import job_url
from tasks.services import job_request
from tasks.shown import JobShown, job_shown

#: The same key again gives the same job, however often a request is repeated.
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]
#: Beside the form's fields: refuse the job if its plan is no longer the one of this hash.
PLAN_HASH: dict[str, Any] = {"plan_hash": (str | None, None)}


def requested(
    request: HttpRequest, response: HttpResponse, kind: str, body: Schema | dict[str, Any], key: str | None, **rows: Any
) -> Status[JobShown]:
    """202 with the job, and its address as Location. `rows`: cluster, instance or server that the address named."""
    data = dict(body) if isinstance(body, dict) else given(body)
    plan_hash = data.pop("plan_hash", None)
    job = job_request(kind=kind, actor=actor(request), data=data, idempotency_key=key, plan_hash=plan_hash, **rows)
    response["Location"] = job_url(job.pk)
    return Status(202, job_shown(job))
