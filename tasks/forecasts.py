"""How long until a slot is lost or a disk is full, of many instances at once: three queries, whatever their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Sum
from django.utils import timezone
from typing_extensions import TypedDict

from clusters.models import Instance, KeptCopy, ReplicationPair
from clusters.models.cluster import Lifecycle
from clusters.postgres.forecast import STALE_SECONDS, DiskSeen, Forecast, SlotSeen, disk_forecast, slot_forecast

_FIELDS: Final = (
    "pk", "name", "cluster__name", "server__name", "server_id", "observed__settings__archive_mode",
    "state__missed", "state__answered_at", "state__sampled__slots", "state__wal_rate_mean",
    "state__disk_free_bytes", "state__disk_total_bytes", "state__disk_rate", "state__disk_at",
)  # fmt: skip


class SpaceShow(TypedDict):
    instance: str
    slot: str | None  # null: the disk of its data directory
    outlook: str  # over, filling, steady, unknown
    sentence: str
    cures: list[str]  # in the order to try them
    seconds: float | None  # until it is full or lost; null where it does not fill
    left_bytes: int | None  # until then
    bytes_per_second: float | None  # negative: freed
    observed_at: datetime | None


@dataclass(frozen=True)
class SlotForecast:
    seen: SlotSeen
    forecast: Forecast


@dataclass(frozen=True)
class InstanceForecast:
    """`disk_at`: the last look at its disk. `answered_at`: what is said of slots is as old as that."""

    instance_id: int
    cluster: str
    instance: str
    server: str
    disk: Forecast
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    disk_at: datetime | None
    slots: tuple[SlotForecast, ...]
    answered_at: datetime | None


def forecasts_of(*, clusters: Iterable[int] | None = None, servers: Iterable[int] | None = None) -> list[InstanceForecast]:
    """Of the instances that the monitor has looked at, by cluster and name; of these clusters or servers, else of all."""
    rows = Instance.objects.filter(lifecycle=Lifecycle.READY, state__isnull=False).order_by("cluster__name", "name")
    if clusters is not None:
        rows = rows.filter(cluster__in=clusters)
    if servers is not None:
        rows = rows.filter(server__in=servers)
    found = list(rows.values(*_FIELDS))
    pairs = ReplicationPair.objects.filter(upstream__in=[row["pk"] for row in found]).exclude(slot="")
    owners = {(upstream, slot): standby for upstream, slot, standby in pairs.values_list("upstream_id", "slot", "standby__name")}
    kept = KeptCopy.objects.filter(gone_at=None, server__in={row["server_id"] for row in found}).order_by()
    copies: defaultdict[int, int] = defaultdict(int)
    copies.update({server: size or 0 for server, size in kept.values_list("server_id").annotate(Sum("size_bytes"))})
    now = timezone.now()
    return [_forecast(row, owners, copies[row["server_id"]], now) for row in found]


def space_shown(found: Iterable[InstanceForecast]) -> list[SpaceShow]:
    """As the API tells it: each instance's disk, and each of its slots."""
    rows = []
    for one in found:
        rows.append(_shown(one, None, one.disk, one.disk_at))
        rows += [_shown(one, slot.seen.name, slot.forecast, one.answered_at) for slot in one.slots]
    return rows


def _shown(one: InstanceForecast, slot: str | None, forecast: Forecast, at: datetime | None) -> SpaceShow:
    return {
        "instance": one.instance,
        "slot": slot,
        "outlook": forecast.outlook,
        "sentence": str(forecast.sentence),
        "cures": [str(cure) for cure in forecast.cures],
        "seconds": forecast.seconds,
        "left_bytes": forecast.left,
        "bytes_per_second": forecast.rate,
        "observed_at": at,
    }


def _forecast(row: dict[str, Any], owners: dict[tuple[int, str], str], copies: int, now: datetime) -> InstanceForecast:
    slots = [_slot(slot, owners.get((row["pk"], slot["name"]), "")) for slot in row["state__sampled__slots"] or ()]
    disk = DiskSeen(
        free_bytes=row["state__disk_free_bytes"],
        rate=row["state__disk_rate"],
        age=_age(row["state__disk_at"], now),
        copies=copies,
        archives=row["observed__settings__archive_mode"] in ("on", "always"),
        slots=slots,
    )
    age = _age(row["state__answered_at"], now)
    heard = row["state__missed"] == 0 and age is not None and age <= STALE_SECONDS
    wal_rate = row["state__wal_rate_mean"]
    return InstanceForecast(
        instance_id=row["pk"],
        cluster=row["cluster__name"],
        instance=row["name"],
        server=row["server__name"],
        disk=disk_forecast(disk),
        disk_free_bytes=disk.free_bytes,
        disk_total_bytes=row["state__disk_total_bytes"],
        disk_at=row["state__disk_at"],
        slots=tuple(SlotForecast(slot, slot_forecast(slot, wal_rate, disk, heard=heard)) for slot in slots),
        answered_at=row["state__answered_at"],
    )


def _slot(said: dict[str, Any], owner: str) -> SlotSeen:
    return SlotSeen(said["name"], said["active"], owner, said["wal_status"], said["safe_bytes"], said["retained_bytes"])


def _age(moment: datetime | None, now: datetime) -> float | None:
    return max(0.0, (now - moment).total_seconds()) if moment else None
