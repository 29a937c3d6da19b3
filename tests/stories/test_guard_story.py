"""The start guard on real PostgreSQL: an old primary that somebody starts stays down, and says why; what may start, starts."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from clusters.models import Cluster, Instance
from clusters.postgres.spec import InstanceSpec
from clusters.selectors import instance_spec
from launcher.account import Account
from tests.diverge import panel, run
from tests.needs import missing
from tests.rounds import rounds
from tests.stage import Stage, log_of
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

#: How often an old primary is started.
STARTS = rounds(10, 10)


class Hand:
    """A person on the server who starts an instance as the head of its postgresql.conf says. The panel has no part in it."""

    def __init__(self, stage: Stage, account: Account | None, name: str) -> None:
        self.stage, self.account, self.name = stage, account, name

    @property
    def row(self) -> Instance:
        return Instance.objects.select_related("server", "cluster").get(cluster__name="orders", name=self.name)

    @property
    def spec(self) -> InstanceSpec:
        return instance_spec(self.row)

    def shell(self, line: str) -> int:
        options: dict[str, Any] = self.account.popen() if self.account else {}
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(["sh", "-c", line], env=env, cwd="/", timeout=60, check=False, **silent, **options).returncode

    def start(self) -> bool:
        """Whether it came up. Where a standby was stopped last, pg_ctl itself ends with 0 in either case."""
        lines = Path(self.spec.config_file).read_text().splitlines()
        self.shell(next(line.removeprefix("#   ") for line in lines if "pg_ctl start" in line))
        return self.shell(f"{self.spec.bindir}/pg_ctl status -D {self.spec.data_directory}") == 0

    def stop(self, mode: str = "fast") -> None:
        run(self.account, f"{self.spec.bindir}/pg_ctl", "stop", "-m", mode, "-w", "-D", self.spec.data_directory)

    def guard(self, *shell: str) -> int:
        """The guard by itself, in a shell of choice: what it ends with."""
        return self.shell(f"exec {' '.join(shell)} {self.spec.guard_program} -c config_file={self.spec.config_file}")

    def file(self, path: str) -> Path:
        return Path(self.spec.directory) / path

    @property
    def why(self) -> str:
        """What the guard said last; the same stands in the server's log."""
        why, cure = self.file("state/refused").read_text().splitlines()
        log = Path(self.spec.log_file).read_text()
        assert f": {why}\n" in log
        assert f"what to do: {cure}\n" in log
        return why


@pytest.fixture
def pair(stage: Stage, account: Account | None) -> tuple[Hand, Hand]:
    stage.create()
    stage.standby(name="node2")
    return Hand(stage, account, "node1"), Hand(stage, account, "node2")


def test_24_an_old_primary_that_is_started_by_hand_stays_down(stage: Stage, pair: tuple[Hand, Hand]) -> None:
    """Even with the panel's mark and standby.signal deleted, as where its server could not be reached. The panel has no part in it."""
    old, new = pair
    stage.standby(name="node3")
    stage.kill("node1")
    stage.done("failover", cluster="orders", to="node2", confirm="orders", reason="test", flags=["possible_data_loss"])
    a_new_primary_that_crashes_at_once_comes_back(stage, new)
    ahead = f"node2 ({new.spec.address}:{new.spec.port}) accepts writes on timeline 2, epoch 2"
    for number in range(STARTS):
        for path in ("state/fenced", "state/epoch", "volumes/postgres/data/standby.signal"):
            old.file(path).unlink(missing_ok=True)
        assert not old.start(), number
        assert ahead in old.why, number
        assert "node1 is on timeline 1, epoch 1: the cluster has gone on without it" in old.why, number
        assert stage.writable() == ["node2"], number
    assert old.guard("sh") == 84
    if not missing("busybox"):
        assert old.guard("busybox", "sh") == 84
    new.stop()
    assert not old.start()
    assert old.why.startswith("node3 (")  # which has followed the new one, and is a standby
    Hand(stage, new.account, "node3").stop()
    assert old.start(), "nobody is left to speak against it: where the guard ends"
    old.stop("immediate")


def a_new_primary_that_crashes_at_once_comes_back(stage: Stage, new: Hand) -> None:
    """Its control file may tell the old timeline still; those that follow it are on the new one already."""
    stage.kill(new.name)
    assert new.start(), new.why
    assert stage.writable() == [new.name]


def test_what_may_start_starts_and_what_may_not_does_not(stage: Stage, pair: tuple[Hand, Hand], account: Account | None) -> None:
    primary, standby = pair
    standbys_start_freely_and_a_primary_where_nobody_took_over(stage, primary, standby)
    the_guard_takes_little_time(primary)
    one_without_its_signal_stays_down_beside_a_primary(stage, primary, standby)
    what_is_not_its_data_is_not_started(stage, primary, account)
    an_instance_of_an_earlier_release_gets_its_guard(stage, primary)
    a_refusal_of_the_guard_is_what_the_job_says(stage, primary, standby)
    assert stage.writable() == ["node2"]


def standbys_start_freely_and_a_primary_where_nobody_took_over(stage: Stage, primary: Hand, standby: Hand) -> None:
    assert f"peer node2 {standby.spec.address} {standby.spec.port}\n" in primary.file("guard/guard.conf").read_text()
    primary.stop("immediate")
    assert primary.start()  # its standby follows
    standby.stop()
    primary.stop()
    assert primary.start()  # all the others are down
    primary.stop()
    assert standby.start()  # a standby whose primary is down
    assert stage.writable() == []
    assert primary.start()
    with panel(primary.row) as session:
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: session.execute(streaming).fetchone()[0], "node2 streams", 20)
    stage.done("switchover", cluster="orders", to="node2", reason="story", confirm="orders")
    stage.done("restart_instance", cluster="orders", instance="node2", confirm="node2")
    stage.done("switchover", cluster="orders", to="node1", reason="story", confirm="orders")
    primary.stop("immediate")
    assert primary.start()
    assert stage.writable() == ["node1"]


def one_without_its_signal_stays_down_beside_a_primary(stage: Stage, primary: Hand, standby: Hand) -> None:
    """M20: the second primary would be on the same timeline, and nothing but asking shows it."""
    standby.stop()
    signal = standby.file("volumes/postgres/data/standby.signal")
    signal.unlink()
    assert not standby.start()
    assert "node2 has no standby.signal and would accept writes beside it" in standby.why
    assert stage.writable() == ["node1"]
    run(standby.account, "touch", str(signal))
    assert standby.start()
    assert not standby.file("state/refused").exists()
    assert stage.writable() == ["node1"]


def what_is_not_its_data_is_not_started(stage: Stage, primary: Hand, account: Account | None) -> None:
    """Faults 24 to 26: a fence, a volume that is not mounted, and another one in its place."""
    primary.stop()
    run(account, "sh", "-c", f"echo 'by hand' > {primary.spec.fenced_file}")
    assert not primary.start()
    assert primary.why == "node1 is fenced (by hand), so it is not started as a primary."
    assert primary.guard("sh") == 83
    Path(primary.spec.fenced_file).unlink()
    data = Path(primary.spec.data_directory)
    aside = data.rename(data.with_name("aside"))
    assert not primary.start()
    assert primary.guard("sh") == 81
    run(account, f"{primary.spec.bindir}/initdb", "-D", str(data), "-U", "postgres", "--auth=reject", "--no-sync")
    assert not primary.start()
    assert "holds the data of another cluster" in primary.why
    assert primary.guard("sh") == 82
    shutil.rmtree(data)
    aside.rename(data)
    assert primary.start()
    assert stage.writable() == ["node1"]


def an_instance_of_an_earlier_release_gets_its_guard(stage: Stage, primary: Hand) -> None:
    shutil.rmtree(primary.file("guard"))
    stage.done("restart_instance", cluster="orders", instance="node1", confirm="node1")
    assert primary.file("guard/start").stat().st_mode & 0o777 == 0o700
    assert Cluster.objects.get(name="orders").system_identifier in primary.file("guard/guard.conf").read_text()


def a_refusal_of_the_guard_is_what_the_job_says(stage: Stage, primary: Hand, standby: Hand) -> None:
    primary.stop()
    standby.stop()
    standby.file("volumes/postgres/data/standby.signal").unlink()
    assert standby.start()  # nobody is there to speak against it
    job = stage.run("start_instance", cluster="orders", instance="node1")
    assert job.status == "failed", log_of(job)
    assert job.summary.startswith("The start guard of node1 refused: node2 ("), job.summary
    assert "stop the other one first" in job.hint


def the_guard_takes_little_time(primary: Hand) -> None:
    """Up to where it becomes the server, with a peer to ask; the server then only prints a setting."""
    spec = primary.spec
    words = f"-D {spec.data_directory} -c config_file={spec.config_file} -C port"
    taken: dict[str, list[float]] = {spec.guard_program: [], f"{spec.bindir}/postgres": []}
    for program in [*taken] * 9:
        began = time.monotonic()
        assert primary.shell(f"{program} {words}") == 0
        taken[program].append(time.monotonic() - began)
    guarded, bare = (sorted(times)[len(times) // 2] for times in taken.values())
    assert guarded - bare < 0.3, taken
