from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from clusters.copies import CopyShow, copy_owner, kept_copies
from clusters.forms import REQUEST_FORMS
from clusters.selectors import instance_get
from tasks.api.auth import needs
from tasks.api.bodies import Body, body_of, given
from tasks.api.requests import PLAN_HASH, IdempotencyKey, requested
from tasks.shown import JobShown

router = Router(tags=["rejoin"])

Rejoin = body_of("Rejoin", REQUEST_FORMS["rejoin"], without=("cluster", "instance"), **PLAN_HASH)
RestoreCopy = body_of("RestoreCopy", REQUEST_FORMS["restore_copy"], without=("cluster", "instance", "copy"), **PLAN_HASH)
PurgeCopy = body_of("PurgeCopy", REQUEST_FORMS["purge_copy"], without=("cluster", "copy"), **PLAN_HASH)


@router.post("/clusters/{name}/instances/{instance}/rejoin", auth=needs("tasks.run_rejoin"), response={202: JobShown})
def rejoin(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    body: Rejoin,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Let an instance that has left its cluster's replication follow again. `confirm` is its name; `up_to` how far this may go."""
    row = instance_get(name, instance)
    return requested(request, response, "rejoin", body, key, cluster=row.cluster, instance=row)


@router.get("/clusters/{name}/copies", auth=needs("clusters.view_cluster"), response=list[CopyShow])
def copies(request: HttpRequest, name: str) -> Any:
    """The data directories that were put aside, with a shell line that starts each on its own; also of a cluster that is gone."""
    return kept_copies(name)


@router.post("/clusters/{name}/copies/{copy_id}/restore", auth=needs("tasks.run_restore_copy"), response={202: JobShown})
def restore(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    copy_id: int,
    body: RestoreCopy,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Put a kept copy back into its place; what is there now is kept instead. `confirm` is the instance's name."""
    row = instance_get(name, copy_owner(name, copy_id))
    return requested(request, response, "restore_copy", _with_copy(body, copy_id), key, cluster=row.cluster, instance=row)


@router.post("/clusters/{name}/copies/{copy_id}/purge", auth=needs("tasks.run_purge_copy"), response={202: JobShown})
def purge(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    copy_id: int,
    body: PurgeCopy,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Delete a kept copy for good. `confirm` is the cluster's name, also where the cluster is gone."""
    data = {**_with_copy(body, copy_id), "cluster": name}
    return requested(request, response, "purge_copy", data, key)


def _with_copy(body: Body, copy: int) -> dict[str, Any]:
    return {**given(body), "copy": copy}
