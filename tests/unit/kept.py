"""What the monitor would have kept of an instance: a wave of lag, with a hole in which nobody asked and one in which nobody answered."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import connection
from django.utils import timezone

from clusters.models import Cluster, FineSample

_ROWS = """
INSERT INTO clusters_sample
    (instance_id, seconds, at, looks, answers, lag_bytes, lag_seconds, wal_rate, retained_bytes, connections, disk_free_bytes)
SELECT instance.id, %(seconds)s, at, %(seconds)s / 5, CASE WHEN silent THEN 0 ELSE %(seconds)s / 5 END,
       CASE WHEN NOT silent AND role = 'standby' THEN (3e6 * (1 + sin(extract(epoch FROM at) / 3600 + instance.id)))::bigint END,
       CASE WHEN NOT silent AND role = 'standby' THEN 0.4 * (1 + sin(extract(epoch FROM at) / 3600 + instance.id)) END,
       CASE WHEN NOT silent THEN 2e5 * (1 + cos(extract(epoch FROM at) / 9000)) END,
       CASE WHEN NOT silent AND role = 'primary' THEN 5000000 END,
       CASE WHEN NOT silent THEN 12 + (extract(epoch FROM at)::bigint / 600) %% 7 END, %(disk)s
FROM clusters_instance AS instance,
     LATERAL (SELECT at, role = 'standby' AND n BETWEEN %(count)s / 2 AND %(count)s / 2 + %(count)s / 20 AS silent
                FROM generate_series(1, %(count)s) AS n,
                     LATERAL (SELECT date_bin(make_interval(secs => %(seconds)s), %(now)s, 'epoch'::timestamptz)
                                     - n * make_interval(secs => %(seconds)s) AS at)
               WHERE n NOT BETWEEN %(count)s / 4 AND %(count)s / 4 + %(count)s / 20) AS times
WHERE instance.cluster_id = ANY(%(clusters)s)"""


def keep(clusters: list[Cluster], *, seconds: int = 60, count: int = 60, now: dt.datetime | None = None, disk: int | None = None) -> None:
    """`count` rows of so many seconds each, up to `now`."""
    values: dict[str, Any] = {"seconds": seconds, "count": count, "now": now or timezone.now(), "disk": disk}
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, values | {"clusters": [cluster.pk for cluster in clusters]})


def keep_fine(cluster: Cluster, *, minutes: int = 60, now: dt.datetime | None = None) -> None:
    """Every five seconds; the lag in bytes is the number of the sample, and every twelfth question got no answer."""
    begin = (now or timezone.now()).replace(second=0, microsecond=0) - dt.timedelta(minutes=minutes)
    lags = [None, *range(1, 12)]
    FineSample.objects.bulk_create(
        FineSample(
            instance=instance,
            at=begin + dt.timedelta(minutes=number),
            offsets=[5.0 * each for each in range(12)],
            lag_bytes=lags,
            lag_seconds=[None if lag is None else lag / 10 for lag in lags],
            wal_rate=[None if lag is None else 1e5 for lag in lags],
            retained_bytes=[None] * 12,
        )
        for instance in cluster.instances.all()
        for number in range(minutes)
    )
