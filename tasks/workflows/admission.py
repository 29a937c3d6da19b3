"""Every member of a cluster admits every other for replication, and its start guard asks every other; both follow the membership."""

from __future__ import annotations

from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres.files import render_passfile, render_pg_hba
from clusters.postgres.spec import without
from tasks.context import Context
from tasks.workflows.step import StepFailed


def members_of(ctx: Context, *, but: Instance | None = None) -> list[InstanceHandle]:
    """The finished instances of the cluster."""
    rows = ctx.cluster.instances.filter(lifecycle=Lifecycle.READY).select_related("server", "cluster").order_by("role", "name")
    return [ctx.handle(row) for row in rows if but is None or row.pk != but.pk]


def admission_updated(ctx: Context, handles: list[InstanceHandle], leaver: Instance | None = None) -> list[str]:
    """Bring pg_hba.conf, passfile and start guard of each instance up to date, reload where it runs, and see that the server can use them.

    `leaver`: leave this instance out although it is still declared. Returns the names of the instances that changed.
    """
    changed = []
    for handle in handles:
        spec = without(handle.spec, leaver.name) if leaver else handle.spec
        written = handle.put_files([render_passfile(spec, ctx.cluster.replication_password), render_pg_hba(spec)])
        written += handle.put_guard(spec)
        if written:
            changed.append(handle.spec.name)
        if written or ctx.undoing or ctx.row.attempts > 1:  # a worker before this one may have died between file and reload
            _taken_over(handle)
    return changed


def _taken_over(handle: InstanceHandle) -> None:
    if not handle.is_running():
        return
    handle.reload()
    if errors := handle.file_errors():
        raise StepFailed(
            f"{handle.spec.name} cannot use a line of its pg_hba.conf: {errors[0]}",
            "Report this: the panel wrote a line PostgreSQL refuses.",
        )
