"""A fresh look at the members of a cluster, for the rules about promotions."""

from __future__ import annotations

from dataclasses import replace

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres import commands
from clusters.postgres.command import ENGLISH
from clusters.postgres.facts import InstanceFacts, Lsn
from clusters.postgres.promotion_facts import MemberFacts, PromotionFacts, Surroundings
from clusters.postgres.spec import Upstream
from tasks.context import Context
from tasks.members import facts_around, member_declared
from tasks.workflows.observing import instance_observed
from tasks.workflows.place import extensions_used
from tasks.workflows.rejoining import history_of


def members_ready(ctx: Context) -> list[Instance]:
    """The finished instances of the cluster, the declared primary first."""
    rows = ctx.cluster.instances.filter(lifecycle=Lifecycle.READY).select_related("server", "cluster", "pair__upstream")
    return list(rows.order_by("role", "name"))  # "primary" sorts before "standby"


def as_recorded(row: Instance) -> Instance:
    """The row and its cluster as they are now: steps before this one have changed them, through other objects of the same rows."""
    return Instance.objects.select_related("server", "cluster").get(pk=row.pk)


def promotion_facts(ctx: Context, candidate: Instance) -> PromotionFacts:
    """Look at every member now, put down what was seen, and give it to the rules.

    Everybody who would follow the candidate tries a real replication login to it, from its own server.
    """
    rows = members_ready(ctx)
    seen = {row.pk: member_looked(ctx, row) for row in rows}
    facts = facts_around(ctx.cluster, seen[candidate.pk], seen.values())
    tried = logins_tried(ctx, candidate, [row for row in rows if row.name in facts.followers])
    parity = facts.parity
    used = extensions_used(ctx, ctx.handle(candidate), parity.here, parity.there) if facts.candidate.now else None
    around = replace(facts.candidate.around, logins=tried, extensions_used=used)
    services.instance_record_surroundings(candidate, around.as_row())
    return replace(facts, candidate=replace(facts.candidate, around=around))


def promotion_facts_of(ctx: Context, candidates: list[Instance]) -> list[PromotionFacts]:
    """The same for several candidates from one look, without the logins."""
    rows = members_ready(ctx)
    seen = {row.pk: member_looked(ctx, row) for row in rows}
    return [facts_around(ctx.cluster, seen[candidate.pk], seen.values()) for candidate in candidates]


def member_looked(ctx: Context, row: Instance) -> MemberFacts:
    """One member as it is now; what was seen is put down."""
    handle = ctx.handle(row)
    look = instance_observed(handle)
    around = _surroundings(ctx, handle)
    services.instance_record_surroundings(row, around.as_row())
    return replace(
        member_declared(ctx.cluster.name, row, getattr(row, "pair", None)),
        facts=look.facts or _earlier(row),
        error=look.error,
        around=around,
        history=_history(handle, look.facts),
    )


def _history(handle: InstanceHandle, facts: InstanceFacts | None) -> tuple[tuple[int, Lsn], ...]:
    """The ancestors of its timeline; none where they cannot be read now."""
    try:
        history = history_of(handle, facts.timeline) if facts else None
    except HostError:
        return ()
    return history.parents if history else ()


def _earlier(row: Instance) -> InstanceFacts | None:
    """What was last seen of one that does not answer now."""
    return InstanceFacts.from_row(row.observed) if row.observed else None


def logins_tried(ctx: Context, candidate: Instance, followers: list[Instance]) -> dict[str, str]:
    """Whether each of them gets in to the candidate as the replication role from its own server: name -> "" or the answer."""
    target = ctx.handle(candidate).spec
    answers = {}
    for row in followers:
        spec = replace(ctx.handle(row).spec, upstream=Upstream(target.name, target.address, target.port, "unused"))
        try:
            finished = ctx.handle(row).machine.run(commands.replication_login(spec).argv, env=ENGLISH, timeout=30)
        except HostError as error:
            answers[row.name] = error.what
        else:
            answers[row.name] = "" if finished.ok else (finished.stderr.strip() or f"exit status {finished.returncode}")[-500:]
    return answers


def _surroundings(ctx: Context, handle: InstanceHandle) -> Surroundings:
    """What its server tells around the instance; nothing where the server does not answer."""
    try:
        around = Surroundings(
            epoch=handle.epoch(), fenced=handle.fenced(), free_bytes=handle.machine.free_bytes(handle.spec.data_directory)
        )
    except HostError:  # that it does not answer is told by the look at the instance itself
        return Surroundings()
    try:
        return replace(around, build=handle.build())
    except HostError as error:  # an engine that hangs, say: what the files told stays
        ctx.warn(f"What {handle.spec.name} is built of could not be read. {error.what}")
        return around
