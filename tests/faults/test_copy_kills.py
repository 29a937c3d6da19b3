"""Kill -9 of the worker at every step that puts a kept copy back or deletes one, before, inside and after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.models import KeptCopy
from launcher.account import Account
from tasks.control import job_cancel
from tasks.kinds import Status
from tasks.models import Job
from tasks.services import job_request
from tests.diverge import Split, pair_made, split
from tests.faults.harness import assert_sound, drive, places, texts
from tests.faults.test_rejoin_kills import dies, leftovers, mortal
from tests.stage import OPERATOR, Stage, stage

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

LOOKING = {"copy_checked", "copy_seen", "purge_recorded"}


@pytest.fixture
def rejoined(stage: Stage, account: Account | None) -> Split:
    """node1 follows again, and a copy of what it had is kept."""
    pair_made(stage)
    made = split(stage, account, rows=2)
    stage.done("rejoin", cluster="orders", instance="node1", confirm="node1", flags=["last_copy"])
    return made


def restore(copy: KeptCopy) -> Job:
    return job_request(
        kind="restore_copy", actor=OPERATOR, data={"cluster": "orders", "instance": "node1", "copy": copy.pk, "confirm": "node1"}
    )


def it_puts_a_copy_back_and_purges_the_other_though_its_worker_dies_at_every_step(rejoined: Split) -> None:
    copy = KeptCopy.objects.get()
    job = restore(copy)
    dies(job, [place for place in places("restore_copy") if mortal(place, LOOKING)])
    job = drive(job)
    assert_sound(job)
    assert job.status == Status.DONE, (job.summary, texts(job))
    assert not Path(copy.path).exists()
    rejoined.start("node1")
    assert len([text for text in rejoined.rows("node1") if text.startswith("lost")]) == 2
    rejoined.ctl("node1", "stop")
    left = KeptCopy.objects.get(gone_at=None)
    purge = job_request(kind="purge_copy", actor=OPERATOR, data={"cluster": "orders", "copy": left.pk, "confirm": "orders"})
    dies(purge, [place for place in places("purge_copy") if mortal(place, LOOKING)])
    purge = drive(purge)
    assert_sound(purge)
    assert purge.status == Status.DONE, (purge.summary, texts(purge))
    assert not KeptCopy.objects.filter(gone_at=None).exists()
    assert list(rejoined.stage.base.glob("orders/quarantine/*")) == []
    assert leftovers(rejoined) == []


def it_leaves_both_where_they_were_though_its_worker_dies_at_every_undo(rejoined: Split) -> None:
    copy = KeptCopy.objects.get()
    job = restore(copy)
    dies(job, ["restore_recorded:before"])
    job_cancel(job=Job.objects.get(pk=job.pk), actor=OPERATOR)
    dies(job, [place for place in places("restore_copy", undo=True) if mortal(place, set())])
    job = drive(job)
    assert_sound(job)
    assert job.status == Status.CANCELED, (job.summary, job.hint, texts(job))
    assert rejoined.rows("node1") == rejoined.rows("node2")
    assert rejoined.row("node1").quarantined_at is None
    assert [one.pk for one in KeptCopy.objects.filter(gone_at=None)] == [copy.pk]
    assert Path(copy.path, "data/PG_VERSION").exists()
    assert leftovers(rejoined) == []
