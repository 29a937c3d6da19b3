"""Adopt a cluster that somebody else has made: from now on it is watched. Nothing on its servers is changed."""

from __future__ import annotations

from clusters import services
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from tasks.context import Context
from tasks.workflows.observing import instance_observed
from tasks.workflows.step import Step, StepFailed, Workflow


def members_seen_again(ctx: Context) -> str:
    """See that every instance is still what was found"""
    if ctx.job.cluster is None:
        raise StepFailed("The panel has forgotten the cluster when this job failed.", "Ask for the adoption anew.")
    for row in _rows(ctx):
        look = instance_observed(ctx.handle(row))
        if look.facts is None:
            raise StepFailed(f"{row.name} on {row.server.name} does not answer any more: {look.error}", "Look for PostgreSQL again.")
        if look.facts.system_identifier != ctx.cluster.system_identifier or look.facts.role != row.role:
            raise StepFailed(
                f"{row.name} on {row.server.name} is not what was found: it is a {look.facts.role}.", "Look for PostgreSQL again."
            )
    return f"{', '.join(f'{row.name} is the {row.role} on {row.server.name}' for row in _rows(ctx))}."


def forgotten_again(ctx: Context) -> str:
    if ctx.job.cluster is not None:
        services.cluster_forget(ctx.job.cluster)
    return "The panel does not have the cluster."


def put_under_watch(ctx: Context) -> str:
    """Watch it from now on"""
    for row in _rows(ctx):
        services.instance_record_lifecycle(row, Lifecycle.READY)
    services.cluster_record_lifecycle(ctx.cluster, Lifecycle.READY)
    ctx.result(cluster=ctx.cluster.name, instances=[row.name for row in _rows(ctx)])
    return f"{ctx.cluster.name} is watched. Nothing on its servers was changed; take it over when you want the panel to act on it."


def _rows(ctx: Context) -> list[Instance]:
    return list(ctx.cluster.instances.select_related("server", "cluster").order_by("role", "name"))  # "primary" sorts before "standby"


WORKFLOW = Workflow(steps=(Step(members_seen_again, undo=forgotten_again), Step(put_under_watch)))
