"""Kill -9 of the worker at every step of a change of synchronous replication, and after each of its changes on the servers.

Whenever a worker has died, what the panel has on record is not more than what the primary does.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from clusters.models import Cluster, Instance
from clusters.postgres.sync import parse_names
from tasks.control import job_cancel
from tasks.kinds import Status
from tasks.models import Job
from tasks.services import job_request
from tests.faults.harness import assert_sound, drive, lease_end, places, run_once, texts
from tests.ports import free_port
from tests.stage import OPERATOR, Stage, stage

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)

ANY = ['ANY 1 ("node2", "node3")', 'ANY 1 ("node1", "node3")', 'ANY 1 ("node1", "node2")']
NONE = ["", "", ""]
#: These change no server; the row that they write is looked at before and after them.
ROWS = {"change_checked:inside", "promise_lowered:inside", "promise_recorded:inside"}


def it_changes_whom_commits_wait_for_though_its_workers_are_killed_at_every_place(stage: Stage) -> None:
    three(stage)
    up = killed(stage, change("any"), in_order("set_sync", ROWS, {"names_written:inside": 6}))
    assert (up.status, declared(), settings(stage)) == (Status.DONE, ("any", 1), ANY), (up.summary, texts(up))
    down = killed(stage, change("async"), in_order("set_sync", ROWS | {"standbys_counted:inside"}, {"names_written:inside": 6}))
    assert (down.status, declared(), settings(stage)) == (Status.DONE, ("async", 0), NONE), (down.summary, texts(down))


def it_takes_a_change_back_though_its_workers_are_killed_while_undoing(stage: Stage) -> None:
    three(stage)
    back = undo_places()
    up = canceled(stage, change("any"), back)
    assert (up.status, declared(), settings(stage)) == (Status.CANCELED, ("async", 0), NONE), (up.summary, texts(up))
    stage.done("set_sync", cluster="orders", mode="any", count=1, confirm="orders")
    down = canceled(stage, change("async"), back)
    assert (down.status, declared(), settings(stage)) == (Status.CANCELED, ("any", 1), ANY), (down.summary, texts(down))


def it_counts_a_new_standby_and_lets_one_go_though_its_workers_are_killed(stage: Stage) -> None:
    three(stage)
    stage.done("set_sync", cluster="orders", mode="any", count=1, confirm="orders")
    data = {"cluster": "orders", "name": "node4", "server": "alpha", "port": free_port()}
    joins = job_request(kind="add_standby", actor=OPERATOR, data=data)
    joins = killed(stage, joins, ["commits_count_it:before", *["commits_count_it:inside"] * 6, "commits_count_it:after"])
    assert (joins.status, settings(stage)[0]) == (Status.DONE, 'ANY 1 ("node2", "node3", "node4")'), (joins.summary, texts(joins))
    goes = job_request(kind="remove_standby", actor=OPERATOR, data={"cluster": "orders", "instance": "node2", "confirm": "node2"})
    goes = killed(stage, goes, ["commits_released:before", *["commits_released:inside"] * 6, "commits_released:after"])
    assert (goes.status, settings(stage)[0]) == (Status.DONE, 'ANY 1 ("node3", "node4")'), (goes.summary, texts(goes))


def three(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.standby(name="node3")


def change(mode: str) -> Job:
    data = {"cluster": "orders", "mode": mode, "confirm": "orders", **({} if mode == "async" else {"count": 1})}
    return job_request(kind="set_sync", actor=OPERATOR, data=data)


def in_order(kind: str, without: set[str], often: dict[str, int]) -> list[str]:
    """Every place; some several times, so that one worker after another dies after its next change."""
    return [place for place in places(kind) if place not in without for _ in range(often.get(place, 1))]


def undo_places() -> list[str]:
    steps = ("promise_recorded", "names_written", "promise_lowered")  # the last one first
    chosen = [f"undo.{step}:{where}" for step in steps for where in ("before", "inside", "after")]
    rows = {"undo.promise_recorded:inside", "undo.promise_lowered:inside"}
    return [place for place in chosen if place not in rows for _ in range(6 if place.endswith("inside") else 1)]


def killed(stage: Stage, job: Job, chosen: Iterable[str]) -> Job:
    for place in chosen:
        assert run_once(job, place) == -9, (place, texts(job))
        promises_no_more_than_holds(stage, place)
        lease_end(job)
    job = drive(job)
    assert_sound(job)
    promises_no_more_than_holds(stage, "the end")
    return job


def canceled(stage: Stage, job: Job, undo: list[str]) -> Job:
    """All is done but the last record; then somebody cancels."""
    assert run_once(job, "promise_recorded:after") == -9
    promises_no_more_than_holds(stage, "promise_recorded:after")
    job_cancel(job=Job.objects.get(pk=job.pk), actor=OPERATOR)
    lease_end(job)
    return killed(stage, job, undo)


def declared() -> tuple[str, int]:
    cluster = Cluster.objects.get(name="orders")
    return cluster.sync_mode, cluster.sync_count


def promises_no_more_than_holds(stage: Stage, place: str) -> None:
    names = parse_names(settings(stage)[0])
    assert names is not None
    mode, count = declared()
    assert count <= names.count, f"killed at {place}: the panel promises {mode} {count}, the primary waits for {names}"
    made = Instance.objects.filter(lifecycle="ready", role="standby", pair__upstream__role="primary").values_list("name", flat=True)
    assert set(names.names) <= set(made), f"killed at {place}: the primary counts on {names.names}, on record are {list(made)}"


def settings(stage: Stage) -> list[str]:
    """synchronous_standby_names of each running instance, by name."""
    found = []
    for instance in Instance.objects.filter(lifecycle="ready").select_related("server", "cluster").order_by("name"):
        with stage.connect(instance) as session:
            row = session.execute("SHOW synchronous_standby_names").fetchone()
            assert row is not None
            found.append(str(row[0]))
    return found
