"""The deep part of a verification: what differs from what is declared, and whether each standby could take over now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from clusters import services
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Cluster, Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres import drift_rules, files
from clusters.postgres.board import Standing, board
from clusters.postgres.care_rules import checksum_failures, collation_mismatch, restart_pending, settings_altered
from clusters.postgres.facts import InstanceFacts
from clusters.postgres.files import File
from clusters.postgres.obstacles import Obstacle
from clusters.postgres.spec import InstanceSpec, without
from clusters.postgres.verify_facts import VerifyFacts
from tasks.board import RULES, Act, promotion_facts_of
from tasks.context import Context
from tasks.members import members_of
from tasks.refusals import holder_of
from tasks.standing import facts_of
from tasks.workflows.place import instance_files

Found = tuple[str, Obstacle]  # the name of the instance it is about, "" for the cluster
#: What a pair's rules tell of each of its sides, told here of an instance that is in no pair.
_OF_ONE: Final = (checksum_failures, collation_mismatch, settings_altered, restart_pending)


#: What is so by declaration, or was not looked at, and why: it is told, and no fault of the cluster.
NOTES: Final = frozenset({"candidate_cascaded", "content_left_out", "amcheck_missing"})


def found_kept(ctx: Context, depth: str, found: Iterable[Found], promotions: Iterable[Found] = ()) -> int:
    """Each finding into the log, and all of them where the last step finds them; how many of them are more than a note.

    `depth`: of the look that finds such things. `promotions`: what is in the way of promoting a standby.
    """
    rows: list[dict[str, Any]] = []
    for of, act in ((found, ""), (promotions, "promotion")):
        for name, finding in of:
            tell = ctx.say if finding.name in NOTES else ctx.warn
            tell(f"{name or ctx.cluster.name}: {finding.sentence} {finding.cure}")
            rows.append({**finding.as_row(), "instance": name, "depth": depth, "act": act})
    ctx.keep(findings=rows)
    return faults_of(rows)


def faults_of(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["name"] not in NOTES for row in rows)


def ready_rows(ctx: Context) -> list[Instance]:
    """The finished instances that are not in quarantine, the declared primary first."""
    rows = ctx.cluster.instances.filter(lifecycle=Lifecycle.READY, quarantined_at=None).select_related("server", "cluster")
    return list(rows.order_by("role", "name"))


# -- what differs from what is declared


def drift_of(ctx: Context) -> Iterator[Found]:
    """What differs on each instance. While a job changes the cluster its files and settings are left alone."""
    changing = holder_of(ctx.cluster) is not None
    if changing:
        ctx.say("A job is at work on the cluster: its files and settings are not compared this time.")
    rows = ready_rows(ctx)
    for row in rows:
        ctx.check_cancel()
        handle = ctx.handle(row)
        looks = [_collations] if ctx.cluster.adopted_at or changing else [_files, _settings, _image, _collations]
        for look in looks:
            try:
                found = list(look(handle))
            except HostError as error:
                ctx.warn(f"{row.name} could not be compared with what is declared: {error.what}")
            else:
                yield from ((row.name, finding) for finding in found)
        if len(rows) == 1:
            yield from ((row.name, finding) for finding in _alone(row))


def _files(handle: InstanceHandle) -> Iterator[Obstacle]:
    specs = [handle.spec, *_without_planned(handle)]
    variants: dict[str, list[File]] = {}
    for spec in specs:
        for file in instance_files(spec, handle.instance.cluster):
            variants.setdefault(file.path, []).append(file)
    for path, wanted in variants.items():
        if finding := drift_rules.file_drift(handle.spec.name, wanted, handle.read_text(path)):
            yield finding


def _without_planned(handle: InstanceHandle) -> list[InstanceSpec]:
    """The instance as it is while those members are not there that no job has made yet, or whose job was rolled back."""
    planned = handle.instance.cluster.instances.filter(lifecycle=Lifecycle.PLANNED).values_list("name", flat=True)
    spec = handle.spec
    for name in planned:
        spec = without(spec, name)
    return [spec] if planned else []


def _settings(handle: InstanceHandle) -> list[Obstacle]:
    if handle.instance.observed_role not in (Instance.Observed.PRIMARY, Instance.Observed.STANDBY):
        return []
    declared = drift_rules.declared_settings([files.render_postgresql_conf(handle.spec)])
    return drift_rules.settings_drift(handle.spec.name, declared, handle.settings_in_force(declared))


def _image(handle: InstanceHandle) -> Iterator[Obstacle]:
    if handle.spec.container:
        running, named = handle.images()
        if finding := drift_rules.image_drift(handle.spec.name, handle.spec.container.image, running, named):
            yield finding


def _collations(handle: InstanceHandle) -> Iterator[Obstacle]:
    if handle.instance.observed_role not in (Instance.Observed.PRIMARY, Instance.Observed.STANDBY):
        return
    if finding := drift_rules.collations_drift(handle.spec.name, handle.changed_collations()):
        yield finding


def _alone(row: Instance) -> Iterator[Obstacle]:
    facts = facts_of(row)
    if facts is not None:
        yield from (finding for rule in _OF_ONE if (finding := rule(_side(row.name, facts))))


def _side(name: str, facts: InstanceFacts) -> VerifyFacts:
    return VerifyFacts(
        upstream=facts, standby=None, upstream_name=name, standby_name="", slot="", upstream_address="", upstream_port=0
    )  # fmt: skip


# -- who could take over


def candidates_judged(ctx: Context) -> dict[str, Standing]:
    """Each standby under every rule of the act that would be asked for now, from the looks of this job; the badge of each is set."""
    standings = board(
        RULES[_act(ctx.cluster)], promotion_facts_of(ctx.cluster, members_of([ctx.cluster], server_facts=True)[ctx.cluster.pk])
    )
    for row in ctx.cluster.instances.filter(lifecycle=Lifecycle.READY):
        standing = standings.get(row.name)
        services.instance_record_promotable(row, _in_the_way(standing) if standing else None)
    return standings


def _act(cluster: Cluster) -> Act:
    primary = cluster.instances.filter(role=Instance.Role.PRIMARY).first()
    return "switchover" if primary and primary.observed_role == Instance.Observed.PRIMARY else "failover"


def _in_the_way(standing: Standing) -> str:
    return next((str(found.sentence) for found in standing.obstacles if found.severity == "blocks"), "")
