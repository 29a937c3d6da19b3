"""What the panel knows, for Prometheus: read from the panel's rows at each scrape, so it is the same from every web process.

Nothing here asks a server: how old the knowledge is, is a metric too. Names and meanings: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from clusters.models import Cluster, Instance, Monitor, ReplicationPair, Verification
from clusters.models.cluster import Lifecycle
from tasks.alerting.selectors import alerts_raised
from tasks.forecasts import InstanceForecast, forecasts_of
from tasks.models import Job
from tasks.pulses import Part, last_round
from tasks.tokens import token_actor, token_find

PERMISSION: Final = "clusters.view_cluster"

_INSTANCE = ("cluster", "instance", "server")
_STANDBY = ("cluster", "standby", "upstream")
_SLOT = ("cluster", "instance", "slot")
#: Name -> what it says, and its labels. Seconds and bytes throughout; a moment is in seconds since 1970.
METRICS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "pgreplica_cluster_epoch": ("How often the cluster was given a new primary, plus one.", ("cluster",)),
    "pgreplica_cluster_writable_instances": ("Instances that were last seen accepting writes. One is right.", ("cluster",)),
    "pgreplica_instance_up": ("1 if it answered the monitor's last question, else 0.", _INSTANCE),
    "pgreplica_instance_role": ("1 for the role observed last: primary, standby, stopped, unreachable, unknown.", (*_INSTANCE, "role")),
    "pgreplica_instance_declared_primary": ("1 for the instance that the panel means to be the primary.", _INSTANCE),
    "pgreplica_instance_quarantined": ("1 while it is an old primary that is kept down until it is rejoined.", _INSTANCE),
    "pgreplica_instance_answered_timestamp_seconds": ("When it answered the monitor last.", _INSTANCE),
    "pgreplica_instance_timeline": ("The timeline it is on.", _INSTANCE),
    "pgreplica_instance_connections": ("Its connections.", _INSTANCE),
    "pgreplica_instance_max_connections": ("Its limit of connections.", _INSTANCE),
    "pgreplica_instance_checksum_failures": ("Data pages that failed their checksum since its statistics were reset.", _INSTANCE),
    "pgreplica_instance_replay_paused": ("1 while a standby's replay is paused.", _INSTANCE),
    "pgreplica_instance_wal_bytes_per_second": ("WAL that it writes, or receives as a standby.", _INSTANCE),
    "pgreplica_disk_free_bytes": ("Free on the file system of its data directory.", _INSTANCE),
    "pgreplica_disk_total_bytes": ("Size of that file system.", _INSTANCE),
    "pgreplica_disk_full_seconds": ("Until that file system is full, as it fills now; absent while it does not.", _INSTANCE),
    "pgreplica_replication_streaming": ("1 while the upstream streams to the standby.", _STANDBY),
    "pgreplica_replication_sync": ("1 while commits may wait for the standby (sync or quorum).", _STANDBY),
    "pgreplica_replication_lag_bytes": ("WAL that the upstream has written and the standby has not replayed.", _STANDBY),
    "pgreplica_replication_lag_seconds": ("Age of what the standby replayed last, while it lags.", _STANDBY),
    "pgreplica_slot_active": ("1 while somebody uses the slot.", _SLOT),
    "pgreplica_slot_retained_bytes": ("WAL that is kept for the slot.", _SLOT),
    "pgreplica_slot_safe_bytes": ("WAL that may still be written before the slot is lost; absent without a limit.", _SLOT),
    "pgreplica_slot_lost_seconds": ("Until an idle slot is lost or has filled the disk, as WAL is written now; 0: it is lost.", _SLOT),
    "pgreplica_verification_timestamp_seconds": ("When the standby was verified last.", _STANDBY),
    "pgreplica_verification_verdict": ("1 for the verdict of the standby's last verification.", (*_STANDBY, "verdict")),
    "pgreplica_alerts": ("Alerts that are open.", ("cluster", "condition", "severity")),
    "pgreplica_jobs": ("Jobs on record, by kind and status.", ("kind", "status")),
    "pgreplica_monitor_last_round_timestamp_seconds": ("When the monitor ended its last round.", ()),
    "pgreplica_monitor_interval_seconds": ("How often the monitor asks each instance.", ()),
    "pgreplica_monitor_instances": ("Instances that the monitor asks.", ()),
    "pgreplica_alerter_last_round_timestamp_seconds": ("When the alerter judged last what is wrong.", ()),
    "pgreplica_workers_last_round_timestamp_seconds": ("When a worker had room last for what is rung every five seconds.", ()),
}


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The text format of Prometheus, for a bearer token or a session with clusters.view_cluster; 401 and 403 for others."""
    refused = _refused(request)
    if refused is not None:
        return refused
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Panel())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _refused(request: HttpRequest) -> HttpResponse | None:
    scheme, _space, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        token = token_find(text.strip())
        known, allowed = token is not None, token is not None and token_actor(token).can(PERMISSION)
    else:
        known, allowed = request.user.is_authenticated, request.user.has_perm(PERMISSION)
    if allowed:
        return None
    sentence = f"This token's user lacks the permission {PERMISSION}." if known else "Send an API token: Authorization: Bearer pgr_…"
    headers = {"Cache-Control": "no-store", **({} if known else {"WWW-Authenticate": "Bearer"})}
    return HttpResponse(f"{sentence}\n", status=403 if known else 401, content_type="text/plain; charset=utf-8", headers=headers)


class Panel(Collector):
    """All of it in ten queries, whatever the number of clusters."""

    def collect(self) -> Iterator[Metric]:
        self._families = {name: GaugeMetricFamily(name, says, labels=labels) for name, (says, labels) in METRICS.items()}
        instances = _instances()
        self._clusters(instances)
        for row in instances:
            self._instance(row)
        for forecast in forecasts_of():
            self._space(forecast)
        for pair in _pairs():
            self._pair(pair)
        for cluster, condition, severity, count in _alerts():
            self._add("alerts", (cluster, condition, severity), count)
        for kind, status, count in Job.objects.order_by().values_list("kind", "status").annotate(Count("pk")):
            self._add("jobs", (kind, status), count)
        self._monitor(Monitor.objects.first())
        for part in Part:
            self._add(f"{part}_last_round_timestamp_seconds", (), last_round(part))
        yield from self._families.values()

    def _add(self, name: str, labels: Iterable[str], value: float | datetime | None) -> None:
        """What is not known has no sample."""
        if isinstance(value, datetime):
            value = value.timestamp()
        if value is not None:
            self._families[f"pgreplica_{name}"].add_metric(list(labels), float(value))

    def _clusters(self, instances: Iterable[Any]) -> None:
        writable = Counter(row.cluster_id for row in instances if row.observed_role == Instance.Observed.PRIMARY)
        for pk, name, epoch in Cluster.objects.filter(lifecycle=Lifecycle.READY).order_by("name").values_list("pk", "name", "epoch"):
            self._add("cluster_epoch", (name,), epoch)
            self._add("cluster_writable_instances", (name,), writable[pk])

    def _instance(self, row: Any) -> None:
        labels = (row.cluster__name, row.name, row.server__name)
        self._add("instance_role", (*labels, row.observed_role), 1)
        self._add("instance_declared_primary", labels, row.role == Instance.Role.PRIMARY)
        self._add("instance_quarantined", labels, row.quarantined_at is not None)
        if row.state__missed is None:  # the monitor has not asked it yet, or does not: a cluster that is only watched
            return
        self._add("instance_up", labels, row.state__missed == 0)
        self._add("instance_answered_timestamp_seconds", labels, row.state__answered_at)
        if row.state__missed == 0:
            self._sampled(labels, row.state__sampled)
            self._add("instance_wal_bytes_per_second", labels, row.state__wal_rate)

    def _sampled(self, labels: tuple[str, str, str], sampled: dict[str, Any]) -> None:
        """What it said last, in the shape of `clusters.postgres.sampling.Sampled`; of one that is silent now, nothing is claimed."""
        for name in ("timeline", "connections", "max_connections", "checksum_failures", "replay_paused"):
            self._add(f"instance_{name}", labels, sampled.get(name))
        cluster, instance, _server = labels
        for slot in sampled.get("slots", ()):
            of = (cluster, instance, slot["name"])
            self._add("slot_active", of, slot["active"])
            self._add("slot_retained_bytes", of, slot["retained_bytes"])
            self._add("slot_safe_bytes", of, slot["safe_bytes"])

    def _space(self, found: InstanceForecast) -> None:
        labels = (found.cluster, found.instance, found.server)
        if found.disk.left is not None:  # else it is not known, or too old
            self._add("disk_free_bytes", labels, found.disk_free_bytes)
            self._add("disk_total_bytes", labels, found.disk_total_bytes)
        self._add("disk_full_seconds", labels, found.disk.seconds)
        for slot in found.slots:
            self._add("slot_lost_seconds", (found.cluster, found.instance, slot.seen.name), slot.forecast.seconds)

    def _pair(self, row: Any) -> None:
        labels = (row.standby__cluster__name, row.standby__name, row.upstream__name)
        self._add("replication_streaming", labels, row.state == "streaming")
        self._add("replication_sync", labels, row.sync_state in ("sync", "quorum"))
        self._add("replication_lag_bytes", labels, row.lag_bytes)
        self._add("replication_lag_seconds", labels, row.lag_seconds)
        self._add("verification_timestamp_seconds", labels, row.verified_at)
        if row.verdict:
            self._add("verification_verdict", (*labels, row.verdict), 1)

    def _monitor(self, monitor: Monitor | None) -> None:
        if monitor is not None:
            self._add("monitor_last_round_timestamp_seconds", (), monitor.beat_at)
            self._add("monitor_interval_seconds", (), monitor.interval)
            self._add("monitor_instances", (), monitor.instances)


def _instances() -> list[Any]:
    """Columns, no models: a scrape opens no secret."""
    fields = ("name", "role", "observed_role", "quarantined_at", "cluster_id", "cluster__name", "server__name")
    of_state = ("state__missed", "state__answered_at", "state__sampled", "state__wal_rate")
    rows = Instance.objects.filter(lifecycle=Lifecycle.READY).order_by("cluster__name", "name")
    return list(rows.values_list(*fields, *of_state, named=True))


def _alerts() -> Iterable[tuple[str, str, str, int]]:
    rows = alerts_raised().filter(ended_at=None).order_by().values_list("cluster_name", "condition", "severity")
    return rows.annotate(number=Count("pk"))


def _pairs() -> Iterable[Any]:
    """The pairs, each with the moment and the verdict of its last verification."""
    last = Verification.objects.filter(pair=OuterRef("pk")).order_by("-created_at")[:1]
    rows = ReplicationPair.objects.filter(standby__lifecycle=Lifecycle.READY).order_by("pk")
    rows = rows.annotate(verified_at=Subquery(last.values("created_at")), verdict=Subquery(last.values("verdict")))
    fields = ("standby__cluster__name", "standby__name", "upstream__name", "state", "sync_state", "lag_bytes", "lag_seconds")
    return rows.values_list(*fields, "verified_at", "verdict", named=True)
