"""Two ways to the same standby: by hand with PostgreSQL's own programs, and by the panel's job."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
from django.utils import timezone

from clusters.models import Instance, Server
from clusters.selectors import instance_spec
from launcher.account import unprivileged
from tests.ports import free_port
from tests.stage import Stage

SLOT = "bare"


class Bench:
    def __init__(self, base: Path, **created: Any) -> None:
        self.base, self.account = base, unprivileged()
        if self.account:
            self.account.own(base)
        self.bindir = os.environ["PGREPLICA_EMBEDDED_BINDIR"]
        self.server = Server.objects.create(
            name="alpha",
            address="127.0.0.1",
            base_directory=str(base / "s"),
            run_as=self.account.name if self.account else "",
            facts={"postgres": [{"major": 18, "version": "18.6", "bindir": self.bindir}]},
            observed_at=timezone.now(),
        )
        self.stage = Stage(self.server)
        self.cluster = self.stage.create(**created)
        self.primary = self.cluster.instances.select_related("server", "cluster").get()
        self.rounds = 0
        self.step_seconds: dict[str, list[float]] = {}  # of the panel's job

    def fill(self, scale: int) -> int:
        """Bytes of the cluster after pgbench's initialisation."""
        where = ["-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "shop", "shop"]
        env = {"PGPASSWORD": self.cluster.owner_password.reveal()}
        self.run([f"{self.bindir}/pgbench", "-i", "-q", "-s", str(scale), *where], env)
        with self.stage.connect(self.primary) as session:
            return int(session.execute("SELECT sum(pg_database_size(oid)) FROM pg_database").fetchone()[0])  # type: ignore[index]

    def panel(self) -> float:
        """Seconds from the request to a job that is done; then the standby is removed and its quarantine deleted."""
        began = time.monotonic()
        job = self.stage.standby(name="node2")
        took = time.monotonic() - began
        for step in job.steps.all():
            seconds = (step.finished_at - step.started_at).total_seconds()
            self.step_seconds.setdefault(step.title, []).append(seconds)
        self.stage.done("remove_standby", cluster="orders", instance="node2", confirm="node2")
        shutil.rmtree(Path(self.server.base_directory) / "orders/quarantine")
        return took

    def bare(self) -> float:
        """Seconds of slot, copy, verification and start, until the upstream shows it streaming."""
        self.rounds += 1
        target, port = self.base / f"bare{self.rounds}", free_port()
        began = time.monotonic()
        self._copy(target, port)
        self._await_streaming()
        took = time.monotonic() - began
        self.run([f"{self.bindir}/pg_ctl", "stop", "-D", str(target), "-m", "fast"])
        self._replication(f"DROP_REPLICATION_SLOT {SLOT}")
        shutil.rmtree(target)
        return took

    def end(self) -> None:
        for instance in Instance.objects.all():
            data = instance_spec(instance).data_directory
            self.run([f"{self.bindir}/pg_ctl", "stop", "-D", data, "-m", "immediate"], check=False)

    def run(self, argv: list[str], env: dict[str, str] | None = None, *, check: bool = True) -> None:
        who: dict[str, Any] = dict(self.account.popen()) if self.account else {}
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", **(env or {})}
        subprocess.run(argv, check=check, env=environment, cwd="/", capture_output=True, **who)

    def _copy(self, target: Path, port: int) -> None:
        spec = instance_spec(self.primary)
        self._replication(f"CREATE_REPLICATION_SLOT {SLOT} PHYSICAL RESERVE_WAL")
        where = f"host=127.0.0.1 port={self.primary.port} user=replicator passfile={spec.passfile} application_name={SLOT}"
        copy = ["pg_basebackup", "-D", str(target), "-X", "stream", "-c", "fast", "-S", SLOT, "-R", "-d", where]
        self.run([f"{self.bindir}/{copy[0]}", *copy[1:], "--manifest-checksums=SHA256"])
        self.run([f"{self.bindir}/pg_verifybackup", str(target)])
        options = f"-c port={port} -c unix_socket_directories= -c listen_addresses=127.0.0.1"
        self.run([f"{self.bindir}/pg_ctl", "start", "-w", "-D", str(target), "-o", options, "-l", str(self.base / "bare.log")])

    def _replication(self, command: str) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=self.primary.port, user="replicator", dbname="postgres", replication="true", autocommit=True,
            password=self.cluster.replication_password.reveal(),
        ) as session:  # fmt: skip
            session.execute(command)

    def _await_streaming(self) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=self.primary.port, user="pgreplica_panel", dbname="postgres", autocommit=True,
            password=self.cluster.panel_password.reveal(),
        ) as session:  # fmt: skip
            ask = "SELECT count(*) FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"
            while session.execute(ask, (SLOT,)).fetchone() != (1,):
                time.sleep(0.02)
