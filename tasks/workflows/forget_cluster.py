"""Stop watching a cluster that somebody else has made. Nothing on its servers is changed; what a take-over has set stays as it is."""

from __future__ import annotations

from clusters import services
from tasks.context import Context
from tasks.workflows.step import Step, Workflow


def watch_ended(ctx: Context) -> str:
    """Forget the cluster; its servers and its data stay as they are"""
    name = ctx.job.cluster_name
    if ctx.job.cluster is not None:
        services.cluster_forget(ctx.job.cluster)
    return f"{name} is not watched any more. It runs on as it did."


WORKFLOW = Workflow(steps=(Step(watch_ended),))
