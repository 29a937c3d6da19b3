from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from clusters.adoption_report import DiscoveryShow, discovery_get, discovery_show
from clusters.forms import REQUEST_FORMS
from clusters.selectors import cluster_get
from tasks.api.auth import needs
from tasks.api.bodies import body_of, given
from tasks.api.requests import PLAN_HASH, IdempotencyKey, requested
from tasks.shown import JobShown

router = Router(tags=["adoption"])

Discover = body_of("Discover", REQUEST_FORMS["discover"])
Adopt = body_of("Adopt", REQUEST_FORMS["adopt_cluster"], without=("discovery",), **PLAN_HASH)
TakeOver = body_of("TakeOver", REQUEST_FORMS["take_over"], without=("cluster",), **PLAN_HASH)
Forget = body_of("Forget", REQUEST_FORMS["forget_cluster"], without=("cluster",), **PLAN_HASH)


@router.post("/discoveries", auth=needs("tasks.run_discover"), response={202: JobShown})
def discover(request: HttpRequest, response: HttpResponse, body: Discover, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Find PostgreSQL that the panel has not made, on the named servers or on all. Nothing is changed."""
    return requested(request, response, "discover", body, key)


@router.get("/discoveries/{number}", auth=needs("clusters.view_discovery"), response=DiscoveryShow)
def discovery(request: HttpRequest, number: int) -> Any:
    """What the job of this number found: clusters, their instances, and the findings about each with their cures."""
    return discovery_show(discovery_get(number))


@router.post("/discoveries/{number}/adopt", auth=needs("tasks.run_adopt_cluster"), response={202: JobShown})
def adopt(
    request: HttpRequest,
    response: HttpResponse,
    number: int,
    body: Adopt,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Put a cluster that was found under watch. Nothing on its servers is changed."""
    return requested(request, response, "adopt_cluster", given(body) | {"discovery": number}, key)


@router.post("/clusters/{name}/take-over", auth=needs("tasks.run_take_over"), response={202: JobShown})
def take_over(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    body: TakeOver,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Give the panel roles in an adopted cluster, and each standby a slot and a name; nothing restarts. `confirm` is its name once more."""
    return requested(request, response, "take_over", body, key, cluster=cluster_get(name))


@router.post("/clusters/{name}/forget", auth=needs("tasks.run_forget_cluster"), response={202: JobShown})
def forget_cluster(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    body: Forget,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Stop watching an adopted cluster; it runs on as it does. `confirm` is its name once more."""
    return requested(request, response, "forget_cluster", body, key, cluster=cluster_get(name))
