"""How commands, statements and files become lines of a plan. Pure: a plan is made from what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from clusters.models import Cluster, Instance
from clusters.postgres import commands, containers, files
from clusters.postgres.command import Command
from clusters.postgres.files import File, render_passfile, render_pg_hba
from clusters.postgres.guard import render_guard_conf
from clusters.postgres.spec import InstanceSpec, without
from clusters.postgres.statements import Call
from clusters.secrets import Secret
from clusters.selectors import instance_spec, instance_specs
from tasks.plan import PlanItem, PlanRequest, command_item, file_item, sql_item


def planned_instance(request: PlanRequest) -> Instance:
    if request.instance is None:
        raise LookupError("this plan needs an instance")
    return request.instance


def planned_spec(request: PlanRequest) -> InstanceSpec:
    return instance_spec(planned_instance(request))


def planned_members(request: PlanRequest) -> list[InstanceSpec]:
    """The finished members of the cluster, without the instance the job is about."""
    instance = planned_instance(request)
    return [spec for row, spec in instance_specs(instance.cluster, ready=True) if row.pk != instance.pk]


def planned_cluster(request: PlanRequest) -> Cluster:
    if request.cluster is None:
        raise LookupError("this plan needs a cluster")
    return request.cluster


def planned_rows(request: PlanRequest) -> list[InstanceSpec]:
    """Every finished member of the cluster, the declared primary first."""
    return [spec for _row, spec in instance_specs(planned_cluster(request), ready=True)]


def planned_primary(request: PlanRequest) -> InstanceSpec:
    """The declared primary."""
    return next(spec for spec in planned_rows(request) if spec.role == "primary")


def planned_siblings(request: PlanRequest) -> list[InstanceSpec]:
    """The other standbys that follow the primary or the candidate (the job's instance)."""
    specs = planned_rows(request)
    sources = {planned_instance(request).name, *(spec.name for spec in specs if spec.role == "primary")}
    return [spec for spec in specs if spec.name not in sources and spec.upstream and spec.upstream.name in sources]


def planned(spec: InstanceSpec, *what: Command | Call | File | str) -> Iterator[PlanItem]:
    """Items of a plan on the instance's server; a str is a command line."""
    for thing in what:
        if isinstance(thing, Command):
            yield command_item(spec.server, thing.display())
        elif isinstance(thing, Call):
            yield sql_item(f"{spec.server} ({spec.name})", thing.display())
        elif isinstance(thing, File):
            yield file_item(spec.server, thing.path, thing.diff(None))
        else:
            yield command_item(spec.server, thing)


def planned_fence(spec: InstanceSpec, why: str) -> Iterator[PlanItem]:
    """What `InstanceHandle.fence` does."""
    yield from _planned_policy(spec, "no")
    yield from planned(spec, files.fenced_file(spec, why), files.standby_signal(spec.data_directory))


def planned_unfence(spec: InstanceSpec) -> Iterator[PlanItem]:
    """What `InstanceHandle.unfence` does to one that is to be a standby."""
    yield from planned(spec, f"rm {spec.fenced_file}")
    yield from _planned_policy(spec, "unless-stopped")


def _planned_policy(spec: InstanceSpec, policy: str) -> Iterator[PlanItem]:
    if spec.container:
        yield from planned(spec, containers.restart_policy(spec, policy))


def planned_change(spec: InstanceSpec, before: File | None, after: File) -> Iterator[PlanItem]:
    """A file that is there and is written anew: only what changes in it; nothing where nothing does."""
    if diff := after.diff(before.content if before else None):
        yield file_item(spec.server, after.path, diff)


def planned_admission(specs: Iterable[InstanceSpec], newcomer: str) -> Iterator[PlanItem]:
    """What makes each instance admit the member `newcomer`."""
    for spec in specs:
        yield from _planned_membership(without(spec, newcomer), spec)


def planned_expulsion(specs: Iterable[InstanceSpec], leaver: str) -> Iterator[PlanItem]:
    """What makes each instance forget the member `leaver`."""
    for spec in specs:
        yield from _planned_membership(spec, without(spec, leaver))


def _planned_membership(before: InstanceSpec, after: InstanceSpec) -> Iterator[PlanItem]:
    """The same password on both sides, so that only the members differ; its text is not shown anyway."""
    password = Secret("the same")
    pairs = (
        (render_passfile(before, password), render_passfile(after, password)),
        (render_pg_hba(before), render_pg_hba(after)),
        (render_guard_conf(before), render_guard_conf(after)),
    )
    diffs = [(new.path, new.diff(old.content)) for old, new in pairs]
    for path, diff in diffs:
        if diff:
            yield file_item(after.server, path, diff)
    if any(diff for _path, diff in diffs):
        yield from planned(after, commands.pg_ctl_reload(after))
