"""Faults 1 to 5 and 44 (safety.md section 2) over SSH and Docker: workers are killed at place after place, and then the whole panel.

One job meets many places in turn. In each run some of them, so chosen that the kinds of places are all met; on demand
(PGREPLICA_TEST_LONG=1) every one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import psutil
import pytest

from clusters.models import Instance
from tasks.kinds import Status
from tasks.models import Job, JobStep
from tasks.services import job_request
from tests.faults.harness import killed_at_each, places, texts
from tests.lab.stories.invariants import assert_invariants
from tests.lab.stories.stage import LabStage
from tests.live import Process, Valkey, database_url
from tests.rounds import rounds
from tests.stage import OPERATOR
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")

#: Inside these a worker cannot die: they change nothing on a server, or nothing of what they change is left to do here.
LOOKING = {
    "create_cluster": {"server_checked", "objects_verified"},
    "add_standby": {"upstream_checked", "login_proven", "streaming_seen", "commits_count_it"},
    "switchover": {"members_checked", "roles_recorded", "outcome_recorded", "followers_turned"},
    "failover": {
        *("primary_asked", "candidate_chosen", "sync_relaxed", "roles_recorded", "old_primary_quarantined"),
        *("primary_file_written", "followers_turned", "outcome_recorded", "slots_tidied"),
    },
    "rejoin": {
        *("rejoin_judged", "way_chosen", "losses_reported", "slot_ready", "streaming_seen", "commits_count_it"),
        *("data_copied", "copy_verified", "data_exchanged"),  # of the other way: it is rewound
    },
}  # fmt: skip
#: Of how many places one is met in each run. No multiple of three: so before, inside and after come by turns.
STRIDE = rounds(7, 1)


def chosen(kind: str) -> list[str]:
    idle = {f"{step}:inside" for step in LOOKING[kind]}
    return [place for place in places(kind) if place not in idle][STRIDE // 2 :: STRIDE]


def test_1_to_5_a_cluster_lives_on_though_its_workers_die(lab_stage: LabStage) -> None:
    networks = [f"{lab_stage.lab.site.prefix}.0/24"]
    create = {"server": "alpha", "name": "orders", "database": "shop", "owner_role": "shop", "postgres_major": 16}
    killed(lab_stage, "create_cluster", **create, client_networks=networks)
    killed(lab_stage, "add_standby", cluster="orders", server="beta")
    assert_invariants(lab_stage)
    with Writers(lab_stage.dsn("orders"), count=2) as writers:
        killed(lab_stage, "switchover", cluster="orders", to="node2", confirm="orders", reason="test")
        writers.go_on()
        assert lab_stage.writable() == ["node2"]
        assert_invariants(lab_stage)
        lab_stage.lab["beta"].docker("kill", "pgr_orders_node2")
        job = killed(lab_stage, "failover", cluster="orders", confirm="orders", reason="test", to="", flags=["possible_data_loss"])
        writers.go_on()
        assert lab_stage.writable() == [job.result["new_primary"]] == ["node1"]
        killed(lab_stage, "rejoin", cluster="orders", instance="node2", flags=["last_copy"], confirm="node2", up_to="rewind")
        writers.go_on()
        assert_invariants(lab_stage, writers, may_lose=job.result["loss_bound"]["commits"])
    assert lab_stage.writable() == ["node1"]


def killed(lab_stage: LabStage, kind: str, **data: object) -> Job:
    job = killed_at_each(job_request(kind=kind, actor=OPERATOR, data=data), chosen(kind))
    assert job.status == Status.DONE, (job.summary, job.hint, texts(job))
    return job


class Panel(Process):
    """A worker with the clock in it, as the panel has after its machine has booted."""

    def __init__(self, redis_url: str, failpoint: str = "") -> None:
        argv = [sys.executable, "-m", "celery", "-A", "pgreplica_admin", "worker", "--beat", "--concurrency", "2", "--loglevel", "WARNING"]
        argv += ["--without-gossip", "--without-mingle"]
        env = {"DATABASE_URL": database_url(), "REDIS_URL": redis_url, "PGREPLICA_FAILPOINT": failpoint}
        super().__init__(argv, env)

    def ready(self) -> bool:
        return True  # its first sweep tells

    def __exit__(self, *_error: object) -> None:
        self.power_off()

    def power_off(self) -> None:
        """Every process of it, the frozen ones too."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None


#: The worst moments: the primary is stopped and nobody is promoted yet; somebody is, and nobody knows.
MOMENTS = ["primary_stopped:after", "candidate_promoted:inside", "primary_fenced:inside", "followers_turned:before"][: rounds(1, 4)]


@pytest.fixture
def pair(lab_stage: LabStage) -> Iterator[Writers]:
    lab_stage.create()
    lab_stage.standby(server="beta")
    with Writers(lab_stage.dsn("orders"), count=2) as writers:
        yield writers


def test_44_a_switchover_goes_on_within_a_minute_after_the_whole_panel_has_died(lab_stage: LabStage, pair: Writers) -> None:
    for moment in MOMENTS:
        wanted = "node1" if lab_stage.writable() == ["node2"] else "node2"
        panel_dies_and_returns(moment, wanted)
        pair.go_on()
        assert lab_stage.writable() == [wanted]
        assert Instance.objects.get(role="primary").name == wanted
    assert_invariants(lab_stage, pair)


def panel_dies_and_returns(moment: str, wanted: str) -> None:
    data = {"cluster": "orders", "to": wanted, "confirm": "orders", "reason": "test"}
    job = job_request(kind="switchover", actor=OPERATOR, data=data)
    place = job.steps.get(name=moment.partition(":")[0])
    with Valkey() as valkey:
        panel = Panel(valkey.url, f"{moment}:STOP").start()
        try:
            wait_until(lambda: frozen(panel) and place_reached(place), f"the panel is at {moment}")
        finally:
            panel.power_off()
    token = Job.objects.get(pk=job.pk).token
    with Valkey() as valkey, Panel(valkey.url):
        wait_until(lambda: Job.objects.get(pk=job.pk).token > token, "another worker has it", 60)
        wait_until(lambda: Job.objects.filter(pk=job.pk, status=Status.DONE).exists(), "the switchover is done", 60)


def frozen(panel: Panel) -> bool:
    """Whether a process of the panel stands still."""
    assert panel.process is not None
    family = psutil.Process(panel.process.pid).children(recursive=True)
    return any(child.status() == psutil.STATUS_STOPPED for child in family)


def place_reached(step: JobStep) -> bool:
    return JobStep.objects.filter(pk=step.pk, started_at__isnull=False).exists()
