"""A stage for stories: this machine as a server, and jobs run to their end in this process, as a worker would."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
import pytest
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from clusters.hosts.local import LocalMachine
from clusters.models import Cluster, Instance, Server
from clusters.selectors import connection_string, instance_spec
from launcher.account import Account
from tasks.actor import actor_system
from tasks.models import Job
from tasks.runner import run
from tasks.services import job_request
from tests.ports import free_port
from tests.waiting import wait_until

OPERATOR = actor_system("operator", "command")


@dataclass
class Stage:
    """One server below a temporary directory."""

    server: Server
    asked: list[int] = field(default_factory=list)

    def request(self, kind: str, **data: Any) -> Job:
        job = job_request(kind=kind, actor=OPERATOR, data=data)
        self.asked.append(job.pk)
        return job

    def run(self, kind: str, **data: Any) -> Job:
        """Request a job and run it here; as it is afterwards."""
        job = self.request(kind, **data)
        run(job.pk)
        job.refresh_from_db()
        return job

    def done(self, kind: str, **data: Any) -> Job:
        """As `run`, and the job must have ended well."""
        job = self.run(kind, **data)
        assert job.status == "done", f"{job.status}: {job.summary} {job.hint}\n{log_of(job)}"
        return job

    def create(self, name: str = "orders", **more: Any) -> Cluster:
        self.done("create_cluster", server="alpha", name=name, database="shop", owner_role="shop", port=free_port(), **more)
        return Cluster.objects.get(name=name)

    def standby(self, cluster: str = "orders", **more: Any) -> Job:
        return self.done("add_standby", cluster=cluster, server="alpha", port=free_port(), **more)

    @property
    def base(self) -> Path:
        return Path(self.server.base_directory)

    def kill(self, name: str, cluster: str = "orders") -> None:
        """Kill -9 of an instance's server and of all its children."""
        pid_file = self.base / f"{cluster}/{name}/volumes/postgres/data/postmaster.pid"
        server = psutil.Process(int(pid_file.read_text().split()[0]))
        doomed = [server, *server.children(recursive=True)]
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):  # children end when their server is gone
                process.kill()
        wait_until(lambda: not any(process.is_running() for process in doomed), "they are gone", 20)

    def start_by_hand(self, name: str, cluster: str = "orders") -> None:
        """As somebody who knows nothing of the panel starts it."""
        self._pg_ctl(name, cluster, "start", "--wait")

    def stop_by_hand(self, name: str, cluster: str = "orders") -> None:
        self._pg_ctl(name, cluster, "stop", "--mode=fast", "--wait")

    def _pg_ctl(self, name: str, cluster: str, *words: str) -> None:
        spec = instance_spec(Instance.objects.select_related("server", "cluster").get(cluster__name=cluster, name=name))
        options = (f"--log={spec.log_file}", f"--options=-c config_file={spec.config_file}") if words[0] == "start" else ()
        argv = [f"{spec.bindir}/pg_ctl", words[0], f"--pgdata={spec.data_directory}", *words[1:], *options]
        ended = LocalMachine(run_as=self.server.run_as).run(argv, timeout=60)
        assert ended.ok, ended.stderr

    def writable(self, cluster: str = "orders") -> list[str]:
        """The names of the instances that accept writes now."""
        rows = Instance.objects.filter(cluster__name=cluster).select_related("server", "cluster").order_by("name")
        return [row.name for row in rows if self.answer(row, "SELECT pg_is_in_recovery()") is False]

    def slots(self, name: str, cluster: str = "orders") -> set[str]:
        """The replication slots of an instance; none where it does not run."""
        row = Instance.objects.select_related("server", "cluster").get(cluster__name=cluster, name=name)
        names = self.answer(row, "SELECT coalesce(array_agg(slot_name::text), '{}') FROM pg_replication_slots")
        return set(names or ())

    def by_superuser(self, name: str, statement: LiteralString, cluster: str = "orders", database: str = "postgres") -> None:
        """A statement of the superuser, over the instance's own socket."""
        row = Instance.objects.select_related("server", "cluster").get(cluster__name=cluster, name=name)
        spec, password = instance_spec(row), row.cluster.superuser_password.reveal()
        where = {"host": spec.socket_directory, "port": spec.port, "user": "postgres", "dbname": database}
        with psycopg.connect(**where, password=password, autocommit=True) as session:  # type: ignore[arg-type]
            session.execute(statement)

    def answer(self, row: Instance, question: LiteralString) -> Any:
        """What the instance answers; None where it does not."""
        try:
            with self.connect(row) as session:
                found = session.execute(question).fetchone()
        except psycopg.OperationalError:
            return None
        return found[0] if found else None

    def dsn(self, cluster: str) -> str:
        """The application's connection string with every host, which finds the instance that accepts writes."""
        row = Cluster.objects.get(name=cluster)
        members = list(row.instances.select_related("server"))
        string = connection_string(row, members, target_session_attrs="read-write", connect_timeout="2")
        return make_conninfo(string, password=row.owner_password.reveal())

    def connect(self, instance: Instance) -> psycopg.Connection[Any]:
        """A session of the application."""
        return psycopg.connect(
            host=instance.server.address, port=instance.port, user="shop", dbname="shop", autocommit=True,
            password=instance.cluster.owner_password.reveal(), connect_timeout=5,
        )  # fmt: skip


def log_of(job: Job) -> str:
    return "\n".join(f"{event.seq:4} {event.level:8} {event.text}" for event in job.events.all())


def postgres_processes(directory: Path) -> list[str]:
    """Command lines of processes that name the directory."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(directory) in line and " ps -eo" not in line]


@pytest.fixture
def stage(transactional_db: None, server_directory: Path, embedded_bindir: Path, account: Account | None) -> Iterator[Stage]:
    base = server_directory / "s"
    server = Server.objects.create(
        name="alpha", address="127.0.0.1", base_directory=str(base), run_as=account.name if account else "",
        facts={"postgres": [{"major": 18, "version": "18.6", "bindir": str(embedded_bindir)}]},
    )  # fmt: skip
    Server.objects.filter(pk=server.pk).update(observed_at=timezone.now())
    yield Stage(server)
    for instance in Instance.objects.select_related("server", "cluster"):
        spec = instance_spec(instance)
        LocalMachine(run_as=server.run_as).run(
            [f"{embedded_bindir}/pg_ctl", "stop", "-m", "immediate", "-D", spec.data_directory], timeout=30
        )
