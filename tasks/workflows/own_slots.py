"""Slots that people make and drop by hand: for a backup tool, for a standby that the panel does not manage, or left by one that is gone."""

from __future__ import annotations

from collections.abc import Iterable

from clusters.models import ReplicationPair
from clusters.postgres import rules
from clusters.postgres.statements import DROP_SLOT_IF_FREE, MAKE_SLOT_HERE, Call
from clusters.slots import Owner, slot_owner
from tasks.context import Context
from tasks.plan import PlanItem, PlanRequest
from tasks.workflows.observing import instance_observed
from tasks.workflows.obstacles import obstacles_heeded
from tasks.workflows.planning import planned, planned_spec
from tasks.workflows.slots import slot_dropped
from tasks.workflows.step import PointOfNoReturn, Step, StepFailed, Workflow

# -- create


def place_checked(ctx: Context) -> str:
    """See that the slot can be made"""
    handle, slot = ctx.handle(ctx.instance), _slot(ctx)
    obstacles_heeded(ctx, rules.create_slot_obstacles(handle.observe(), handle.spec.name, slot))
    return f"{handle.spec.name} has no slot {slot} yet, and room for it."


def slot_created(ctx: Context) -> str:
    """Make the slot, which keeps WAL from now on"""
    handle, slot = ctx.handle(ctx.instance), _slot(ctx)
    if handle.observe().slot(slot) is None:
        handle.superuser_run([_make(slot)])
    row = handle.observe().slot(slot)
    if row is None or row.restart_lsn is None:
        raise StepFailed(f"The slot {slot} keeps no WAL on {handle.spec.name}.", "Resume the job: it makes the slot again.")
    return f"The slot {slot} keeps the WAL on {handle.spec.name} from {row.restart_lsn} on, whether anybody reads it or not."


def slot_taken_back(ctx: Context) -> str:
    """Drop the slot that was made"""
    return slot_dropped(ctx, ctx.handle(ctx.instance), _slot(ctx))


def slot_recorded(ctx: Context) -> str:
    """Put down what is there now"""
    instance_observed(ctx.handle(ctx.instance))
    ctx.result(cluster=ctx.cluster.name, instance=ctx.instance.name, slot=_slot(ctx))
    return f"{ctx.instance.name} has the slot {_slot(ctx)}."


# -- drop


def owner_checked(ctx: Context) -> str:
    """See that nobody needs the slot"""
    handle, slot = ctx.handle(ctx.instance), _slot(ctx)
    owner = _owner(ctx)
    declared = owner.name if owner and owner.declared else ""
    facts = handle.observe()
    obstacles_heeded(ctx, rules.drop_slot_obstacles(facts, handle.spec.name, slot, declared))
    row = facts.slot(slot)
    kept = rules.size(facts.lsn - row.restart_lsn) if row and row.restart_lsn is not None else "no"
    ctx.keep_now(cloned_again=owner.name if owner else "")
    return f"Nobody uses {slot}, and the panel declares it for nobody. It keeps {kept} of WAL."


def slot_gone(ctx: Context) -> str:
    """Drop the slot"""
    return slot_dropped(ctx, ctx.handle(ctx.instance), _slot(ctx))


def loss_told(ctx: Context) -> str:
    """Tell who can no longer go on without a new copy"""
    instance_observed(ctx.handle(ctx.instance))
    name = ctx.state_of(owner_checked.__name__)["cloned_again"]
    ctx.result(cluster=ctx.cluster.name, instance=ctx.instance.name, slot=_slot(ctx), clone_again=[name] if name else [])
    if not name:
        return "No instance of this cluster was ever seen to use it."
    return f"{name} was last seen to use it: it must be cloned again if the WAL it needs is gone."


# -- helpers


def _slot(ctx: Context) -> str:
    return str(ctx.params["slot"])


def _owner(ctx: Context) -> Owner | None:
    members = list(ctx.cluster.instances.select_related("server"))
    return slot_owner(ctx.cluster, ctx.instance, _slot(ctx), members, ReplicationPair.objects.filter(standby__cluster=ctx.cluster))


def _make(slot: str) -> Call:
    return Call(MAKE_SLOT_HERE, {}, {"slot": slot})


def _make_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned(planned_spec(request), _make(str(request.params["slot"])))


def _drop_plan(request: PlanRequest) -> Iterable[PlanItem]:
    return planned(planned_spec(request), Call(DROP_SLOT_IF_FREE, {}, {"slot": str(request.params["slot"])}))


CREATE = Workflow(steps=(Step(place_checked), Step(slot_created, undo=slot_taken_back, plan=_make_plan), Step(slot_recorded)))
DROP = Workflow(steps=(Step(owner_checked), PointOfNoReturn(), Step(slot_gone, plan=_drop_plan), Step(loss_told)))
