"""Many declared instances with two real ones behind them, and the loop that the monitor is compared with."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
from django.db import connection
from django.utils import timezone

from benchmarks.clone_bench import Bench
from clusters.models import Cluster, Instance, InstanceState, Server
from clusters.postgres.names import SUPERUSER
from clusters.postgres.sampling import SAMPLE, Sampled
from tests.waiting import wait_until


class SweepBench(Bench):
    def __init__(self, base: Path, instances: int) -> None:
        super().__init__(base, settings={"max_connections": str(instances + 50)})
        self.stage.standby(name="node2")
        self.real = list(Instance.objects.select_related("server", "cluster").order_by("name"))
        self._declare((instances - 2) // 2)

    def _declare(self, clusters: int) -> None:
        """More clusters of the same two instances, each on a server of its own at the same address."""
        first = Cluster.objects.get()
        servers = [Server(name=f"s{n}", connection="local", base_directory=f"/srv/s{n}", address="127.0.0.1") for n in range(clusters)]
        Server.objects.bulk_create(servers)
        fields = {field.attname: getattr(first, field.attname) for field in Cluster._meta.concrete_fields if not field.primary_key}
        rows = [Cluster(**{**fields, "name": f"many-{n}"}) for n in range(clusters)]
        Cluster.objects.bulk_create(rows)
        seen = {"lifecycle": "ready", "observed_at": timezone.now()}  # by jobs: else each is a change, and a verification is requested
        Instance.objects.bulk_create(
            Instance(
                cluster=row,
                server=server,
                name=real.name,
                port=real.port,
                bindir=real.bindir,
                role=real.role,
                observed_role=real.role,
                **seen,
            )
            for row, server in zip(rows, servers, strict=True)
            for real in self.real
        )

    def bare(self, seconds: float) -> float:
        """CPU seconds an instance and look, one after the other over kept connections, what comes read as the monitor reads it."""
        count = Instance.objects.count()
        password = Cluster.objects.get(name="orders").panel_password.reveal()
        sessions = [
            psycopg.connect(
                host="127.0.0.1", port=real.port, user=real.cluster.panel_role, password=password, dbname=SUPERUSER, autocommit=True
            )
            for real in self.real
            for _again in range(count // 2)
        ]
        looks = 0
        for session in sessions:
            session.execute(SAMPLE, prepare=True)
        began, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            for session in sessions:
                row = session.execute(SAMPLE, prepare=True).fetchone()
                assert row is not None
                Sampled.from_text(row[0])
                looks += 1
        spent = time.process_time() - began
        for session in sessions:
            session.close()
        return spent / looks

    def wait_all_answered(self) -> None:
        count = Instance.objects.count()
        wait_until(lambda: InstanceState.objects.exclude(answered_at=None).count() == count, "all have answered", 120)

    def oldest(self) -> float:
        """Seconds since the answer that is the oldest among those that are not dead; the worst of ten looks."""
        ages = []
        for _look in range(10):
            moment = InstanceState.objects.exclude(instance__server__address="192.0.2.1").order_by("answered_at")[0].answered_at
            assert moment is not None
            ages.append((timezone.now() - moment).total_seconds())
            time.sleep(0.7)
        return max(ages)

    def kill(self, count: int) -> None:
        """So many have an address where nobody is (RFC 5737), from the next round on."""
        chosen = Server.objects.filter(name__startswith="s").order_by("pk").values_list("pk", flat=True)[: count // 2]
        Server.objects.filter(pk__in=list(chosen)).update(address="192.0.2.1")
        connection.close()

    def end(self) -> None:
        Instance.objects.exclude(cluster=self.cluster).delete()
        super().end()
