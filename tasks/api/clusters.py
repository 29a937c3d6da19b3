from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from clusters.forms import REQUEST_FORMS
from clusters.models import Cluster
from clusters.schedule_forms import ScheduleForm
from clusters.selectors import ClusterShow, cluster_get, cluster_list, cluster_show, cluster_slots, instance_get
from clusters.slots import SlotShow
from tasks.api.auth import actor, needs
from tasks.api.bodies import After, Body, Limit, body_of, given
from tasks.api.requests import PLAN_HASH, IdempotencyKey, requested
from tasks.board import Act, BoardShown, board_show
from tasks.forecasts import SpaceShow, forecasts_of, space_shown
from tasks.scheduling import CHANGE, ScheduleShown, schedule_change, schedules_shown
from tasks.services import job_preview
from tasks.shown import PAGE_MAX, JobShown

router = Router(tags=["clusters"])
ScheduleChanges = body_of("ScheduleChanges", ScheduleForm)
ScheduleChanges.needed = ()  # what is left out stays
HERE = ("cluster", "instance")  # what the address names

NewCluster = body_of("NewCluster", REQUEST_FORMS["create_cluster"], **PLAN_HASH)
NewStandby = body_of("NewStandby", REQUEST_FORMS["add_standby"], without=("cluster",), **PLAN_HASH)
NewVerify = body_of("NewVerify", REQUEST_FORMS["verify"], without=HERE, **PLAN_HASH)
Reason = body_of("Reason", REQUEST_FORMS["start_instance"], without=HERE, **PLAN_HASH)
Confirmed = body_of("Confirmed", REQUEST_FORMS["stop_instance"], without=HERE, **PLAN_HASH)
NewSync = body_of("NewSync", REQUEST_FORMS["set_sync"], without=HERE, **PLAN_HASH)
NewSlot = body_of("NewSlot", REQUEST_FORMS["create_slot"], without=HERE, **PLAN_HASH)


class PlanRequest(Body):
    """Which kind of job, and what would be sent to ask for it."""

    kind: str
    data: dict[str, Any] = {}


class Plan(Body):
    plan: list[dict[str, Any]]
    plan_hash: str
    params: dict[str, Any]


@router.get("/clusters", auth=needs("clusters.view_cluster"), response=list[ClusterShow])
def clusters(request: HttpRequest, after: After = "", limit: Limit = PAGE_MAX) -> Any:
    """The clusters by name, with their instances; `after` the last name of a page gives the next page."""
    return cluster_list(after, limit)


class ClusterAndSpace(ClusterShow):
    space: list[SpaceShow]  # of each instance's disk and slots: when it is full or lost


@router.get("/clusters/{name}", auth=needs("clusters.view_cluster"), response=ClusterAndSpace)
def cluster(request: HttpRequest, name: str) -> Any:
    """One cluster, with its instances, and when their disks will be full and their slots lost."""
    shown = cluster_show(name)
    found = Cluster.objects.filter(name=shown["name"]).values_list("pk", flat=True)
    return {**shown, "space": space_shown(forecasts_of(clusters=found))}


@router.get("/clusters/{name}/board", auth=needs("clusters.view_cluster"), response=BoardShown)
def board(request: HttpRequest, name: str, act: Act = "switchover") -> Any:
    """The eligibility board: every standby under every rule of an act, from the last look. Nothing is looked at anew."""
    return board_show(name, act)


@router.get("/clusters/{name}/schedules", auth=needs("clusters.view_cluster"), response=list[ScheduleShown])
def schedules(request: HttpRequest, name: str) -> Any:
    """When the cluster is verified by itself, at which depth, and when it was last."""
    row = cluster_get(name)
    return schedules_shown([row])[row.pk]


@router.patch("/clusters/{name}/schedules", auth=needs(CHANGE), response=list[ScheduleShown])
def change_schedules(request: HttpRequest, name: str, body: ScheduleChanges) -> Any:  # type: ignore[valid-type]
    """Change what is given."""
    row = cluster_get(name)
    schedule_change(actor=actor(request), cluster=row, data=given(body))
    return schedules_shown([row])[row.pk]


@router.post("/clusters", auth=needs("tasks.run_create_cluster"), response={202: JobShown})
def create(request: HttpRequest, response: HttpResponse, body: NewCluster, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Create a cluster: its primary."""
    return requested(request, response, "create_cluster", body, key)


@router.delete("/clusters/{name}", auth=needs("tasks.run_remove_cluster"), response={202: JobShown})
def remove(request: HttpRequest, response: HttpResponse, name: str, confirm: str = "", reason: str = "", key: IdempotencyKey = None) -> Any:
    """Give up a cluster; its data goes to quarantine. `confirm` is its name once more."""
    data = {"confirm": confirm, "reason": reason}
    return requested(request, response, "remove_cluster", data, key, cluster=cluster_get(name))


@router.post("/clusters/{name}/standbys", auth=needs("tasks.run_add_standby"), response={202: JobShown})
def add_standby(request: HttpRequest, response: HttpResponse, name: str, body: NewStandby, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Add a standby: a base backup that then follows its upstream."""
    return requested(request, response, "add_standby", body, key, cluster=cluster_get(name))


@router.delete("/clusters/{name}/standbys/{instance}", auth=needs("tasks.run_remove_standby"), response={202: JobShown})
def remove_standby(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    confirm: str = "",
    reason: str = "",
    key: IdempotencyKey = None,
) -> Any:
    """Remove a standby; its slot is dropped, its data goes to quarantine. `confirm` is its name once more."""
    data = {"confirm": confirm, "reason": reason}
    row = instance_get(name, instance)
    return requested(request, response, "remove_standby", data, key, cluster=row.cluster, instance=row)


@router.post("/clusters/{name}/verify", auth=needs("tasks.run_verify"), response={202: JobShown})
def verify(request: HttpRequest, response: HttpResponse, name: str, body: NewVerify, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Look at every pair of the cluster now."""
    return requested(request, response, "verify", body, key, cluster=cluster_get(name))


@router.post("/clusters/{name}/instances/{instance}/start", auth=needs("tasks.run_start_instance"), response={202: JobShown})
def start(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    body: Reason,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Start an instance."""
    row = instance_get(name, instance)
    return requested(request, response, "start_instance", body, key, cluster=row.cluster, instance=row)


@router.post("/clusters/{name}/instances/{instance}/stop", auth=needs("tasks.run_stop_instance"), response={202: JobShown})
def stop(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    body: Confirmed,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Stop an instance. `confirm` is its name once more."""
    row = instance_get(name, instance)
    return requested(request, response, "stop_instance", body, key, cluster=row.cluster, instance=row)


@router.post("/clusters/{name}/instances/{instance}/restart", auth=needs("tasks.run_restart_instance"), response={202: JobShown})
def restart(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    body: Confirmed,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Restart an instance. `confirm` is its name once more."""
    row = instance_get(name, instance)
    return requested(request, response, "restart_instance", body, key, cluster=row.cluster, instance=row)


@router.post("/clusters/{name}/sync", auth=needs("tasks.run_set_sync"), response={202: JobShown})
def set_sync(request: HttpRequest, response: HttpResponse, name: str, body: NewSync, key: IdempotencyKey = None) -> Any:  # type: ignore[valid-type]
    """Change whom commits wait for. `confirm` is the cluster's name once more."""
    return requested(request, response, "set_sync", body, key, cluster=cluster_get(name))


@router.get("/clusters/{name}/slots", auth=needs("clusters.view_cluster"), response=list[SlotShow])
def slots(request: HttpRequest, name: str) -> Any:
    """The replication slots on every instance, as the last looks saw them."""
    return cluster_slots(name)


@router.post("/clusters/{name}/instances/{instance}/slots", auth=needs("tasks.run_create_slot"), response={202: JobShown})
def create_slot(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    body: NewSlot,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Make a physical slot, which keeps WAL from then on."""
    row = instance_get(name, instance)
    return requested(request, response, "create_slot", body, key, cluster=row.cluster, instance=row)


@router.delete("/clusters/{name}/instances/{instance}/slots", auth=needs("tasks.run_drop_slot"), response={202: JobShown})
def drop_slot(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    instance: str,
    slot: str = "",
    confirm: str = "",
    reason: str = "",
    key: IdempotencyKey = None,
) -> Any:
    """Drop a slot that nobody uses and no member owns. `confirm` is the slot's name once more."""
    row = instance_get(name, instance)
    data = {"slot": slot, "confirm": confirm, "reason": reason}
    return requested(request, response, "drop_slot", data, key, cluster=row.cluster, instance=row)


@router.post("/clusters/{name}/plan", auth=needs("clusters.view_cluster"), response=Plan)
def plan(request: HttpRequest, name: str, body: PlanRequest) -> Any:
    """What a job would do, step by step, without doing it. Needs the permission to ask for the job."""
    about = {"name": name} if body.kind == "create_cluster" else {"cluster": name}
    return vars(job_preview(kind=body.kind, actor=actor(request), data={**body.data, **about}))
