"""Two ways to the same switchover: by hand with the least that is safe, and by the panel's job."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.clone_bench import Bench
from clusters import services
from clusters.hosts.local import LocalMachine
from clusters.models import Cluster, Instance
from clusters.postgres.facts import Lsn, parse_controldata
from clusters.postgres.files import render_replication_conf, standby_signal
from clusters.selectors import instance_spec
from tests.writers import LIVELY, Writers

POLL_SECONDS = 0.005


class SwitchBench(Bench):
    def __init__(self, base: Path, writers: int) -> None:
        super().__init__(base)
        self.stage.standby(name="node2")
        self.writers = Writers(self.stage.dsn("orders"), count=writers, pace=LIVELY)
        self.rebuilds = 0  # nothing here can rebuild: a standby that does not follow ends the run

    def switch(self, how: str) -> float:
        """The write gap of one switchover; the old primary streams when it returns."""
        self.writers.go_on(200)
        since = time.monotonic()
        {"bare": self.by_hand, "panel": self.by_panel}[how]()
        self.writers.go_on(200)
        return self.writers.gap(since)

    def by_panel(self) -> None:
        to = Instance.objects.get(cluster__name="orders", role="standby").name
        self.stage.done("switchover", cluster="orders", to=to, reason="benchmark", confirm="orders", canary="no")

    def by_hand(self) -> None:
        """What a careful person's script does, and not more; the panel's rows are brought up to date after it."""
        old, new = (self._row(role) for role in ("primary", "standby"))
        with self._superuser(old) as on_old, self._superuser(new) as on_new:
            on_new.execute(
                "SELECT pg_create_physical_replication_slot(%(slot)s, true) "
                "WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(slot)s)",
                {"slot": f"pgr_orders_{old.name}"},
            )
            on_old.execute("CHECKPOINT")
            on_new.execute("CHECKPOINT")
            self._stop(old)
            end = self._end(old)
            while Lsn.parse(on_new.execute("SELECT pg_last_wal_replay_lsn()::text").fetchone()[0]) <= end:  # type: ignore[index]
                time.sleep(0.001)
            on_new.execute("SELECT pg_promote(false)")
            while on_new.execute("SELECT pg_is_in_recovery()").fetchone()[0]:  # type: ignore[index]
                time.sleep(0.001)
        services.cluster_record_promotion(Cluster.objects.get(name="orders"), new)
        self._follow(self._row("standby"))
        self._await_follower(self._row("primary"), self._row("standby").name)

    def _row(self, role: str) -> Instance:
        return Instance.objects.select_related("server", "cluster").get(cluster__name="orders", role=role)

    def _superuser(self, row: Instance) -> psycopg.Connection[Any]:
        spec, password = instance_spec(row), row.cluster.superuser_password.reveal()
        return psycopg.connect(host=spec.socket_directory, port=spec.port, user="postgres", password=password, autocommit=True)

    def _stop(self, row: Instance) -> None:
        data = Path(instance_spec(row).data_directory)
        self.run([f"{self.bindir}/pg_ctl", "stop", "-D", str(data), "-m", "fast", "-W"])
        while (data / "postmaster.pid").exists():
            time.sleep(POLL_SECONDS)

    def _end(self, row: Instance) -> Lsn:
        argv = [f"{self.bindir}/pg_controldata", instance_spec(row).data_directory]
        said = subprocess.run(argv, capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout
        control = parse_controldata(said)
        assert control.state == "shut down"
        return control.checkpoint_lsn

    def _follow(self, row: Instance) -> None:
        spec, machine = instance_spec(row), LocalMachine(run_as=self.server.run_as)
        for file in (render_replication_conf(spec), standby_signal(spec.data_directory)):
            machine.write_file(file.path, file.content.encode(), file.mode)
        options = f"-c config_file={spec.config_file}"
        self.run([f"{self.bindir}/pg_ctl", "start", "-D", spec.data_directory, "-l", spec.log_file, "-o", options, "-w"])

    def _await_follower(self, primary: Instance, name: str) -> None:
        end = time.monotonic() + 30
        with self._superuser(primary) as session:
            question = "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"
            while session.execute(question, (name,)).fetchone() is None:
                assert time.monotonic() < end, f"{name} does not follow"
                time.sleep(0.05)
