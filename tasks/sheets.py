"""Runbooks of jobs and of requests that were not made: the plan as it is stored or previewed, with the places as they are recorded."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpResponse
from django.utils import timezone

from clusters.models import Instance
from clusters.postgres.spec import InstanceSpec
from clusters.selectors import instance_spec, instance_specs
from tasks.kinds import KINDS
from tasks.models import Job
from tasks.runbook import Head, Machine, Places, filename, runbook
from tasks.workflows import workflow_of
from tasks.workflows.step import PointOfNoReturn


def places_of(job: Job) -> Places:
    """The servers and instances of what the job acts on, as recorded now; the job need not be stored."""
    members = instance_specs(job.cluster) if job.cluster else []
    if job.instance is not None and job.instance.pk not in {row.pk for row, _spec in members}:
        members.append((job.instance, instance_spec(job.instance)))
    machines = {row.server.name: Machine(row.server.address, row.server.run_as) for row, _spec in members}
    if job.server is not None:
        machines[job.server.name] = Machine(job.server.address, job.server.run_as)
    return Places(machines, {row.name: _found(job, row, spec) for row, spec in members})


def _found(job: Job, row: Instance, spec: InstanceSpec) -> InstanceSpec:
    """The instance where the plan's statements find it: one that leaves has moved to its new cluster's directory by then."""
    moves = job.kind == "promote" and row.name == job.instance_name and row.cluster_id == job.cluster_id
    return replace(spec, cluster=str(job.params["new_cluster"])) if moves else spec


def head_of(job: Job) -> Head:
    """For a job that is stored or only previewed."""
    steps = workflow_of(job.kind).steps
    after = [steps[n + 1].name for n, step in enumerate(steps[:-1]) if isinstance(step, PointOfNoReturn)]
    target = "/".join(name for name in (job.cluster_name, job.instance_name) if name) or (job.server.name if job.server else "")
    kind = str(KINDS[job.kind].name).replace("_", " ")
    return Head(f"{kind} of {target}" if target else kind, timezone.now(), job.plan_hash, job.pk, after[0] if after else "")


def job_runbook(job: Job) -> tuple[Head, str]:
    head = head_of(job)
    return head, runbook(job.plan, head, places_of(job))


def job_with_places(job_id: int) -> Job:
    """Raises: Job.DoesNotExist."""
    return Job.objects.select_related("cluster", "server", "instance__server", "instance__cluster").get(pk=job_id)


def sheet_response(head: Head, text: str) -> HttpResponse:
    """As a file to keep, never shown in the page's own origin."""
    headers = {"Content-Disposition": f'attachment; filename="{filename(head)}"', "Cache-Control": "no-store"}
    return HttpResponse(text, content_type="text/x-shellscript; charset=utf-8", headers=headers)
