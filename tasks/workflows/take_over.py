"""Take over a cluster that somebody else has made: the panel gets roles, standbys get slots and names, and nothing restarts.

Each file that changes is shown as a diff and its old content is kept; what PostgreSQL does not take is put back. Until every standby
was seen to stream through its own slot each step can be undone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from clusters import services
from clusters.adopted import AdoptedHandle
from clusters.discovery import hba_shown
from clusters.models import Instance, ReplicationPair
from clusters.postgres import statements
from clusters.postgres.files import File, admitted_too, diff, primary_conninfo, render_passfile
from clusters.postgres.layout import Layout
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import Call
from clusters.secrets import Secret
from clusters.selectors import instance_specs
from tasks.context import Context
from tasks.plan import JOB_NUMBER, PlanItem, PlanRequest, file_item
from tasks.workflows.marker import marker_arrived, marker_plan, marker_write
from tasks.workflows.observing import pair_observed, streaming_awaited
from tasks.workflows.planning import planned, planned_cluster
from tasks.workflows.step import PointOfNoReturn, Step, StepFailed, Workflow

#: What a slot may keep: as in a cluster that the panel makes.
SLOT_CAP: Final = "10GB"
LOGIN_SECONDS: Final = 20.0


def grounds_checked(ctx: Context) -> str:
    """See that every instance is as it was when the plan was made"""
    for handle in _handles(ctx):
        facts = handle.observe()
        if facts.system_identifier != ctx.cluster.system_identifier or facts.role != handle.instance.role:
            what = f"{handle.spec.name} is a {facts.role} of the system {facts.system_identifier}: it is not what was adopted."
            raise StepFailed(what, "Stop watching the cluster, look for PostgreSQL again, and adopt what is found.")
        text = hba_shown(handle.read_text(handle.layout.hba_file) or "")
        if text != handle.layout.hba_text:
            services.layout_record(handle.instance, replace(handle.layout, hba_text=text))
            raise StepFailed(
                f"pg_hba.conf of {handle.spec.name} has changed since the plan was made.", "Ask again, and look at the new plan."
            )
    for pair in _pairs(ctx):
        pair_observed(ctx, pair)
        if pair.state != "streaming":
            raise StepFailed(f"{pair.standby.name} does not stream.", "Put that right first: see its log.")
    return "Every instance is as it was, and every standby streams."


def roles_made(ctx: Context) -> str:
    """Make the panel's roles and its schema, on the primary"""
    handle = _primary(ctx)
    handle.machine.make_base_directory(handle.spec.base_directory)
    handle.superuser_run(_role_calls(handle.spec, ctx.cluster.replication_password, ctx.cluster.panel_password))
    return f"{handle.spec.replication_role} and {handle.spec.panel_role} can log in, with no more rights than each needs."


def roles_shut_out(ctx: Context) -> str:
    handle = _primary(ctx)
    roles = (handle.spec.replication_role, handle.spec.panel_role)
    handle.superuser_run([Call(statements.SHUT_ROLE_OUT, {}, {"name": role}) for role in roles])
    return "The panel's roles can log in no more."


def members_admitted(ctx: Context) -> str:
    """Admit the panel and the members in pg_hba.conf, by a reload"""
    changed = []
    for handle in _handles(ctx):
        handle.machine.make_base_directory(handle.spec.base_directory)
        old = handle.read_text(handle.layout.hba_file) or ""
        if handle.put_file(_hba(handle.spec, handle.layout, old), _hba_kept(handle.spec, ctx.job.pk)):
            changed.append(handle.spec.name)
        handle.reload()
        if errors := handle.file_errors():
            what = f"{handle.spec.name} cannot use a line of its files: {errors[0]}"
            raise StepFailed(what, "The old file is put back. Correct that line, then ask again.")
    return f"{', '.join(changed)} admit the panel and each other; the old files are kept beside them." if changed else "Already so."


def admission_taken_back(ctx: Context) -> str:
    for handle in _handles(ctx):
        handle.put_back(handle.layout.hba_file, _hba_kept(handle.spec, ctx.job.pk))
        handle.reload()
    return "Every pg_hba.conf is as it was."


def panel_let_in(ctx: Context) -> str:
    """See that the panel gets in to every instance as its own role"""
    end = time.monotonic() + LOGIN_SECONDS  # on a standby the role must arrive first
    for handle in _handles(ctx):
        while not handle.panel_let_in():
            if time.monotonic() > end:
                where = f"{handle.spec.name} at {handle.spec.address}:{handle.spec.port}"
                what = f"The panel does not get in to {where} as {handle.spec.panel_role}."
                raise StepFailed(what, "See which address its log names, and whether a line of pg_hba.conf before the panel's refuses it.")
            ctx.pause(0.2)
    return "It does."


def slots_made(ctx: Context) -> str:
    """Make a slot for each standby"""
    for pair in _pairs(ctx):
        upstream, standby = _handle(ctx, pair.upstream), _handle(ctx, pair.standby)
        upstream.superuser_run([_slot_call(standby.spec)])
    return "Each standby has a slot on its upstream."


def slots_taken_away(ctx: Context) -> str:
    for pair in _pairs(ctx):
        upstream, standby = _handle(ctx, pair.upstream), _handle(ctx, pair.standby)
        if _slot(standby.spec) != pair.slot:  # else it had it before
            upstream.superuser_run([Call(statements.DROP_SLOT_IF_FREE, {}, {"slot": _slot(standby.spec)})])
    return "The slots are gone again."


def standbys_led(ctx: Context) -> str:
    """Have each standby follow under its own name, through its slot, with a password file, by a reload"""
    said = []
    for pair in _pairs(ctx):
        upstream, standby = _handle(ctx, pair.upstream), _handle(ctx, pair.standby)
        standby.put_file(render_passfile(standby.spec, ctx.cluster.replication_password))
        standby.keep_copy(_auto(standby.spec), _auto_kept(standby.spec, ctx.job.pk))
        standby.superuser_run(_follow_calls(standby.spec))
        said.append(streaming_awaited(ctx, upstream, standby, _slot(standby.spec)))
    return " ".join(said)


def standbys_led_back(ctx: Context) -> str:
    for pair in _pairs(ctx):
        upstream, standby = _handle(ctx, pair.upstream), _handle(ctx, pair.standby)
        standby.put_back(_auto(standby.spec), _auto_kept(standby.spec, ctx.job.pk))
        standby.reload()
        _slot_left(ctx, upstream, _slot(standby.spec))
        for path in (_auto_kept(standby.spec, ctx.job.pk), standby.spec.passfile):
            standby.take_away(path)
    return "Each standby follows as it did."


def _slot_left(ctx: Context, upstream: AdoptedHandle, slot: str) -> None:
    """Wait until the standby has let go of its slot: its receiver connects anew after the reload."""
    end = time.monotonic() + LOGIN_SECONDS
    while (row := upstream.observe().slot(slot)) and row.active and time.monotonic() < end:
        ctx.pause(0.1)


def slots_capped(ctx: Context) -> str:
    """Keep slots from filling a disk"""
    changed = [handle for handle in _handles(ctx) if handle.observe().settings.get("max_slot_wal_keep_size") == "-1"]
    ctx.keep_now(capped=[*ctx.state.get("capped", []), *(handle.spec.name for handle in changed)])
    for handle in changed:
        handle.superuser_run([_cap(), Call(statements.RELOAD, {}, {})])
    return f"{', '.join(handle.spec.name for handle in changed)}: a slot keeps {SLOT_CAP} at most." if changed else "Already so."


def slots_uncapped(ctx: Context) -> str:
    for handle in _handles(ctx):
        if handle.spec.name in ctx.state.get("capped", []):
            handle.superuser_run([Call(statements.UNCAP_SLOTS, {}, {}), Call(statements.RELOAD, {}, {})])
    return "The limit is as it was."


def taken_over(ctx: Context) -> str:
    """Put down that the cluster is the panel's from now on"""
    services.cluster_record_taken_over(ctx.cluster)
    for pair in _pairs(ctx):  # the copy holds the old password in clear, which is what the change was for
        standby = _handle(ctx, pair.standby)
        standby.take_away(_auto_kept(standby.spec, ctx.job.pk))
    return f"{ctx.cluster.name} is taken over; nothing was restarted."


def marker_passed(ctx: Context) -> str:
    """Write a row on the primary and read it on each standby"""
    token = marker_write(ctx, _primary(ctx))
    for pair in _pairs(ctx):
        marker_arrived(ctx, _handle(ctx, pair.standby), token)
        pair_observed(ctx, pair)
    ctx.result(cluster=ctx.cluster.name, token=token)
    return f"The row {token} was read on every standby."


# -- who


def _rows(ctx: Context) -> Iterator[Instance]:
    yield from ctx.cluster.instances.select_related("server", "cluster").order_by("role", "name")  # "primary" sorts before "standby"


def _pairs(ctx: Context) -> Iterable[ReplicationPair]:
    rows = ReplicationPair.objects.filter(standby__cluster=ctx.cluster).order_by("standby__name")
    return list(rows.select_related("upstream__server", "upstream__cluster", "standby__server", "standby__cluster"))


def _handles(ctx: Context) -> list[AdoptedHandle]:
    return [_handle(ctx, row) for row in _rows(ctx)]


def _handle(ctx: Context, row: Instance) -> AdoptedHandle:
    return AdoptedHandle(row, ctx, taking_over=True)


def _primary(ctx: Context) -> AdoptedHandle:
    return _handles(ctx)[0]


# -- what


def _role_calls(spec: InstanceSpec, replication: Secret, panel: Secret) -> list[Call]:
    roles = statements.panel_role_calls(spec, replication, panel)
    return [*roles, *statements.grant_calls(spec), *statements.panel_schema_calls(spec)]


def _slot(spec: InstanceSpec) -> str:
    assert spec.upstream is not None, f"{spec.name} has no upstream"
    return spec.upstream.slot


def _slot_call(spec: InstanceSpec) -> Call:
    return Call(statements.MAKE_SLOT_HERE, {}, {"slot": _slot(spec)})


def _follow_calls(spec: InstanceSpec) -> list[Call]:
    return [
        Call(statements.FOLLOW_BY, {}, {"conninfo": primary_conninfo(spec)}),
        Call(statements.FOLLOW_THROUGH, {}, {"slot": _slot(spec)}),
        Call(statements.RELOAD, {}, {}),
    ]


def _cap() -> Call:
    return Call(statements.CAP_SLOTS, {}, {"size": SLOT_CAP})


def _hba(spec: InstanceSpec, layout: Layout, old: str) -> File:
    return File(layout.hba_file, admitted_too(spec, old), 0o600)


def _hba_kept(spec: InstanceSpec, job: int | str) -> str:
    return f"{spec.data_directory}/pg_hba.conf.before-{job}"


def _auto(spec: InstanceSpec) -> str:
    return f"{spec.data_directory}/postgresql.auto.conf"


def _auto_kept(spec: InstanceSpec, job: int | str) -> str:
    return f"{_auto(spec)}.before-{job}"


# -- the plan


def _planned_rows(request: PlanRequest) -> list[tuple[Instance, InstanceSpec]]:
    return instance_specs(planned_cluster(request))


def _roles_plan(request: PlanRequest) -> Iterable[PlanItem]:
    _row, spec = _planned_rows(request)[0]
    return planned(spec, *_role_calls(spec, Secret("-"), Secret("-")))


def _admission_plan(request: PlanRequest) -> Iterable[PlanItem]:
    for row, spec in _planned_rows(request):
        layout = Layout.from_row(row.layout)
        file = _hba(spec, layout, layout.hba_text)
        yield from planned(spec, layout.typed("cp", "-p", file.path, _hba_kept(spec, JOB_NUMBER)))
        yield file_item(spec.server, layout.hba_source or file.path, diff(file.path, layout.hba_text, file.content))
        yield from planned(spec, Call(statements.RELOAD, {}, {}))


def _slots_plan(request: PlanRequest) -> Iterable[PlanItem]:
    specs = {spec.name: spec for _row, spec in _planned_rows(request)}
    for spec in specs.values():
        if spec.upstream:
            yield from planned(specs[spec.upstream.name], _slot_call(spec))


def _lead_plan(request: PlanRequest) -> Iterable[PlanItem]:
    for row, spec in _planned_rows(request):
        if spec.upstream:
            layout, passfile = Layout.from_row(row.layout), render_passfile(spec, Secret("-"))
            yield file_item(spec.server, layout.outside(passfile.path), passfile.diff(None))
            yield from planned(spec, layout.typed("cp", "-p", _auto(spec), _auto_kept(spec, JOB_NUMBER)))
            yield file_item(spec.server, layout.outside(_auto(spec)), _auto_diff(spec))
            yield from planned(spec, *_follow_calls(spec))


def _auto_diff(spec: InstanceSpec) -> str:
    """What ALTER SYSTEM does to the file: its old line may hold a password, so only what comes is shown."""
    return f"+primary_conninfo = '{primary_conninfo(spec)}'\n+primary_slot_name = '{_slot(spec)}'\n"


def _cap_plan(request: PlanRequest) -> Iterable[PlanItem]:
    for _row, spec in _planned_rows(request):
        yield from planned(spec, _cap(), Call(statements.RELOAD, {}, {}))


def _taken_plan(request: PlanRequest) -> Iterable[PlanItem]:
    for row, spec in _planned_rows(request):
        if spec.upstream:
            yield from planned(spec, Layout.from_row(row.layout).typed("rm", "-f", _auto_kept(spec, JOB_NUMBER)))


def _marker_plan(request: PlanRequest) -> Iterable[PlanItem]:
    (_row, primary), *standbys = _planned_rows(request)
    for _standby, spec in standbys:
        yield from marker_plan(primary, spec, planned_cluster(request).epoch)


WORKFLOW = Workflow(
    steps=(
        Step(grounds_checked),
        Step(roles_made, undo=roles_shut_out, plan=_roles_plan),
        Step(members_admitted, undo=admission_taken_back, plan=_admission_plan),
        Step(panel_let_in),
        Step(slots_made, undo=slots_taken_away, plan=_slots_plan),
        Step(standbys_led, undo=standbys_led_back, plan=_lead_plan),
        Step(slots_capped, undo=slots_uncapped, plan=_cap_plan),
        PointOfNoReturn(),
        Step(taken_over, plan=_taken_plan),
        Step(marker_passed, plan=_marker_plan),
    ),
    summary=lambda ctx: (
        f"{ctx.job.cluster_name} is taken over: the panel's roles, a slot and a name for each standby. Nothing was restarted."
    ),
)
