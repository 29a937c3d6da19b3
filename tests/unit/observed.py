"""A cluster as a look has left it: rows with facts of instances that are well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clusters.models import Cluster, Instance
from clusters.postgres.promotion_facts import Surroundings
from tests.factories import cluster_with_standbys
from tests.unit.clusters.postgres.pair import GB, HELD, RECEIVER, SENDER, SYSTEM, primary, standby
from tests.unit.clusters.postgres.three import BUILD


def observed_cluster(name: str = "orders", standbys: int = 2, **fields: Any) -> Cluster:
    """`<name>-1` is the primary; `<name>-2` ... stream from it, and nothing is in the way of any of them."""
    cluster = cluster_with_standbys(name, standbys=standbys, system_identifier=SYSTEM, **fields)
    followers = list(cluster.instances.filter(role="standby").select_related("pair").order_by("name"))
    limits = {"max_wal_senders": "60", "max_replication_slots": "60"}
    senders = tuple(replace(SENDER, pid=row.pk, application_name=row.name) for row in followers)
    slots = tuple(replace(HELD, name=row.pair.slot, pid=row.pk) for row in followers)
    names = [f"{name}-{number}" for number in range(1, standbys + 2)]
    first = primary(senders=senders, slots=slots, archive_waiting=0, settings=limits)
    saw(cluster, names[0], first.as_row(), Surroundings(epoch=1, free_bytes=GB, build=BUILD))
    for row in followers:
        around = Surroundings(epoch=1, free_bytes=GB, build=BUILD, logins={other: "" for other in names if other != row.name})
        saw(cluster, row.name, standby(receiver=replace(RECEIVER, slot=row.pair.slot), settings=limits).as_row(), around)
    return cluster


def saw(cluster: Cluster, name: str, observed: dict[str, Any], around: Surroundings) -> None:
    Instance.objects.filter(cluster=cluster, name=name).update(observed=observed, surroundings=around.as_row())


def change(cluster: Cluster, name: str, **facts: Any) -> None:
    """Change what was seen of one instance, in the shape of its row."""
    row = Instance.objects.get(cluster=cluster, name=name)
    Instance.objects.filter(pk=row.pk).update(observed={**row.observed, **facts})
