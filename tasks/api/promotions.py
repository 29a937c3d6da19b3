from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from clusters.forms import REQUEST_FORMS
from clusters.selectors import cluster_get, instance_get
from tasks.api.auth import needs
from tasks.api.bodies import body_of
from tasks.api.requests import PLAN_HASH, IdempotencyKey, requested
from tasks.shown import JobShown

router = Router(tags=["promotions"])

Switchover = body_of("Switchover", REQUEST_FORMS["switchover"], without=("cluster",), **PLAN_HASH)
Failover = body_of("Failover", REQUEST_FORMS["failover"], without=("cluster",), **PLAN_HASH)
Promotion = body_of("Promotion", REQUEST_FORMS["promote"], without=("cluster", "instance"), **PLAN_HASH)


@router.post("/clusters/{name}/switchover", auth=needs("tasks.run_switchover"), response={202: JobShown})
def switchover(request: HttpRequest, response: HttpResponse, name: str, body: Switchover, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Let a standby and the primary change places; no acknowledged commit is lost. `confirm` is the cluster's name."""
    return requested(request, response, "switchover", body, key, cluster=cluster_get(name))


@router.post("/clusters/{name}/failover", auth=needs("tasks.run_failover"), response={202: JobShown})
def failover(request: HttpRequest, response: HttpResponse, name: str, body: Failover, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Let a standby take over from a primary that is gone. `confirm` is the cluster's name; each danger has a flag of its own."""
    return requested(request, response, "failover", body, key, cluster=cluster_get(name))


@router.post("/clusters/{name}/instances/{instance}/promote", auth=needs("tasks.run_promote"), response={202: JobShown})
def promote(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    body: Promotion,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Let a standby leave its cluster and become the primary of one of its own. `confirm` is the instance's name."""
    row = instance_get(name, instance)
    return requested(request, response, "promote", body, key, cluster=row.cluster, instance=row)
