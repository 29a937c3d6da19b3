"""Kill -9 of the worker at every step of the workflows, before, inside and after it, on real PostgreSQL.

Each kill is a job of its own. Whatever happened, the job ends done or rolled back, and leaves no process, directory or slot behind.
"""

from __future__ import annotations

import pytest

from clusters.models import Cluster, Instance
from tasks.control import job_cancel
from tasks.kinds import Status
from tasks.models import Job
from tasks.services import job_request
from tests.faults.harness import assert_sound, drive, lease_end, places, run_once, texts
from tests.ports import free_port
from tests.stage import OPERATOR, Stage, postgres_processes, stage

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

#: What stays of a cluster that was taken back: the token that refuses a late worker, its lock, and the empty place of receipts.
FENCES = {".token", ".token.lock", ".units"}
#: These only look: a worker cannot die after their first change.
LOOKING = {"server_checked:inside", "objects_verified:inside", "upstream_checked:inside", "login_proven:inside", "streaming_seen:inside"}
CREATE = [place for place in places("create_cluster") if place not in LOOKING]
ADD = [place for place in places("add_standby") if place not in LOOKING | {"members_admit:inside"}]


@pytest.mark.parametrize("part", [0, 1, 2])
def it_creates_a_cluster_after_a_kill_at_any_place(stage: Stage, part: int) -> None:
    for place in CREATE[part::3]:
        job = request_cluster()
        assert run_once(job, place) == -9, place
        lease_end(job)
        job = drive(job)
        assert_sound(job)
        assert job.status == Status.DONE, (place, job.summary, texts(job))
        assert leftovers(stage) == [], place
        remove_cluster(stage)


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def it_adds_a_standby_after_a_kill_at_any_place(stage: Stage, part: int) -> None:
    stage.create()
    for place in ADD[part::4]:
        job = request_standby()
        assert run_once(job, place) == -9, place
        lease_end(job)
        job = drive(job)
        assert_sound(job)
        assert job.status == Status.DONE, (place, job.summary, texts(job))
        assert slots(stage) == ["pgr_orders_node2"], place
        assert leftovers(stage) == [], place
        stage.done("remove_standby", cluster="orders", instance="node2", confirm="node2")


@pytest.mark.parametrize("part", [0, 1])
def it_takes_back_all_of_a_cluster_after_a_kill_while_undoing(stage: Stage, part: int) -> None:
    for place in places("create_cluster", undo=True)[part::2]:
        job = canceled_at(request_cluster(), "cluster_recorded:before", place)
        assert job.status == Status.CANCELED, (place, job.summary, texts(job))
        assert {path.name for path in stage.base.glob("orders/*")} <= FENCES, place
        assert leftovers(stage) == [], place
        assert postgres_processes(stage.base) == [], place
        remove_cluster(stage)


@pytest.mark.parametrize("part", [0, 1])
def it_takes_back_all_of_a_standby_after_a_kill_while_undoing(stage: Stage, part: int) -> None:
    stage.create()
    for place in undo_places()[part::2]:
        job = canceled_at(request_standby(), "standby_recorded:before", place)
        assert job.status == Status.CANCELED, (place, job.summary, texts(job))
        assert not (stage.base / "orders/node2").exists(), place
        assert slots(stage) == [], place
        assert leftovers(stage) == [], place
        stage.done("remove_standby", cluster="orders", instance="node2", confirm="node2")


def undo_places() -> list[str]:
    """On one machine every member has the same address, so there is a change to take back in the password file only."""
    return [place for place in places("add_standby", undo=True) if place != "undo.copy_verified:inside"]


def canceled_at(job: Job, place: str, undo: str) -> Job:
    """The worker dies at `place`, a person cancels, the next one dies while it undoes, and another one ends it."""
    assert run_once(job, place) == -9
    job_cancel(job=Job.objects.get(pk=job.pk), actor=OPERATOR)
    lease_end(job)
    assert run_once(job, undo) == -9, undo
    lease_end(job)
    job = drive(job)
    assert_sound(job)
    return job


def request_cluster() -> Job:
    data = {"server": "alpha", "name": "orders", "database": "shop", "owner_role": "shop", "port": free_port()}
    return job_request(kind="create_cluster", actor=OPERATOR, data=data)


def request_standby() -> Job:
    data = {"cluster": "orders", "name": "node2", "server": "alpha", "port": free_port()}
    return job_request(kind="add_standby", actor=OPERATOR, data=data)


def remove_cluster(stage: Stage) -> None:
    stage.done("remove_cluster", cluster="orders", confirm="orders")
    assert not Cluster.objects.exists()


def slots(stage: Stage) -> list[str]:
    with stage.connect(Instance.objects.select_related("server", "cluster").get(name="node1")) as session:
        return [name for (name,) in session.execute("SELECT slot_name FROM pg_replication_slots ORDER BY 1").fetchall()]


def leftovers(stage: Stage) -> list[str]:
    """What no finished job may leave: receipts of detached commands, half copies, initdb's password, sockets of nobody."""
    found = [*stage.base.glob("*/.units/*"), *stage.base.glob("*/*/volumes/postgres/data.clone-*"), *stage.base.glob("*/*/initdb")]
    ports = {str(port) for port in Instance.objects.filter(lifecycle="ready").values_list("port", flat=True)}
    sockets = [path for path in stage.base.glob(".run/*") if path.name not in ports]
    return [str(path) for path in (*found, *sockets)]
