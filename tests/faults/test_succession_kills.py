"""Kill -9 of the worker at every step of switchover and failover, before, inside and after it, with applications writing beside it.

One job meets all places, one after another. Whatever happened: the job ends, nobody's acknowledged row is lost, exactly one
instance accepts writes, no slot is left over.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clusters.models import Instance, ReplicationPair
from tasks.kinds import Status
from tasks.models import Job
from tasks.services import job_request
from tests.faults.harness import canceled_at, killed_at_each, places, texts
from tests.stage import OPERATOR, Stage, stage
from tests.writers import Writers

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

#: These change nothing on a server, or what they change was done by the worker that measured.
LOOKING = {"members_checked:inside", "roles_recorded:inside", "outcome_recorded:inside"}
SWITCH = [place for place in places("switchover") if place not in LOOKING]
#: The fence is off already when its own step is undone, since the old primary was brought back; and a canary is the worker's own thread.
UNDO_LOOKING = {"undo.primary_fenced:inside", "undo.connections_opened:inside"}
SWITCH_UNDO = [place for place in places("switchover", undo=True) if place not in UNDO_LOOKING]
FAIL_LOOKING = {
    *("primary_asked:inside", "candidate_chosen:inside", "sync_relaxed:inside", "roles_recorded:inside"),
    *("old_primary_quarantined:inside", "outcome_recorded:inside", "primary_file_written:inside"),
    "slots_tidied:inside",
}
FAIL = [place for place in places("failover") if place not in FAIL_LOOKING]


@pytest.fixture
def writers(stage: Stage) -> Iterator[Writers]:
    stage.create()
    stage.standby(name="node2")
    stage.standby(name="node3")
    with Writers(stage.dsn("orders"), count=2) as running:
        yield running


def it_switches_over_though_its_workers_are_killed_at_every_place(stage: Stage, writers: Writers) -> None:
    job = killed_at_each(request_switchover(), SWITCH)
    assert job.status == Status.DONE, (job.summary, texts(job))
    assert_intact(stage, writers, "node2")


def it_brings_the_old_primary_back_though_its_workers_are_killed_while_undoing(stage: Stage, writers: Writers) -> None:
    job = canceled_at(request_switchover(), "primary_stopped:after", SWITCH_UNDO)
    assert job.status == Status.CANCELED, (job.summary, texts(job))
    assert_intact(stage, writers, "node1")


def it_fails_over_though_its_workers_are_killed_at_every_place(stage: Stage, writers: Writers) -> None:
    stage.kill("node1")
    data = {"cluster": "orders", "confirm": "orders", "reason": "test", "flags": ["possible_data_loss"], "to": ""}
    job = killed_at_each(job_request(kind="failover", actor=OPERATOR, data=data), FAIL)
    assert job.status == Status.DONE, (job.summary, texts(job))
    writers.go_on()
    bound = job.result["loss_bound"]["commits"]
    assert bound is not None
    assert len(writers.lost()) <= bound
    assert stage.writable() == [job.result["new_primary"]]


def request_switchover() -> Job:
    data = {"cluster": "orders", "to": "node2", "confirm": "orders", "reason": "test"}
    return job_request(kind="switchover", actor=OPERATOR, data=data)


def assert_intact(stage: Stage, writers: Writers, primary: str) -> None:
    writers.go_on()
    assert writers.lost() == set()
    assert stage.writable() == [primary]
    assert Instance.objects.get(role="primary").name == primary
    for row in Instance.objects.select_related("server", "cluster"):
        declared = set(ReplicationPair.objects.filter(upstream=row).values_list("slot", flat=True))
        assert stage.slots(row.name) == declared, row.name
        assert not (stage.base / f"orders/{row.name}/state/fenced").exists(), row.name
