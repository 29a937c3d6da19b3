"""A standby's physical slot on its upstream, made and dropped by the replication role over the replication protocol."""

from __future__ import annotations

import time
from typing import Final

from clusters.instances import InstanceHandle
from clusters.models import ReplicationPair
from clusters.postgres.facts import Lsn
from clusters.postgres.names import slot_name
from clusters.postgres.statements import CREATE_SLOT, DROP_SLOT_IF_FREE, Call
from tasks.context import Context
from tasks.workflows.step import StepFailed

RELEASE_SECONDS: Final = 30.0


def create_call(slot: str) -> Call:
    return Call(CREATE_SLOT, {"slot": slot}, {})


def drop_call(slot: str) -> Call:
    return Call(DROP_SLOT_IF_FREE, {}, {"slot": slot})


def unowned_dropped(handle: InstanceHandle) -> list[str]:
    """Drop the idle slots of members that do not follow this instance, left from a time when they did; their names."""
    members = handle.instance.cluster.instances.values_list("name", flat=True)
    theirs = {slot_name(handle.spec.cluster, name) for name in members}
    owned = set(ReplicationPair.objects.filter(upstream=handle.instance).values_list("slot", flat=True))
    idle = [slot.name for slot in handle.observe().slots if slot.name in theirs - owned and slot.type == "physical" and not slot.active]
    if idle:
        handle.superuser_run([drop_call(name) for name in idle])
    return idle


def slot_ensured(upstream: InstanceHandle, standby: InstanceHandle, slot: str) -> Lsn:
    """Make the slot unless it is there; from where on it keeps WAL, as seen on the upstream."""
    if upstream.observe().slot(slot) is None:
        made = standby.replication_run(create_call(slot))
        if not made.ok:
            raise StepFailed(f"The slot {slot} could not be made: {made.stderr.strip()}", "Put right what it names, then resume the job.")
    seen = upstream.observe().slot(slot)
    if seen is None or seen.restart_lsn is None:
        raise StepFailed(f"The slot {slot} keeps no WAL on {upstream.spec.name}.", "Resume the job: it makes the slot again.")
    return seen.restart_lsn


def slot_dropped(ctx: Context, upstream: InstanceHandle, slot: str) -> str:
    """Drop the slot once its owner has let go of it. The caller knows that the owner is gone for good."""
    if not upstream.is_initialised():
        return f"{upstream.spec.name} is gone, and the slot with it."
    if not upstream.is_running():
        name = upstream.spec.name
        raise StepFailed(f"{name} does not run, so its slot {slot} cannot be dropped.", f"Start {name}, then resume the job.")
    end = time.monotonic() + RELEASE_SECONDS
    while (seen := upstream.observe().slot(slot)) is not None:
        if not seen.active:
            upstream.superuser_run([drop_call(slot)])
        elif time.monotonic() > end:
            what = f"The slot {slot} is still in use on {upstream.spec.name} (process {seen.pid})."
            raise StepFailed(what, "Stop whoever uses it, then resume the job.")
        ctx.pause(0.05)
    return f"There is no slot {slot} on {upstream.spec.name}."
