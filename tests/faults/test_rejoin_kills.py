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
from tests.stage import OPERATOR, Stage, stage
from tests.waiting import wait_until

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

#: These only look, or have nothing to change here: a worker cannot die after their first change.
LOOKING = ("rejoin_judged", "way_chosen", "losses_reported", "streaming_seen", "quarantine_lifted")
#: What only a base backup does.
COPYING = ("data_copied", "copy_verified", "data_exchanged")


def forward(*without: str, only: tuple[str, ...] = ()) -> list[str]:
    found = [place for place in places("rejoin") if not (place.endswith(":inside") and place.partition(":")[0] in LOOKING)]
    found = [place for place in found if place.partition(":")[0] not in without]
    return [place for place in found if not only or place.partition(":")[0] in only]


@pytest.mark.parametrize("part", range(6))
def it_rewinds_after_a_kill_at_any_place(stage: Stage, account: Account | None, part: int) -> None:
    rejoined(stage, account, "rewind", forward(*COPYING)[part::6])


@pytest.mark.parametrize("part", range(2))
def it_makes_a_base_backup_after_a_kill_at_any_place(stage: Stage, account: Account | None, part: int) -> None:
    rejoined(stage, account, "basebackup", forward(only=COPYING)[part::2])


def rejoined(stage: Stage, account: Account | None, up_to: str, where: list[str]) -> None:
    pair_made(stage)
    old, new = "node1", "node2"
    for place in where:
        made = split(stage, account, rows=2, old=old, new=new, after="immediate")
        if up_to == "basebackup":
            no_rewind(made)
        job = request(old, up_to)
        assert run_once(job, place) == -9, place
        lease_end(job)
        job = drive(job)
        assert_sound(job)
        assert (job.status, job.result.get("way")) == (Status.DONE, up_to), (place, job.summary, texts(job))
        assert made.rows(old) == made.rows(new), place
        assert not [text for text in made.rows(old) if text.startswith("lost")], place
        copy = KeptCopy.objects.get(job_id=job.pk)
        assert Path(copy.path, "data/PG_VERSION").exists(), place
        assert job.result["lost_writes"]["xids"] == made.xids, place
        assert leftovers(made) == [], place
        old, new = new, old


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("up_to", ["rewind", "basebackup"])
def it_leaves_it_as_it_was_after_a_kill_while_undoing(stage: Stage, account: Account | None, up_to: str, part: int) -> None:
    pair_made(stage)
    made = split(stage, account, rows=2)
    if up_to == "basebackup":
        no_rewind(made)
    for place in undo_places(up_to)[part::4]:
        job = request("node1", up_to)
        assert run_once(job, "rejoin_recorded:before") == -9
        job_cancel(job=Job.objects.get(pk=job.pk), actor=OPERATOR)
        lease_end(job)
        assert run_once(job, place) == -9, place
        lease_end(job)
        job = drive(job)
        assert_sound(job)
        assert job.status == Status.CANCELED, (place, job.summary, job.hint, texts(job))
        as_it_was(made, place)


def undo_places(up_to: str) -> list[str]:
    """Undoing has nothing to change inside these, here."""
    idle = {"copy_verified", "slot_ready", "target_stopped", "quarantine_lifted"}
    idle |= {"data_rewound"} if up_to == "basebackup" else {"data_copied"}
    inside = {f"undo.{name}:inside" for name in idle}
    return [place for place in places("rejoin", undo=True) if place not in inside]


def as_it_was(made: Split, place: str) -> None:
    """Stopped, fenced, in quarantine; its own rows in its own place; nothing of the job is left."""
    row, spec = made.row(made.old), made.spec(made.old)
    assert row.quarantined_at is not None, place
    assert Path(spec.fenced_file).exists(), place
    assert not KeptCopy.objects.filter(gone_at=None).exists(), place
    assert leftovers(made) == [], place
    assert list(made.stage.base.glob("orders/quarantine/*")) == [], place
    made.start(made.old)
    assert len([text for text in made.rows(made.old) if text.startswith("lost")]) == 2, place
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
