"""The reads that pages, API and commands share. A constant number of queries each, however many rows there are."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Now
from typing_extensions import TypedDict

from clusters.models import Cluster, Instance, Monitor, ReplicationPair, Server, Verification
from clusters.models.cluster import Lifecycle
from clusters.placement import owner_of
from clusters.postgres.layout import Layout
from clusters.postgres.names import OBJECT_NAME, slot_name
from clusters.postgres.quoting import uri
from clusters.postgres.spec import Container, InstanceSpec, Member, Upstream
from clusters.postgres.sync import standby_names
from clusters.server_findings import FindingShow, server_findings
from clusters.slots import SlotShow, slots_of
from clusters.ssh_shown import SshShow, ssh_shown
from clusters.synchronous import guarantee_of, upstreams_of, waited_for

#: Columns with ciphertext: a page that lists clusters has no business decrypting them.
SECRETS = ("superuser_password", "owner_password", "replication_password", "panel_password")
#: The worst first.
VERDICTS = ("failed", "unknown", "warning", "ok")


class InstanceShow(TypedDict):
    name: str
    server: str
    role: str  # as observed; as declared while nothing has been observed
    state: str  # standby: as in pg_stat_replication; else running, stopped, unreachable, unknown, planned, removing
    host: str
    port: int
    timeline: int | None
    upstream: str | None
    slot: str | None
    sync_state: str | None
    lag_bytes: int | None
    lag_seconds: float | None
    observed_at: datetime | None


class ClusterShow(TypedDict):
    name: str
    state: str  # planned, removing, running, degraded, stopped, unreachable, unknown
    verdict: str  # the worst of the pairs' last verdicts: failed, unknown, warning, ok
    epoch: int
    guarantee: str  # synchronous, weakened, waiting, asynchronous, none, unknown: `clusters.postgres.guarantee.Level`
    guarantee_sentence: str  # what holds of an acknowledged commit
    connection_string: str  # libpq URI with every host, without password
    primary: str | None
    instances: list[InstanceShow]


class ServerShow(TypedDict):
    name: str
    address: str
    connection: str
    runtime: str
    base_directory: str
    run_as: str
    ssh: SshShow | None
    instances: int
    facts: dict[str, Any]
    findings: list[FindingShow]
    observed_at: datetime | None


# -- rows


def cluster_get(name: str) -> Cluster:
    """Raises: Cluster.DoesNotExist."""
    return Cluster.objects.get(name=_storable(name))


def instance_get(cluster: str, name: str) -> Instance:
    """Raises: Instance.DoesNotExist."""
    return Instance.objects.select_related("cluster", "server").get(cluster__name=_storable(cluster), name=_storable(name))


def server_get(name: str) -> Server:
    """Raises: Server.DoesNotExist."""
    return Server.objects.get(name=_storable(name))


def monitor_watches() -> bool:
    """Whether a monitor holds the lease: what it wrote of the instances is of now."""
    return monitor_interval() is not None


def monitor_interval() -> float | None:
    """Seconds between two questions to an instance; None where no monitor watches."""
    return Monitor.objects.filter(lease_until__gt=Now()).values_list("interval", flat=True).first()


# -- what is shown


def cluster_list(after: str = "", limit: int | None = None) -> list[ClusterShow]:
    """By name, from the first one behind `after` on."""
    return [_cluster_shown(cluster) for cluster in _clusters().filter(name__gt=_storable(after))[:limit]]


def cluster_show(name: str) -> ClusterShow:
    """Design section 7's `cluster show --json`. Raises: Cluster.DoesNotExist."""
    return _cluster_shown(_clusters().get(name=_storable(name)))


def cluster_slots(name: str) -> list[SlotShow]:
    """The replication slots on every instance, as the last looks saw them. Raises: Cluster.DoesNotExist."""
    cluster = _clusters().get(name=_storable(name))
    rows = list(cluster.instances.all())
    return slots_of(cluster, rows, [pair for row in rows if (pair := _pair(row))])


def server_list(after: str = "", limit: int | None = None) -> list[ServerShow]:
    """By name, from the first one behind `after` on."""
    return [_server_shown(server) for server in _servers().filter(name__gt=_storable(after))[:limit]]


def server_show(name: str) -> ServerShow:
    """Raises: Server.DoesNotExist."""
    return _server_shown(_servers().get(name=_storable(name)))


def connection_string(cluster: Cluster, instances: list[Instance], *, user: str = "", **params: str) -> str:
    """A libpq URI of these instances; they need their servers loaded."""
    hosts = [Member(row.name, row.server.address, row.port) for row in instances]
    return uri(hosts, user or cluster.owner_role, cluster.database, None, **params)


# -- what the files and commands of an instance are made from


def instance_spec(instance: Instance) -> InstanceSpec:
    """Everything `clusters.postgres` needs to know about an instance, from the declared rows."""
    return _spec(instance, list(_members(instance.cluster).only(*_OF_MEMBERS)))


def instance_specs(cluster: Cluster, *, ready: bool = False) -> list[tuple[Instance, InstanceSpec]]:
    """The same of every instance in one query, the declared primary first, then by name. `ready`: only of those that are made."""
    members = list(_members(cluster).defer(*_NOT_OF_SPECS))
    chosen = [row for row in members if row.lifecycle == Lifecycle.READY or not ready]
    return [(row, _spec(row, members)) for row in sorted(chosen, key=lambda row: row.role)]  # "primary" sorts before "standby"


#: What one instance's files and commands say of the others.
_OF_MEMBERS: Final = (
    "name", "port", "role", "lifecycle", "quarantined_at", "cluster_id", "server__address",
    "pair__slot", "pair__upstream__name", "pair__upstream__port", "pair__upstream__server__address",
)  # fmt: skip
_NOT_OF_SPECS: Final = ("observed", "pair__upstream__observed", "pair__upstream__server__facts")


def _members(cluster: Cluster) -> QuerySet[Instance]:
    return cluster.instances.select_related("server", "pair__upstream__server").order_by("name")


def _spec(instance: Instance, members: list[Instance]) -> InstanceSpec:
    cluster, server = instance.cluster, instance.server
    pair = next((_pair(row) for row in members if row.pk == instance.pk), None)
    return InstanceSpec(
        cluster=cluster.name,
        name=instance.name,
        server=server.name,
        address=server.address,
        port=instance.port,
        base_directory=server.base_directory,
        bindir=instance.bindir,
        major=cluster.postgres_major,
        database=cluster.database,
        owner_role=cluster.owner_role,
        replication_role=cluster.replication_role,
        panel_role=cluster.panel_role,
        role="primary" if instance.role == Instance.Role.PRIMARY else "standby",
        upstream=_upstream(pair) if pair else None,
        members=tuple(Member(name=row.name, address=row.server.address, port=row.port) for row in members),
        client_networks=tuple(cluster.client_networks),
        settings=dict(cluster.settings),
        synchronous=standby_names(cluster.sync_mode, cluster.sync_count, _waited_for(instance, members)),
        system_identifier=cluster.system_identifier,
        container=_container(instance) if instance.image else None,
        adopted_psql=Layout.from_row(instance.layout).door.superuser_psql() if instance.layout else (),
        adopted_data=instance.layout.get("data_directory", ""),
    )


def _container(instance: Instance) -> Container:
    if instance.layout:
        return Container(name=instance.layout["container"], image=instance.image, user=instance.layout["user"])
    name = f"pgr_{instance.cluster.name}_{instance.name}"  # names have no underscore, so no two are alike
    return Container(name=name, image=instance.image, user=owner_of(instance.server), network=instance.network)


def _waited_for(instance: Instance, members: list[Instance]) -> list[str]:
    return waited_for(instance.cluster.sync_count, instance, members, upstreams_of(members))


def _upstream(pair: ReplicationPair) -> Upstream:
    upstream = pair.upstream
    slot = pair.slot or slot_name(pair.standby.cluster.name, pair.standby.name)  # an adopted standby that uses none would get it
    return Upstream(name=upstream.name, address=upstream.server.address, port=upstream.port, slot=slot)


# -- helpers


def _clusters() -> QuerySet[Cluster]:
    latest = Verification.objects.filter(pair__standby=OuterRef("pk")).order_by("-created_at").values("verdict")[:1]
    instances = (
        Instance.objects.select_related("server", "pair__upstream")
        .defer("server__facts", "pair__upstream__observed")
        .annotate(verdict=Subquery(latest))
        .order_by("role", "name")  # "primary" sorts before "standby"
    )
    return Cluster.objects.defer(*SECRETS).prefetch_related(Prefetch("instances", instances))


def _servers() -> QuerySet[Server]:
    rows = Server.objects.annotate(instance_count=Count("instances")).select_related("jump", "ssh_key")
    return rows.defer("ssh_key__private_key").order_by("name")


def _cluster_shown(cluster: Cluster) -> ClusterShow:
    rows = list(cluster.instances.all())
    shown = [_instance_shown(row) for row in rows]
    verdicts = {getattr(row, "verdict", None) or "unknown" for row in rows if _pair(row)}
    held = guarantee_of(cluster, rows, upstreams_of(rows))
    return {
        "name": cluster.name,
        "state": _cluster_state(cluster, shown),
        "verdict": next((verdict for verdict in VERDICTS if verdict in verdicts), "unknown"),
        "epoch": cluster.epoch,
        "guarantee": held.level,
        "guarantee_sentence": held.sentence,
        "connection_string": connection_string(cluster, rows, target_session_attrs="read-write") if rows else "",
        "primary": _primary(rows, shown),
        "instances": shown,
    }


def _instance_shown(row: Instance) -> InstanceShow:
    pair = _pair(row)
    observed = row.observed_role in (Instance.Observed.PRIMARY, Instance.Observed.STANDBY)
    return {
        "name": row.name,
        "server": row.server.name,
        "role": row.observed_role if observed else row.role,
        "state": _instance_state(row, pair),
        "host": row.server.address,
        "port": row.port,
        "timeline": row.observed.get("timeline"),
        "upstream": pair.upstream.name if pair else None,
        "slot": pair.slot if pair else None,
        "sync_state": (pair.sync_state or None) if pair else None,
        "lag_bytes": pair.lag_bytes if pair else None,
        "lag_seconds": pair.lag_seconds if pair else None,
        "observed_at": row.observed_at,
    }


def _pair(row: Instance) -> ReplicationPair | None:
    try:
        return row.pair
    except ObjectDoesNotExist:
        return None


def _instance_state(row: Instance, pair: ReplicationPair | None) -> str:
    if row.lifecycle != Lifecycle.READY:
        return row.lifecycle
    if row.observed_role not in (Instance.Observed.PRIMARY, Instance.Observed.STANDBY):
        return row.observed_role
    if row.observed_role == Instance.Observed.STANDBY and pair:
        return pair.state or "disconnected"
    return "running"


def _cluster_state(cluster: Cluster, shown: list[InstanceShow]) -> str:
    if cluster.lifecycle != Lifecycle.READY:
        return cluster.lifecycle
    primaries = [item for item in shown if item["role"] == Instance.Role.PRIMARY]
    if len(primaries) != 1:
        return "degraded"
    if primaries[0]["state"] != "running":
        return primaries[0]["state"]
    healthy = all(item["state"] == "streaming" for item in shown if item["role"] == Instance.Role.STANDBY)
    return "running" if healthy else "degraded"


def _primary(rows: list[Instance], shown: list[InstanceShow]) -> str | None:
    """The instance seen as the primary; the declared one where two are seen as such (the verdict says so) or none was seen yet."""
    seen = [item["name"] for item in shown if item["role"] == Instance.Role.PRIMARY]
    declared = [row.name for row in rows if row.role == Instance.Role.PRIMARY]
    return next((name for name in [*declared, *seen] if name in seen), None)


def _server_shown(server: Server) -> ServerShow:
    return {
        "name": server.name,
        "address": server.address,
        "connection": server.connection,
        "runtime": server.runtime,
        "base_directory": server.base_directory,
        "run_as": server.run_as,
        "ssh": ssh_shown(server) if server.connection == Server.Connection.SSH else None,
        "instances": server.instance_count,  # type: ignore[attr-defined]  # annotated in _servers
        "facts": server.facts,
        "findings": server_findings(server),
        "observed_at": server.observed_at,
    }


def _storable(name: str) -> str:
    """The name, or "" for a text that no row can have: PostgreSQL cannot even compare with some of them (NUL)."""
    return name if re.fullmatch(OBJECT_NAME, name) else ""
