"""What a discovery found, as page, API and command show it: clusters, their instances, and what is to be said of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext
from typing_extensions import TypedDict

from clusters.form_fields import translated
from clusters.models import Cluster, Discovery
from clusters.postgres.adoption_rules import MANUAL, adoption_findings
from clusters.postgres.found import Found, Group, groups


class FindingShow(TypedDict):
    name: str
    severity: str  # blocks: it cannot be watched like this; flag: grave; warns
    sentence: str
    value: Any
    threshold: Any
    cure: str
    manual: str | None  # where in the users' manual it begins


class FoundShow(TypedDict):
    server: str
    name: str
    label: str
    way: str  # container, process
    state: str
    role: str | None  # primary, standby; null where it could not be asked
    error: str
    own: str  # the panel's own instance
    image: str
    version: str
    port: int
    data_directory: str
    started: str
    upstream: str | None
    slot: str | None
    application_name: str | None
    replication: str | None  # as in pg_stat_replication
    findings: list[FindingShow]


class GroupShow(TypedDict):
    system_identifier: str
    managed_as: str | None  # the cluster of the panel that it is already
    adoptable: bool
    database: str
    instances: list[FoundShow]


class DiscoveryShow(TypedDict):
    id: int  # the number of the job
    created_at: datetime
    servers: dict[str, list[str]]  # what could not be looked at there
    clusters: list[GroupShow]
    others: list[FoundShow]  # in no cluster: not running, not to be asked, the panel's own


def discovery_get(number: int) -> Discovery:
    """Raises: Discovery.DoesNotExist."""
    return Discovery.objects.get(job_id=number)


def discovery_list() -> list[Discovery]:
    """The latest, without what they found."""
    return list(Discovery.objects.defer("found")[:20])


def found_of(discovery: Discovery) -> list[Found]:
    return [Found.from_row(row) for row in discovery.found]


def group_of(discovery: Discovery, system_identifier: str) -> Group | None:
    return next((group for group in groups(found_of(discovery)) if group.system_identifier == system_identifier), None)


def discovery_show(discovery: Discovery) -> DiscoveryShow:
    found = found_of(discovery)
    formed = groups(found)
    members = [member for group in formed for member in group.members]
    managed = dict(Cluster.objects.exclude(system_identifier="").values_list("system_identifier", "name"))
    return {
        "id": discovery.job_id,
        "created_at": discovery.created_at,
        "servers": dict(sorted(discovery.servers.items())),
        "clusters": [_group_shown(group, managed.get(group.system_identifier)) for group in formed],
        "others": [_found_shown(each, None) for each in found if each not in members],
    }


def database_of(group: Group) -> tuple[str, str]:
    """The application's database and its owner: the largest one of the primary, and `postgres` only where there is no other."""
    return group.members[0].databases[0] if group.members[0].databases else ("postgres", group.members[0].superuser)


def _group_shown(group: Group, managed: str | None) -> GroupShow:
    rows = [_found_shown(member, group) for member in group.members]
    return {
        "system_identifier": group.system_identifier,
        "managed_as": managed,
        "adoptable": managed is None and not any(finding["severity"] == "blocks" for row in rows for finding in row["findings"]),
        "database": database_of(group)[0],
        "instances": rows,
    }


def _found_shown(found: Found, group: Group | None) -> FoundShow:
    facts, tie = found.facts, group.tie_of(found) if group else None
    return {
        "server": found.server,
        "name": found.name,
        "label": found.label,
        "way": found.way,
        "state": found.state,
        "role": facts.role if facts else None,
        "error": found.error,
        "own": found.own,
        "image": found.image,
        "version": facts.version if facts else "",
        "port": found.outer_port,
        "data_directory": found.outside(found.data_directory) or found.data_directory,
        "started": found.started,
        "upstream": tie.upstream.label if tie else None,
        "slot": tie.slot or None if tie else None,
        "application_name": tie.application_name if tie else None,
        "replication": tie.state or None if tie else None,
        "findings": _findings(found, group) if group else [],
    }


def _findings(found: Found, group: Group) -> list[FindingShow]:
    return [
        {
            "name": each.name,
            "severity": each.severity,
            "sentence": translated(each.sentence),
            "value": each.value,
            "threshold": each.threshold,
            "cure": translated(each.cure),
            "manual": gettext(MANUAL[each.name]) if each.name in MANUAL else None,
        }
        for each in adoption_findings(found, group)
    ]


def counted(findings: Sequence[FindingShow]) -> dict[str, int]:
    """How many there are of each severity."""
    return {severity: sum(each["severity"] == severity for each in findings) for severity in ("blocks", "flag", "warns")}
