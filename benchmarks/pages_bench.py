"""A large fleet in the panel's database, and what a page asks of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clusters.models import Cluster, Instance, InstanceState, ReplicationPair, Verification
from tasks.models import Job
from tests.factories import UserFactory
from tests.unit.kept import keep, keep_fine
from tests.unit.observed import observed_cluster

#: What the monitor keeps of an answer, as long as a real one.
SAMPLED = {
    "in_recovery": False, "system_identifier": "7000000000000000001", "started_at": 1.7e9, "timeline": 1, "connections": 9,
    "max_connections": 100, "position": 2**34, "replayed": None, "replay_paused": False, "replay_age_seconds": None,
    "receiver": None, "receiver_silent_seconds": None, "checksum_failures": 0,
    "senders": [{"name": f"c-{n}", "state": "streaming", "sync_state": "async", "lag_bytes": 0, "lag_seconds": None} for n in (2, 3)],
    "slots": [{"name": f"c-{n}", "active": True, "wal_status": "reserved", "safe_bytes": 2**30, "retained_bytes": 4096} for n in (2, 3)],
}  # fmt: skip


def declare(clusters: int) -> int:
    """So many clusters of a primary and two standbys (c501: nine), every tenth with a warning; the number of instances."""
    for number in range(clusters):
        observed_cluster(f"c{number}", standbys=9 if number == 501 else 2)
    now = timezone.now()
    Instance.objects.update(observed_at=now)
    Instance.objects.filter(role="primary").update(observed_role="primary")
    Instance.objects.filter(role="standby").update(observed_role="standby")
    ReplicationPair.objects.update(state="streaming", sync_state="async", lag_bytes=0, observed_at=now)
    rows = Instance.objects.all()
    InstanceState.objects.bulk_create(
        InstanceState(instance=row, tried_at=now, answered_at=now, since=now, role=row.role, sampled=SAMPLED) for row in rows
    )
    pairs = ReplicationPair.objects.order_by("pk")
    Verification.objects.bulk_create(Verification(pair=pair, verdict="ok" if pair.pk % 10 else "warning") for pair in pairs)
    remember()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return Cluster.objects.count() and rows.count()


def remember() -> None:
    """Minutes of the last hour of every instance; of two clusters all that the monitor keeps, of a hundred all hours of the last month."""
    every = list(Cluster.objects.order_by("pk"))
    watched = [cluster for cluster in every if cluster.name in ("c500", "c501")] or every[:1]
    keep([cluster for cluster in every if cluster not in watched], count=60)
    keep(watched, count=31 * 1440)
    keep(every[-100:] + [cluster for cluster in watched if cluster not in every[-100:]], seconds=3600, count=31 * 24)
    for cluster in watched:
        keep_fine(cluster, minutes=1380)
    rows = (
        Job(
            kind=kind,
            cluster=every[number % len(every)],
            status="done",
            started_at=ended - timedelta(seconds=number % 37 / 3),
            finished_at=ended,
        )
        for number, kind in enumerate(["verify", "verify", "switchover", "add_standby"] * 2500)
        for ended in [timezone.now() - timedelta(minutes=number)]
    )
    Job.objects.bulk_create(rows, batch_size=2000)


def client_of(group: str) -> Client:
    user = UserFactory()
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def asked(client: Client, path: str) -> list[str]:
    """The queries of one answer."""
    with CaptureQueriesContext(connection) as captured:
        response: Any = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return [query["sql"] for query in captured.captured_queries]


def spoken(queries: list[str]) -> None:
    """The same queries, asked anew, every row read."""
    with connection.connection.cursor() as cursor:
        for query in queries:
            cursor.execute(query.encode())
            if cursor.description:
                cursor.fetchall()
