"""What is known now, from the rows: a constant number of queries, whatever the number of clusters.

`everything` also reads what verifications found, which changes every few minutes and costs more to read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Now
from django.db.models.lookups import GreaterThan
from django.utils import timezone

from clusters.models import Cluster, Instance, Monitor, ReplicationPair, Verification, VerificationRun
from clusters.models.cluster import Lifecycle
from clusters.postgres.forecast import STALE_SECONDS, Forecast
from clusters.postgres.text import Text
from clusters.schedules import schedules_enabled
from tasks.alerting.conditions import CONDITIONS
from tasks.alerting.judging import TROUBLE_OF_PAIRS, TROUBLE_OF_PROMOTIONS
from tasks.alerting.things import ClusterThing, FindingThing, InstanceThing, Known, Room, SlotThing, StuckThing
from tasks.forecasts import InstanceForecast, forecasts_of
from tasks.kinds import RUNNABLE, Status
from tasks.models import Alert, Job
from tasks.pulses import Part, silent_since
from tasks.schedule import DEPTHS, last_runs, overdue_of
from tasks.workflows.deep import NOTES

#: Of a cluster whose verifications were not read.
NOT_VERIFIED: Final = {"verified": False, "proven": False}
#: Who stops the monitor in order has started another one within this.
REPLACED_WITHIN: Final = timedelta(seconds=30)
#: For so long after a job has changed a cluster, what is known of it may still be of before.
SETTLES: Final = timedelta(seconds=20)
#: What fills later than this needs no closer look; the thresholds of rules are below it.
FAR: Final = 31 * 86_400.0

_INSTANCE: Final = (
    "pk", "name", "cluster_id", "role", "observed_role", "quarantined_at", "not_promotable",
    "state__missed", "state__error", "state__sampled", "state__lag_bytes", "state__lag_seconds",
    "state__disk_free_bytes", "state__disk_total_bytes", "state__disk_rate", "state__disk_at",
)  # fmt: skip


def known_now(*, everything: bool) -> Known:
    now = timezone.now()
    monitor = Monitor.objects.annotate(lives=GreaterThan(F("lease_until"), Now())).first()  # the lease is by the database's clock
    lives = monitor is not None and bool(monitor.lives)
    clusters = (
        Cluster.objects.filter(lifecycle=Lifecycle.READY).order_by("name").only("pk", "name", "sync_count", "adopted_at", "taken_over_at")
    )
    instances, jobs = _instances(now, lives), _Jobs(now)
    verified = _Verified(now) if everything else None
    return Known(
        tuple(
            ClusterThing(
                pk=cluster.pk,
                name=cluster.name,
                watched=cluster.is_watched,
                sync_count=cluster.sync_count,
                busy=cluster.pk in jobs.busy,
                instances=tuple(instances[cluster.pk]),
                **(verified.of(cluster.pk) if verified else NOT_VERIFIED),
            )
            for cluster in clusters
        ),
        monitor_lives=lives,
        monitor_dead=not lives and not (monitor is not None and _stopped_lately(monitor, now)),
        monitor_since=monitor.beat_at if monitor and not lives else None,
        workers_since=silent_since(Part.WORKERS),
        stuck=_stuck(),
    )


def _stopped_lately(monitor: Monitor, now: datetime) -> bool:
    """It has given its lease back: whoever stopped it has most likely started another one already."""
    return monitor.lease_until is None and monitor.beat_at is not None and now - monitor.beat_at < REPLACED_WITHIN


# -- instances


def _instances(now: datetime, monitor_lives: bool) -> Mapping[int, list[InstanceThing]]:
    """Cluster key -> its instances. Three queries more where a disk fills or a slot is idle."""
    rows = list(Instance.objects.filter(lifecycle=Lifecycle.READY).order_by("role", "name").values(*_INSTANCE))
    names = {row["pk"]: row["name"] for row in rows}
    fields = ("standby_id", "upstream_id", "state", "sync_state")
    pairs = {pair[0]: pair for pair in ReplicationPair.objects.order_by().values_list(*fields)}
    pressing = {row["cluster_id"] for row in rows if _presses(row)}
    forecasts = {each.instance_id: each for each in forecasts_of(clusters=pressing)} if pressing else {}
    found: defaultdict[int, list[InstanceThing]] = defaultdict(list)
    for row in rows:
        _key, upstream, stream, sync_state = pairs.get(row["pk"], (None, None, "", ""))
        forecast = forecasts.get(row["pk"])
        found[row["cluster_id"]].append(
            InstanceThing(
                name=row["name"],
                role=row["role"],
                observed_role=row["observed_role"],
                quarantined=row["quarantined_at"] is not None,
                monitored=row["state__missed"] is not None,
                answers=monitor_lives and row["state__missed"] == 0,
                error=row["state__error"] or "",
                sampled=row["state__sampled"] or {},
                lag_bytes=row["state__lag_bytes"],
                lag_seconds=row["state__lag_seconds"],
                upstream=names.get(upstream),
                stream=stream,
                sync_state=sync_state,
                not_promotable=row["not_promotable"],
                room=_room(row, forecast, now),
                slots=_slots(forecast),
            )
        )
    return found


def _presses(row: Mapping[str, Any]) -> bool:
    """Whether its disk or a slot is worth a forecast."""
    free, rate, slots = row["state__disk_free_bytes"], row["state__disk_rate"], (row["state__sampled"] or {}).get("slots", ())
    fills = free is not None and rate is not None and rate > 0 and free / rate < FAR
    scarce = free is not None and free < (row["state__disk_total_bytes"] or 0) / 2
    return fills or scarce or any(not slot["active"] or slot["wal_status"] != "reserved" for slot in slots)


def _room(row: Mapping[str, Any], forecast: InstanceForecast | None, now: datetime) -> Room | None:
    at = row["state__disk_at"]
    if at is None or (now - at).total_seconds() > STALE_SECONDS:
        return None
    steady = Forecast("steady", Text(""))
    return Room(row["state__disk_free_bytes"], row["state__disk_total_bytes"], forecast.disk if forecast else steady)


def _slots(forecast: InstanceForecast | None) -> tuple[SlotThing, ...]:
    return tuple(
        SlotThing(slot.seen.name, slot.seen.active, slot.seen.owner, slot.seen.wal_status, slot.seen.retained_bytes, slot.forecast)
        for slot in (forecast.slots if forecast else ())
    )


# -- jobs


class _Jobs:
    """`busy`: clusters that a job changes, or has until a moment ago."""

    def __init__(self, now: datetime) -> None:
        at_work = Q(status__in=RUNNABLE) | Q(finished_at__gt=now - SETTLES)
        rows = Job.objects.filter(at_work, mutating=True, cluster__isnull=False).exclude(status=Status.NEEDS_OPERATOR).order_by()
        self.busy = set(rows.values_list("cluster_id", flat=True))


def _stuck() -> tuple[StuckThing, ...]:
    """Of every job that needs an operator, whatever it was about."""
    rows = (
        Job.objects.filter(status=Status.NEEDS_OPERATOR).order_by("pk").values_list("pk", "cluster_id", "cluster__name", "summary", "hint")
    )
    return tuple(StuckThing(pk, ClusterThing(key, name) if key else None, summary, hint) for pk, key, name, summary, hint in rows)


# -- verifications


class _Verified:
    """What verifications found, as far as it still counts.

    A standing finding counts until the next run, a deep one until the next deep run, one of content until the next of these. None counts
    once it should have been looked for again long ago; nor what was seen while the monitor saw an instance in trouble: it may have come of
    that, and the verification that follows tells what is left.
    """

    def __init__(self, now: datetime) -> None:
        schedules = schedules_enabled()
        self._runs = last_runs()
        self._late = overdue_of(schedules, self._runs)
        self._periods = {each.cluster_id: each.planned.period for each in schedules if each.planned.depth == DEPTHS[0]}
        self._now = now
        self._troubled = _troubled(now)
        self._of_pairs, self._of_runs = _pair_findings(), _run_findings(self._runs)

    def of(self, cluster: int) -> dict[str, Any]:
        run = self._runs.get(cluster, {}).get(DEPTHS[0])
        deep = self._runs.get(cluster, {}).get(DEPTHS[1])
        verified = run is not None and self._is_fresh(cluster, run) and not self._is_troubled(cluster, run, TROUBLE_OF_PAIRS)
        findings = [*(self._of_pairs[cluster] if verified else ()), *self._of_runs[cluster]]
        return {
            "findings": tuple(findings),
            "verified": verified,
            "proven": deep is not None and not self._is_troubled(cluster, deep, TROUBLE_OF_PROMOTIONS),
            "late_since": self._late.get(cluster),
        }

    def _is_fresh(self, cluster: int, moment: datetime) -> bool:
        period = self._periods.get(cluster)
        return period is None or self._now - moment < 3 * period + timedelta(minutes=1)

    def _is_troubled(self, cluster: int, moment: datetime, conditions: frozenset[str]) -> bool:
        return any(seen > moment for condition, seen in self._troubled[cluster].items() if condition in conditions)


def _troubled(now: datetime) -> Mapping[int, Mapping[str, datetime]]:
    """Cluster -> condition -> when the monitor saw it last; what was over a week ago came before any deep look that counts."""
    lately = Q(ended_at=None) | Q(ended_at__gt=now - timedelta(days=8))
    rows = Alert.objects.filter(lately, condition__in=TROUBLE_OF_PAIRS | TROUBLE_OF_PROMOTIONS, cluster__isnull=False)
    found: defaultdict[int, dict[str, datetime]] = defaultdict(dict)
    for cluster, condition, seen in rows.order_by().values_list("cluster", "condition").annotate(Max("seen_at")):
        if CONDITIONS[condition].source == "monitor":
            found[cluster][condition] = seen
    return found


def _pair_findings() -> Mapping[int, list[FindingThing]]:
    mine = Verification.objects.filter(pair=OuterRef("pk")).order_by("-created_at").values("pk")[:1]
    latest = ReplicationPair.objects.filter(standby__lifecycle=Lifecycle.READY).annotate(latest=Subquery(mine)).values("latest")
    rows = Verification.objects.filter(pk__in=latest.order_by()).exclude(verdict=Verification.Verdict.OK).order_by("pk")
    found: defaultdict[int, list[FindingThing]] = defaultdict(list)
    for cluster, standby, findings in rows.values_list("pair__standby__cluster_id", "pair__standby__name", "findings"):
        found[cluster] += [_finding(row, standby) for row in findings]
    return found


def _run_findings(runs: Mapping[int, Mapping[str, datetime | None]]) -> Mapping[int, list[FindingThing]]:
    """Of each cluster the findings of its latest run of each depth, those of that depth alone; rules of promotions left out."""
    moments = {moment for by_depth in runs.values() for moment in by_depth.values() if moment}
    rows = VerificationRun.objects.filter(created_at__in=moments, cluster__in=runs).exclude(findings=[]).order_by("pk")
    found: defaultdict[int, list[FindingThing]] = defaultdict(list)
    for cluster, at, findings in rows.values_list("cluster_id", "created_at", "findings"):
        current = {depth for depth, moment in runs[cluster].items() if moment == at}
        wanted = (row for row in findings if row.get("depth") in current and not row.get("act") and row["name"] not in NOTES)
        found[cluster] += [_finding(row, row["instance"]) for row in wanted]
    return found


def _finding(row: Mapping[str, Any], instance: str) -> FindingThing:
    value, threshold = ("" if row.get(key) is None else str(row[key]) for key in ("value", "threshold"))
    return FindingThing(instance, row["name"], row["severity"], row["sentence"], row.get("cure") or "", value, threshold)
