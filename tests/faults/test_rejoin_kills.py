"""Kill -9 of the worker at every step of a rejoin, before, inside and after it, forward and back, on real PostgreSQL.

Whatever happened: the instance follows with the primary's rows and its old ones are kept and counted, or it is as it was.
"""

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
from tests.faults.harness import assert_sound, drive, lease_end, places, run_once, texts
from tests.rounds import rounds
from tests.stage import OPERATOR, Stage, stage
from tests.waiting import wait_until

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

#: These only look, or have nothing to change here: a worker cannot die after their first change.
IDLE = {"rejoin_judged", "way_chosen", "losses_reported", "slot_ready", "streaming_seen", "commits_count_it"}
#: What only one of the ways does.
OF_WAY = {"rewind": {"copy_kept", "data_rewound"}, "basebackup": {"data_copied", "copy_verified", "data_exchanged"}}
#: What undoing has nothing to change in, here.
IDLE_UNDO = {"target_stopped", "slot_ready", "commits_count_it"}


@pytest.mark.parametrize("way", ["rewind", "basebackup"])
def it_rejoins_though_its_worker_dies_at_every_step(stage: Stage, account: Account | None, way: str) -> None:
    pair_made(stage)
    made = diverged(stage, account, way)
    job = request("node1", way)
    dies(job, [place for place in places("rejoin") if mortal(place, IDLE | OF_WAY[other(way)])])
    job = drive(job)
    assert_sound(job)
    assert (job.status, job.result.get("way")) == (Status.DONE, way), (job.summary, texts(job))
    assert made.rows("node1") == made.rows("node2")
    assert not [text for text in made.rows("node1") if text.startswith("lost")]
    assert job.result["lost_writes"]["xids"] == made.xids
    copy = KeptCopy.objects.get(gone_at=None)
    assert (copy.job_id, Path(copy.path, "data/PG_VERSION").exists()) == (job.pk, True)
    assert leftovers(made) == []


@pytest.mark.parametrize("way", ["rewind", "basebackup"])
def it_leaves_it_as_it_was_though_its_worker_dies_at_every_undo(stage: Stage, account: Account | None, way: str) -> None:
    pair_made(stage)
    made = diverged(stage, account, way)
    job = request("node1", way)
    dies(job, ["rejoin_recorded:before"])
    job_cancel(job=Job.objects.get(pk=job.pk), actor=OPERATOR)
    idle = {f"undo.{name}" for name in IDLE_UNDO | undo_idle(way)}
    dies(job, [place for place in places("rejoin", undo=True) if mortal(place, idle)])
    job = drive(job)
    assert_sound(job)
    assert job.status == Status.CANCELED, (job.summary, job.hint, texts(job))
    as_it_was(made)


def mortal(place: str, idle: set[str]) -> bool:
    """Whether a worker can die there: not inside a step that changes nothing."""
    step, _colon, kind = place.partition(":")
    return kind != "inside" or step not in idle


def other(way: str) -> str:
    return "basebackup" if way == "rewind" else "rewind"


def undo_idle(way: str) -> set[str]:
    """The data is put back by the first of the two undone steps that may do it; the other one finds it so."""
    return {"data_rewound"} if way == "basebackup" else {"data_rewound", "copy_verified"}


def dies(job: Job, where: list[str]) -> None:
    """One worker after another takes the job, and dies at the next of these places: every fourth, or each on demand (`rounds`)."""
    for place in where[:: rounds(4, 1)]:
        assert run_once(job, place) == -9, (place, texts(job)[-10:])
        lease_end(job)


def diverged(stage: Stage, account: Account | None, way: str) -> Split:
    made = split(stage, account, rows=2, after="immediate")
    if way == "basebackup":
        no_rewind(made)
    return made


def as_it_was(made: Split) -> None:
    """Stopped, fenced, in quarantine; its own rows in its own place; nothing of the job is left."""
    row, spec = made.row(made.old), made.spec(made.old)
    assert row.quarantined_at is not None
    assert Path(spec.fenced_file).exists()
    assert not KeptCopy.objects.filter(gone_at=None).exists()
    assert leftovers(made) == []
    assert list(made.stage.base.glob("orders/quarantine/*")) == []
    made.start(made.old)
    assert len([text for text in made.rows(made.old) if text.startswith("lost")]) == 2
    made.ctl(made.old, "stop", "-m", "immediate")


def no_rewind(made: Split) -> None:
    """pg_rewind is not possible where the new primary does not log full pages."""
    with Path(made.spec(made.new).config_file).open("a") as file:
        file.write("full_page_writes = off\n")
    made.ctl(made.new, "reload")
    with made.stage.connect(made.row(made.new)) as session:
        wait_until(lambda: session.execute("SHOW full_page_writes").fetchone() == ("off",), "the setting is in force")


def request(name: str, up_to: str) -> Job:
    data = {"cluster": "orders", "instance": name, "up_to": up_to, "flags": ["last_copy"], "confirm": name}
    return job_request(kind="rejoin", actor=OPERATOR, data=data)


def leftovers(made: Split) -> list[str]:
    """What no finished job may leave: receipts, half copies, data of no use."""
    base = made.stage.base
    found = [*base.glob("*/.units/*"), *base.glob("*/*/volumes/postgres/data.*"), *base.glob("*/quarantine/*/growing")]
    return [str(path) for path in found]
