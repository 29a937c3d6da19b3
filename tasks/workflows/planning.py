"""How commands, statements and files become lines of a plan. Pure: a plan is made from what is declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres.commands import Command
from clusters.postgres.files import File, render_pg_hba
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import Call
from clusters.selectors import instance_spec
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
    rows = instance.cluster.instances.filter(lifecycle=Lifecycle.READY).exclude(pk=instance.pk).select_related("server", "cluster")
    return [instance_spec(row) for row in rows.order_by("role", "name")]


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


def planned_expulsion(specs: Iterable[InstanceSpec], leaver: str) -> Iterator[PlanItem]:
    """What takes `leaver` out of each instance's pg_hba.conf."""
    for spec in specs:
        after = render_pg_hba(replace(spec, members=tuple(member for member in spec.members if member.name != leaver)))
        if diff := after.diff(render_pg_hba(spec).content):
            yield file_item(spec.server, after.path, diff)


def planned_admission(specs: Iterable[InstanceSpec], newcomer: str) -> Iterator[PlanItem]:
    """What lets `newcomer` in on each instance: the difference in its pg_hba.conf."""
    for spec in specs:
        before = replace(spec, members=tuple(member for member in spec.members if member.name != newcomer))
        file = render_pg_hba(spec)
        if diff := file.diff(render_pg_hba(before).content):
            yield file_item(spec.server, file.path, diff)
