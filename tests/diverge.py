"""An old primary that has gone its own way, made by hand: as after a failover, and somebody who started it again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from clusters import services
from clusters.models import Cluster, Instance
from clusters.postgres.spec import InstanceSpec
from clusters.selectors import instance_spec
from launcher.account import Account
from tests.stage import Stage
from tests.waiting import wait_until


@dataclass
class Split:
    """`new` is the primary, `old` was it."""

    stage: Stage
    account: Account | None
    old: str
    new: str
    xids: list[int] = field(default_factory=list)  # of the commits that only the old one has

    def row(self, name: str) -> Instance:
        return Instance.objects.select_related("server", "cluster").get(cluster__name="orders", name=name)

    def spec(self, name: str) -> InstanceSpec:
        return instance_spec(self.row(name))

    def ctl(self, name: str, *words: str, check: bool = True) -> None:
        spec = self.spec(name)
        run(self.account, f"{spec.bindir}/pg_ctl", *words, "-D", spec.data_directory, "-w", check=check)

    def start(self, name: str) -> None:
        spec = self.spec(name)
        self.ctl(name, "start", "-l", spec.log_file, "-o", f"-c config_file={spec.config_file}")

    def rows(self, name: str) -> list[str]:
        with self.stage.connect(self.row(name)) as session:
            return [text for (text,) in session.execute("SELECT text FROM t ORDER BY text").fetchall()]


def run(account: Account | None, *argv: str, check: bool = True) -> str:
    options: dict[str, Any] = account.popen() if account else {}
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
    with_output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 60}
    # pg_ctl's server would keep a pipe open, so what it prints goes to a file of the server's own
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 60}
    finished = subprocess.run(argv, env=env, cwd="/", check=False, **(quiet if "start" in argv else with_output), **options)
    assert not check or finished.returncode == 0, (argv, finished.stdout)
    return finished.stdout or ""


def pair_made(stage: Stage) -> Cluster:
    cluster = stage.create()
    with stage.connect(cluster.instances.get()) as session:
        session.execute("CREATE TABLE t (text text)")
        session.execute("INSERT INTO t VALUES ('shared')")
    stage.standby(name="node2")
    return cluster


def split(
    stage: Stage, account: Account | None, *, rows: int = 5, stop: str = "immediate", after: str = "fast", quarantine: bool = True,
    old: str = "node1", new: str = "node2", meanwhile: Callable[[Split], None] | None = None,
) -> Split:  # fmt: skip
    """Stop the old primary, promote the new one, and let the old one write rows of its own, each in a transaction."""
    cluster = Cluster.objects.get(name="orders")
    made = Split(stage, account, old, new)
    made.ctl(old, "stop", "-m", stop)
    promoted(made, cluster)
    if quarantine:
        services.instance_quarantine(made.row(old), f"it was the primary when {new} was promoted")
    if rows:
        made.start(old)
        with stage.connect(made.row(old)) as session:
            for number in range(rows):
                with session.transaction():
                    session.execute("INSERT INTO t VALUES (%s)", [f"lost {cluster.epoch}.{number}"])
                    made.xids.append(int(session.execute("SELECT pg_current_xact_id()::text").fetchone()[0]))
        if meanwhile:
            meanwhile(made)
        if after:
            made.ctl(old, "stop", "-m", after)
    with stage.connect(made.row(new)) as session:
        session.execute("INSERT INTO t VALUES ('new')")
    return made


def promoted(made: Split, cluster: Cluster) -> None:
    """By SQL, and recorded, as a failover does."""
    row = made.row(made.new)
    with panel(row) as session:
        session.execute("SELECT pg_promote(false)")
        wait_until(lambda: session.execute("SELECT NOT pg_is_in_recovery()").fetchone()[0], "it is promoted")
    services.cluster_raise_epoch(cluster, cluster.epoch + 1)
    services.cluster_record_promotion(cluster, row)


def panel(row: Instance) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=row.server.address, port=row.port, user=row.cluster.panel_role, dbname="postgres", autocommit=True,
        password=row.cluster.panel_password.reveal(), connect_timeout=5,
    )  # fmt: skip
