"""Kill -9 of the worker at every step of the workflows, before, inside and after it, on real PostgreSQL.

A job meets every third place: all those before a step, all inside, all after. Each worker finds what the one before it left, and
what any of them forgot would still be there at the end: the job ends done or rolled back, and leaves no process, directory or slot behind.
"""

from __future__ import annotations

import pytest

from clusters.models import Instance
from tasks.kinds import Status
from tasks.models import Job
from tasks.services import job_request
from tests.faults.harness import canceled_at, killed_at_each, places, texts
from tests.ports import free_port
from tests.stage import OPERATOR, Stage, postgres_processes, stage

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

#: What stays of a cluster that was taken back: the token that refuses a late worker, its lock, and the empty place of receipts.
FENCES = {".token", ".token.lock", ".units"}
#: These only look: a worker cannot die after their first change.
LOOKING = {
    *("server_checked:inside", "objects_verified:inside", "upstream_checked:inside", "login_proven:inside", "streaming_seen:inside"),
    "commits_count_it:inside",  # commits wait for nobody here; where they do: test_sync_kills
}
CREATE = [place for place in places("create_cluster") if place not in LOOKING]
ADD = [place for place in places("add_standby") if place not in LOOKING | {"members_admit:inside"}]


@pytest.mark.parametrize("part", [0, 1, 2])
def it_creates_a_cluster_though_its_workers_are_killed_at_every_place(stage: Stage, part: int) -> None:
    job = killed_at_each(request_cluster(), CREATE[part::3])
    assert job.status == Status.DONE, (job.summary, texts(job))
    assert leftovers(stage) == []
    stage.standby()  # what they made is good enough to be copied


@pytest.mark.parametrize("part", [0, 1, 2])
def it_adds_a_standby_though_its_workers_are_killed_at_every_place(stage: Stage, part: int) -> None:
    stage.create()
    job = killed_at_each(request_standby(), ADD[part::3])
    assert job.status == Status.DONE, (job.summary, texts(job))
    assert slots(stage) == ["pgr_orders_node2"]
    assert leftovers(stage) == []


@pytest.mark.parametrize("part", [0, 1, 2])
def it_takes_back_all_of_a_cluster_though_its_workers_are_killed_while_undoing(stage: Stage, part: int) -> None:
    job = canceled_at(request_cluster(), "cluster_recorded:before", places("create_cluster", undo=True)[part::3])
    assert job.status == Status.CANCELED, (job.summary, texts(job))
    assert {path.name for path in stage.base.glob("orders/*")} <= FENCES
    assert leftovers(stage) == []
    assert postgres_processes(stage.base) == []


@pytest.mark.parametrize("part", [0, 1, 2])
def it_takes_back_all_of_a_standby_though_its_workers_are_killed_while_undoing(stage: Stage, part: int) -> None:
    stage.create()
    job = canceled_at(request_standby(), "standby_recorded:before", undo_places()[part::3])
    assert job.status == Status.CANCELED, (job.summary, texts(job))
    assert not (stage.base / "orders/node2").exists()
    assert slots(stage) == []
    assert leftovers(stage) == []


def undo_places() -> list[str]:
    """On one machine every member has the same address, so there is a change to take back in the password file only."""
    nothing = {"undo.copy_verified:inside", "undo.commits_count_it:inside"}
    return [place for place in places("add_standby", undo=True) if place not in nothing]


def request_cluster() -> Job:
    data = {"server": "alpha", "name": "orders", "database": "shop", "owner_role": "shop", "port": free_port()}
    return job_request(kind="create_cluster", actor=OPERATOR, data=data)


def request_standby() -> Job:
    data = {"cluster": "orders", "name": "node2", "server": "alpha", "port": free_port()}
    return job_request(kind="add_standby", actor=OPERATOR, data=data)


def slots(stage: Stage) -> list[str]:
    with stage.connect(Instance.objects.select_related("server", "cluster").get(name="node1")) as session:
        return [name for (name,) in session.execute("SELECT slot_name FROM pg_replication_slots ORDER BY 1").fetchall()]


def leftovers(stage: Stage) -> list[str]:
    """What no finished job may leave: receipts of detached commands, half copies, initdb's password, sockets of nobody."""
    found = [*stage.base.glob("*/.units/*"), *stage.base.glob("*/*/volumes/postgres/data.clone-*"), *stage.base.glob("*/*/initdb")]
    ports = {str(port) for port in Instance.objects.filter(lifecycle="ready").values_list("port", flat=True)}
    sockets = [path for path in stage.base.glob(".run/*") if path.name not in ports]
    return [str(path) for path in (*found, *sockets)]
