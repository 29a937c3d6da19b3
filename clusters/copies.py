"""The kept copies of a cluster, as pages, API and commands show them. The cluster itself may be gone."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from typing_extensions import TypedDict

from clusters.models import Instance, KeptCopy
from clusters.placement import owner_of
from clusters.postgres.rejoin_commands import read_by_hand, read_in_container

FIRST_PORT = 5432


class CopyShow(TypedDict):
    id: int
    instance: str
    server: str
    path: str
    origin: str  # diverged, replaced, removed
    size_bytes: int | None
    timeline: int | None
    end_lsn: str
    job: int
    created_at: datetime
    age_seconds: int
    start_by_hand: str  # a shell line that starts it beside the running cluster, read only, over a socket of its own


def kept_copies(cluster: str) -> list[CopyShow]:
    """Those that are there, the newest first. Two queries."""
    copies = list(KeptCopy.objects.filter(cluster_name=cluster.replace("\0", ""), gone_at=None).select_related("server"))
    rows = Instance.objects.filter(cluster__name=cluster.replace("\0", "")).only("name", "server_id", "bindir", "image", "port")
    return [_shown(copy, list(rows)) for copy in copies]


def copy_owner(cluster: str, copy: int) -> str:
    """The name of the instance whose copy it is. Raises: KeptCopy.DoesNotExist."""
    return KeptCopy.objects.get(cluster_name=cluster.replace("\0", ""), pk=copy, gone_at=None).instance_name


def copy_data(copy: KeptCopy) -> str:
    """Where the data directory is in it: a removed instance was put aside as a whole."""
    return f"{copy.path}/volumes/postgres/data" if copy.origin == KeptCopy.Origin.REMOVED else f"{copy.path}/data"


def _shown(copy: KeptCopy, rows: list[Instance]) -> CopyShow:
    return {
        "id": copy.pk,
        "instance": copy.instance_name,
        "server": copy.server.name,
        "path": copy.path,
        "origin": copy.origin,
        "size_bytes": copy.size_bytes,
        "timeline": copy.timeline,
        "end_lsn": copy.end_lsn,
        "job": copy.job_id,
        "created_at": copy.created_at,
        "age_seconds": max(0, int((timezone.now() - copy.created_at).total_seconds())),
        "start_by_hand": _by_hand(copy, rows),
    }


def _by_hand(copy: KeptCopy, rows: list[Instance]) -> str:
    here = [row for row in rows if row.server_id == copy.server_id]
    row = next((row for row in here if row.name == copy.instance_name), here[0] if here else None)
    port = row.port if row else FIRST_PORT
    if copy.server.in_containers:
        return read_in_container(row.image if row else "", owner_of(copy.server), copy.path, copy_data(copy), port)
    bindir = row.bindir if row else _programs(copy)
    socket_directory = f"{copy.server.base_directory.rstrip('/')}/.run/k{copy.pk}"
    return read_by_hand(bindir, copy.path, copy_data(copy), socket_directory, port)


def _programs(copy: KeptCopy) -> str:
    """For a cluster that is gone: a directory of programs on that server; which version the data needs its PG_VERSION says."""
    found = copy.server.facts.get("postgres") or [{"bindir": "/usr/bin"}]
    return str(found[0]["bindir"])
