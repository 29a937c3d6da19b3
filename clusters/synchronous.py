"""Whom commits wait for, from the declared rows; and the guarantee that the last look at the primary shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clusters.models import Cluster, Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres.guarantee import Guarantee, guarantee
from clusters.postgres.sync import standby_names
from clusters.slots import facts_of

#: Key of a standby -> key of the instance it follows.
Upstreams = Mapping[int, int]


def direct_standbys(instance: Instance, members: Iterable[Instance], upstreams: Upstreams) -> list[Instance]:
    """Who follows `instance` directly while it is the primary: those that follow it or the declared primary now, itself left out.

    Instances that are not made yet, or being removed, are not among them.
    """
    rows = list(members)
    primaries = {row.pk for row in rows if row.role == Instance.Role.PRIMARY} | {instance.pk}
    made = [row for row in rows if row.lifecycle == Lifecycle.READY and row.pk != instance.pk]
    return [row for row in made if row.pk in primaries or upstreams.get(row.pk) in primaries]


def waited_for(count: int, instance: Instance, members: Iterable[Instance], upstreams: Upstreams) -> list[str]:
    """Whose acknowledgement counts while `instance` is the primary.

    Instances in quarantine do not count, unless commits would then wait for fewer than they must.
    """
    direct = direct_standbys(instance, members, upstreams)
    usable = [row.name for row in direct if row.quarantined_at is None]
    return usable if len(usable) >= count else [row.name for row in direct]


def synchronous_of(
    instance: Instance,
    *,
    mode: str | None = None,
    count: int | None = None,
    joiner: Instance | None = None,
    leaver: Instance | None = None,
) -> tuple[str, list[str]]:
    """synchronous_standby_names of `instance`, and the names in it.

    As declared, or as it will be: with another mode and count, with a standby that is not made yet, without one that goes.
    """
    cluster = instance.cluster
    mode, count = cluster.sync_mode if mode is None else mode, cluster.sync_count if count is None else count
    members = [row for row in cluster.instances.select_related("pair").order_by("name") if leaver is None or row.pk != leaver.pk]
    for row in members:
        if joiner is not None and row.pk == joiner.pk:
            row.lifecycle, row.quarantined_at = Lifecycle.READY, None  # this copy of the row only; it is not saved
    names = waited_for(count, instance, members, upstreams_of(members)) if mode != "async" else []
    return standby_names(mode, count, names), names


def upstreams_of(members: Iterable[Instance]) -> dict[int, int]:
    """For rows that were loaded with their pairs."""
    return {row.pk: row.pair.upstream_id for row in members if getattr(row, "pair", None) is not None}


def standbys_to_count(cluster: Cluster) -> list[Instance]:
    """The standbys that commits could wait for now: made, following the primary directly, not in quarantine."""
    members = list(cluster.instances.select_related("pair").order_by("name"))
    primary = next((row for row in members if row.role == Instance.Role.PRIMARY), None)
    if primary is None:
        return []
    return [row for row in direct_standbys(primary, members, upstreams_of(members)) if row.quarantined_at is None]


def guarantee_of(cluster: Cluster, members: Iterable[Instance], upstreams: Upstreams) -> Guarantee:
    """What holds of an acknowledged commit, by the last look at the primary. No query: the rows are given."""
    rows = list(members)
    seen = [row for row in rows if row.observed_role == Instance.Observed.PRIMARY]
    if len(seen) != 1:
        return guarantee(None, "")
    names = waited_for(cluster.sync_count, seen[0], rows, upstreams) if cluster.sync_mode != "async" else []
    return guarantee(facts_of(seen[0]), standby_names(cluster.sync_mode, cluster.sync_count, names))
