"""The writes. Everything that changes a row of `clusters` goes through here; nothing here touches a machine.

`*_register` and `*_declare` put down what is wanted, in the caller's transaction; `*_record_*` put down what a worker
saw; `*_forget` delete the rows of what a workflow has taken away. Refusals are `ValidationError` with one key a field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Exists, Model, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.models import Cluster, Discovery, Instance, KeptCopy, ReplicationPair, Server, SshKey, Verification, VerificationRun
from clusters.models.cluster import Lifecycle
from clusters.placement import bindir_choose, image_choose, port_choose
from clusters.postgres.build import Build
from clusters.postgres.found import Found, Group, Tie
from clusters.postgres.layout import Layout, layout_of
from clusters.postgres.names import slot_name
from clusters.schedules import schedules_forget, schedules_make
from clusters.secrets import Secret
from clusters.ssh_keys import KeyPair

M = TypeVar("M", bound=Model)

#: How long a verification of each depth is kept: at five minutes a day of the standing ones is 288 rows a cluster and as many a pair.
KEPT: Final[Mapping[str, timedelta]] = {
    VerificationRun.Depth.STANDING: timedelta(days=7),
    VerificationRun.Depth.DEEP: timedelta(days=400),
    VerificationRun.Depth.CONTENT: timedelta(days=400),
}
PRUNED_AT_ONCE: Final = 5_000

#: Which field of the request a constraint of the database is about.
_CONSTRAINTS = {
    "cluster_name_unique": "name",
    "server_name_unique": "name",
    "instance_name_unique_in_cluster": "name",
    "instance_port_unique_on_server": "port",
    "instance_one_declared_primary": "role",
}


# -- servers


def server_register(
    *,
    name: str,
    address: str,
    base_directory: str,
    run_as: str = "",
    connection: str = Server.Connection.LOCAL,
    runtime: str = Server.Runtime.PROCESS,
    **ssh: Any,
) -> Server:
    """A new server; `ssh` are the fields of a login by SSH. It has no facts until the job `check_server` has looked at it.

    Raises: ValidationError when the name is taken.
    """
    return _created(
        Server(name=name, address=address, base_directory=base_directory, run_as=run_as, connection=connection, runtime=runtime, **ssh)
    )


#: They stay as they are while instances live on the server: their files would be lost from sight.
FROZEN = frozenset({"base_directory", "run_as", "connection", "runtime"})


def server_update(server: Server, **given: Any) -> Server:
    """Change what is given.

    Raises: ValidationError naming the field.
    """
    changed = {field: value for field, value in given.items() if value != getattr(server, field)}
    frozen = FROZEN & changed.keys()
    if frozen and server.instances.exists():
        sentence = _("Instances of this server lie there. Remove them first, or register the server a second time under another name.")
        raise ValidationError(dict.fromkeys(sorted(frozen), sentence))
    return _set(server, **changed)


def server_record_facts(server: Server, facts: Mapping[str, Any], *, at: datetime | None = None) -> Server:
    """What a check of the server found: the shape is at `Server.facts`."""
    return _set(server, facts=dict(facts), observed_at=at or timezone.now())


def ssh_key_set(server: Server, pair: KeyPair) -> None:
    """The key pair with which the panel logs in there from now on."""
    SshKey.objects.update_or_create(server=server, defaults={"private_key": pair.private, "public_key": pair.public})


def host_key_record(server: Server, offered: str) -> Server:
    """What the server's SSH showed ("type base64"). Nothing is trusted by that."""
    return _set(server, ssh_host_key_offered=offered)


def host_key_pin(server: Server) -> Server:
    """A person has said that the offered host key is the server's own."""
    return _set(server, ssh_host_key=server.ssh_host_key_offered)


def server_forget(server: Server) -> None:
    """Raises: ValidationError while an instance lives on it, or another server is reached through it."""
    if server.instances.exists():
        raise ValidationError({"server": _("Instances live on this server. Remove them first.")})
    if through := server.reached_through.values_list("name", flat=True):
        sentence = _("%(names)s are reached through this server. Give them another jump server first.")
        raise ValidationError({"server": sentence % {"names": ", ".join(through)}})
    if KeptCopy.objects.filter(server=server, gone_at=None).exists():
        raise ValidationError({"server": _("Kept copies of old data lie on this server. Restore or purge them first.")})
    KeptCopy.objects.filter(server=server).delete()  # what is left of them is in the audit trail
    server.delete()


# -- declarations


def cluster_declare(
    *,
    name: str,
    server: Server,
    postgres_major: int,
    database: str,
    owner_role: str,
    owner_password: Secret | None = None,
    instance_name: str = "node1",
    port: int | None = None,
    bindir: str | None = None,
    image: str | None = None,
    network: str | None = None,
    client_networks: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> tuple[Cluster, Instance]:
    """A planned cluster and its planned primary on `server`. Passwords that are not given are made.

    Raises: ValidationError naming the field (name or port taken, no PostgreSQL of this version on the server).
    """
    cluster = Cluster(
        name=name,
        postgres_major=postgres_major,
        database=database,
        owner_role=owner_role,
        superuser_password=Secret.generate(),
        owner_password=owner_password or Secret.generate(),
        replication_password=Secret.generate(),
        panel_password=Secret.generate(),
        client_networks=list(client_networks),
        settings=dict(settings or {}),
    )
    with transaction.atomic():
        _created(cluster)
        schedules_make(cluster)
        primary = instance_declare(
            cluster=cluster,
            server=server,
            name=instance_name,
            role=Instance.Role.PRIMARY,
            port=port,
            bindir=bindir,
            image=image,
            network=network,
            name_field="instance",
        )
    return cluster, primary


def instance_declare(
    *,
    cluster: Cluster,
    server: Server,
    name: str,
    role: str,
    port: int | None = None,
    bindir: str | None = None,
    image: str | None = None,
    network: str | None = None,
    name_field: str = "name",
) -> Instance:
    """A planned instance. Port and programs that are not given are chosen from what is known of the server.

    Raises: ValidationError naming the field.
    """
    with transaction.atomic():
        Server.objects.select_for_update().get(pk=server.pk)  # two declarations never choose the same port
        instance = Instance(
            cluster=cluster,
            server=server,
            name=name,
            role=role,
            port=port or port_choose(server),
            bindir="" if server.in_containers else bindir_choose(server, cluster.postgres_major, bindir),
            image=image_choose(server, cluster.postgres_major, image) if server.in_containers else "",
            network=network or "",
        )
        return _created(instance, {"name": name_field})


def pair_declare(*, upstream: Instance, standby: Instance) -> ReplicationPair:
    """The pair of a standby and the instance it follows, with the name of its slot.

    Raises: ValidationError when the upstream has a slot of this name already.
    """
    return _created(ReplicationPair(upstream=upstream, standby=standby, slot=slot_name(standby.cluster.name, standby.name)))


# -- what somebody else has made


def discovery_record(job_id: int, servers: Mapping[str, list[str]], found: Iterable[Found]) -> Discovery:
    """What a job found. May be called again: the later look replaces the earlier one."""
    values = {"servers": dict(servers), "found": [each.as_row() for each in found]}
    return Discovery.objects.update_or_create(job_id=job_id, defaults=values)[0]


#: Not the usual name: in a cluster that somebody else has made a role of that name may be in use, with a password of its own.
ADOPTED_REPLICATION_ROLE = "pgreplica_replicator"


def cluster_adopt(group: Group, servers: Mapping[str, Server], *, name: str, database: str) -> Cluster:
    """A planned cluster of what was found, as it is: its own roles and passwords stay unknown. `servers`: by their names.

    Raises: ValidationError naming the field (name or port taken).
    """
    primary = group.members[0]
    cluster = Cluster(
        name=name,
        postgres_major=group.major,
        database=database,
        owner_role=dict(primary.databases)[database],
        superuser_password=Secret(""),
        owner_password=Secret(""),
        replication_password=Secret.generate(),
        panel_password=Secret.generate(),
        replication_role=ADOPTED_REPLICATION_ROLE,
        system_identifier=group.system_identifier,
        adopted_at=timezone.now(),
    )
    with transaction.atomic():
        _created(cluster)
        schedules_make(cluster)
        rows = {
            member.label: _adopted(cluster, servers[member.server], f"node{number}", member, group.tie_of(member))
            for number, member in enumerate(group.members, start=1)
        }
        for tie in group.ties:
            _created(ReplicationPair(upstream=rows[tie.upstream.label], standby=rows[tie.standby.label], slot=tie.slot))
    return cluster


def layout_record(instance: Instance, layout: Layout) -> Instance:
    """Where an adopted instance lies, as it was seen last."""
    return _set(instance, layout=layout.as_row())


def cluster_record_taken_over(cluster: Cluster) -> Cluster:
    """Every standby of an adopted cluster was seen to use the slot that has its name: the panel may act on it from now on."""
    with transaction.atomic():
        for pair in ReplicationPair.objects.filter(standby__cluster=cluster).select_related("standby"):
            _set(pair, slot=slot_name(cluster.name, pair.standby.name))
        return _set(cluster, taken_over_at=cluster.taken_over_at or timezone.now())


def _adopted(cluster: Cluster, server: Server, name: str, found: Found, tie: Tie | None) -> Instance:
    row = Instance(
        cluster=cluster,
        server=server,
        name=name,
        role=Instance.Role.STANDBY if tie else Instance.Role.PRIMARY,
        port=found.outer_port,
        bindir=found.bindir if found.way == "process" else "",
        image=found.image if found.way == "container" else "",
        layout=layout_of(found, tie).as_row(),
        surroundings={"build": Build(libc=found.libc).as_row()},
    )
    return _created(row, {"name": "name"})


# -- what workers saw


def cluster_record_lifecycle(cluster: Cluster, lifecycle: Lifecycle) -> Cluster:
    return _set(cluster, lifecycle=lifecycle)


def cluster_record_system_identifier(cluster: Cluster, system_identifier: str) -> Cluster:
    """The identifier initdb gave. It is recorded once; a different one later is refused, since it means another cluster's data."""
    if cluster.system_identifier and cluster.system_identifier != system_identifier:
        raise ValidationError({"system_identifier": _("The data directory belongs to another cluster. Nothing was changed.")})
    return _set(cluster, system_identifier=system_identifier)


def instance_record_lifecycle(instance: Instance, lifecycle: Lifecycle) -> Instance:
    return _set(instance, lifecycle=lifecycle)


def instance_record_observed(
    instance: Instance, role: Instance.Observed, facts: Mapping[str, Any] | None = None, *, at: datetime | None = None
) -> Instance:
    """What the last look at the instance found. Without `facts` (it did not answer) the earlier ones stay, with the new role and time."""
    values: dict[str, Any] = {"observed_role": role, "observed_at": at or timezone.now()}
    if facts is not None:
        values["observed"] = dict(facts)
    return _set(instance, **values)


def pair_record_observed(
    pair: ReplicationPair,
    *,
    state: str,
    sync_state: str = "",
    lag_bytes: int | None = None,
    lag_seconds: float | None = None,
    at: datetime | None = None,
) -> ReplicationPair:
    """What the last look at the pair found: `state` and `sync_state` as in pg_stat_replication, "" where the upstream shows none."""
    return _set(pair, state=state, sync_state=sync_state, lag_bytes=lag_bytes, lag_seconds=lag_seconds, observed_at=at or timezone.now())


def verification_record(
    pair: ReplicationPair,
    *,
    verdict: str,
    findings: Iterable[Mapping[str, Any]],
    lag_bytes: int | None = None,
    lag_seconds: float | None = None,
    job_id: int | None = None,
) -> Verification:
    """One look at a pair, kept. `findings` have the shape that is at `Verification.findings`."""
    return Verification.objects.create(
        pair=pair, verdict=verdict, findings=[dict(f) for f in findings], lag_bytes=lag_bytes, lag_seconds=lag_seconds, job_id=job_id
    )


def verification_run_record(
    cluster: Cluster, *, depth: str, verdict: str, findings: Iterable[Mapping[str, Any]], job_id: int
) -> VerificationRun:
    """One verification of the cluster, kept. May be called again: a job has one."""
    values = {"depth": depth, "verdict": verdict, "findings": [dict(finding) for finding in findings]}
    return VerificationRun.objects.update_or_create(cluster=cluster, job_id=job_id, defaults=values)[0]


def verifications_prune(now: datetime | None = None) -> int:
    """Delete what is older than `KEPT`, so many rows at a time; the last one of a pair, and of a depth, stays. How many went."""
    moment, gone = now or timezone.now(), 0
    newer = Verification.objects.filter(pair=OuterRef("pair"), created_at__gt=OuterRef("created_at"))
    looks = Verification.objects.filter(Exists(newer), created_at__lt=moment - KEPT[VerificationRun.Depth.STANDING])
    gone += Verification.objects.filter(pk__in=list(looks.order_by("created_at").values_list("pk", flat=True)[:PRUNED_AT_ONCE])).delete()[0]
    newer_run = VerificationRun.objects.filter(cluster=OuterRef("cluster"), depth=OuterRef("depth"), created_at__gt=OuterRef("created_at"))
    for depth, kept in KEPT.items():
        runs = VerificationRun.objects.filter(Exists(newer_run), depth=depth, created_at__lt=moment - kept).order_by("created_at")
        gone += VerificationRun.objects.filter(pk__in=list(runs.values_list("pk", flat=True)[:PRUNED_AT_ONCE])).delete()[0]
    return gone


def instance_record_promotable(instance: Instance, obstacle: str | None, *, at: datetime | None = None) -> Instance:
    """What a deep look found in the way of its promotion; "" where nothing was. None: it is no standby, and nothing is known of it."""
    if obstacle is None:
        return _set(instance, promotable_since=None, proven_at=None, not_promotable="")
    if obstacle:
        return _set(instance, promotable_since=None, not_promotable=obstacle[:500])
    moment = at or timezone.now()
    return _set(instance, promotable_since=instance.promotable_since or moment, proven_at=moment, not_promotable="")


def instance_record_surroundings(instance: Instance, surroundings: Mapping[str, Any]) -> Instance:
    """What was seen around the instance: the shape is at `Instance.surroundings`."""
    return _set(instance, surroundings=dict(surroundings))


# -- promotions


def cluster_raise_epoch(cluster: Cluster, at_least: int) -> Cluster:
    """The epoch of a promotion that is about to be made. It never falls, also where the promotion is given up."""
    Cluster.objects.filter(pk=cluster.pk, epoch__lt=at_least).update(epoch=at_least)
    cluster.refresh_from_db(fields=["epoch"])
    return cluster


def cluster_record_promotion(cluster: Cluster, primary: Instance) -> None:
    """`primary` was seen as the cluster's primary. The old one is declared a standby of it, and so is who followed the old one.

    May be called again: it changes nothing then.
    """
    with transaction.atomic():
        old = cluster.instances.select_for_update().filter(role=Instance.Role.PRIMARY).exclude(pk=primary.pk).first()
        if old is None:
            return
        upstreams = {old.pk, *ReplicationPair.objects.filter(standby=primary).values_list("upstream", flat=True)}
        ReplicationPair.objects.filter(standby=primary).delete()
        _set(instance_record_promotable(old, None), role=Instance.Role.STANDBY)
        _set(instance_record_promotable(primary, None), role=Instance.Role.PRIMARY)
        ReplicationPair.objects.filter(upstream=old).update(upstream=primary, state="", sync_state="", lag_bytes=None, lag_seconds=None)
        for row in cluster.instances.filter(pk__in=upstreams - {primary.pk}):
            pair = ReplicationPair.objects.filter(standby=row).first() or ReplicationPair(
                standby=row, slot=slot_name(cluster.name, row.name)
            )
            pair.upstream = primary
            pair.save()


def instance_secede(instance: Instance, name: str) -> Cluster:
    """A cluster of its own for a standby that leaves its own: same data, passwords and settings, the next epoch, nobody else in it.

    May be called again. Raises: ValidationError when the name is taken.
    """
    old = instance.cluster
    if old.name == name:
        return old
    copied = ("postgres_major", "database", "owner_role", "replication_role", "panel_role", "client_networks", "settings")
    secrets = ("superuser_password", "owner_password", "replication_password", "panel_password")
    values = {field: getattr(old, field) for field in (*copied, *secrets, "system_identifier")}
    with transaction.atomic():
        cluster = _created(Cluster(name=name, epoch=old.epoch + 1, **values))
        schedules_make(cluster)
        ReplicationPair.objects.filter(standby=instance).delete()
        _set(instance, cluster=cluster, role=Instance.Role.PRIMARY)
    return cluster


def instance_quarantine(instance: Instance, reason: str, *, at: datetime | None = None) -> Instance:
    """Keep the instance from running until it is rejoined."""
    if instance.quarantined_at is not None:
        return instance
    return _set(instance, quarantined_at=at or timezone.now(), quarantine_reason=reason[:500])


def instance_release(instance: Instance) -> Instance:
    """It was rejoined: it may run again."""
    return _set(instance_record_promotable(instance, None), quarantined_at=None, quarantine_reason="")


def cluster_record_sync(cluster: Cluster, mode: str, count: int) -> Cluster:
    """Whom commits wait for, as it was seen to hold."""
    return _set(cluster, sync_mode=mode, sync_count=count)


def copy_record(
    instance: Instance,
    *,
    origin: KeptCopy.Origin,
    path: str,
    job_id: int,
    size_bytes: int | None = None,
    timeline: int | None = None,
    end_lsn: str = "",
) -> KeptCopy:
    """A directory was put aside. One that is known already is brought up to date."""
    values = {
        "cluster_name": instance.cluster.name,
        "instance_name": instance.name,
        "origin": origin,
        "size_bytes": size_bytes,
        "timeline": timeline,
        "end_lsn": end_lsn,
        "job_id": job_id,
        "gone_at": None,
        "gone_how": "",
    }
    copy, _made = KeptCopy.objects.update_or_create(server=instance.server, path=path, defaults=values)
    return copy


def copy_gone(copy: KeptCopy, how: str, *, at: datetime | None = None) -> KeptCopy:
    """The directory is not there any more: it was "purged", or "restored" into its place."""
    return _set(copy, gone_at=at or timezone.now(), gone_how=how)


# -- what is gone


def instance_forget(instance: Instance) -> None:
    """Delete the rows of an instance whose files a workflow has put aside, and of its pair.

    Raises: ValidationError while another standby follows it.
    """
    with transaction.atomic():
        followers = list(instance.downstream_pairs.values_list("standby__name", flat=True))
        if followers:
            names = ", ".join(followers)
            raise ValidationError({"instance": _("%(names)s follow this instance. Remove them first.") % {"names": names}})
        ReplicationPair.objects.filter(standby=instance).delete()
        instance.delete()


def cluster_forget(cluster: Cluster) -> None:
    """Delete the rows of a cluster and of everything in it; its files are what the workflow has put aside."""
    with transaction.atomic():
        ReplicationPair.objects.filter(standby__cluster=cluster).delete()
        Instance.objects.filter(cluster=cluster).delete()
        schedules_forget(cluster)
        cluster.delete()


# -- helpers


def _set(row: M, **values: Any) -> M:
    """Write the given fields, and only them, so that concurrent writers of other fields are not undone."""
    for field, value in values.items():
        setattr(row, field, value)
    if values:
        row.save(update_fields=list(values))
    return row


def _created(row: M, fields: Mapping[str, str] | None = None) -> M:
    """Insert a row; what a constraint of the database refuses becomes a sentence at the field it is about."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        name = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
        constraint = next((c for c in row._meta.constraints if c.name == name), None)
        if constraint is None or name not in _CONSTRAINTS:
            raise
        field = _CONSTRAINTS[name]
        raise ValidationError({(fields or {}).get(field, field): str(constraint.violation_error_message)}) from error
    return row
