"""The workflows: one file each, read top to bottom. Here is how a job comes to its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.utils.module_loading import import_string

from tasks.kinds import KINDS
from tasks.models import Job, JobStep
from tasks.plan import plan_hash

if TYPE_CHECKING:
    from tasks.workflows.step import Workflow


def workflow_of(kind: str) -> Workflow:
    """The workflow of a kind of job, loaded when it is first asked for: the table names it by its dotted path."""
    return cast("Workflow", import_string(KINDS[kind].workflow))


def plan_set(job: Job) -> None:
    """Make the plan from the job as it is now."""
    job.plan = workflow_of(job.kind).plan(job)
    job.plan_hash = plan_hash(job.plan)


def steps_create(job: Job) -> None:
    steps = workflow_of(job.kind).steps
    JobStep.objects.bulk_create(JobStep(job=job, position=n, name=step.name, title=step.title) for n, step in enumerate(steps, start=1))
