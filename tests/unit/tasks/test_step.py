"""What a workflow is, and the laws that its making checks."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from clusters.models import Server
from tasks.context import Context
from tasks.failpoints import failpoint
from tasks.kinds import KINDS
from tasks.models import Job
from tasks.plan import PlanItem, PlanRequest, command_item, file_item, plan_hash, sql_item
from tasks.workflows import workflow_of
from tasks.workflows.step import PointOfNoReturn, Refused, Step, Workflow, WorkflowInvalid, obstacle_dict, title
from tests.faults.toy import Obstacle


def slot_made(context: Context) -> str:
    """Make the slot.

    More about it, which no title shows.
    """
    return "made"


def untitled(context: Context) -> str:
    return ""


def slot_dropped(context: Context) -> None:
    pass


def slot_plan(request: PlanRequest) -> Iterator[PlanItem]:
    yield command_item("alpha", "pg_ctl status")
    yield sql_item("alpha", "SELECT 1")
    yield file_item("alpha", f"/srv/{request.params['name']}", "+line")


def moved(context: Context) -> str:
    """Move it"""
    return "moved"


def it_takes_its_name_and_title_from_the_function() -> None:
    step = Step(slot_made)
    assert (step.name, step.title, title(step)) == ("slot_made", "Make the slot", "Make the slot")


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ((), "step names must be there and differ: []"),
        ((Step(moved), Step(moved)), "step names must be there and differ: ['moved', 'moved']"),
        ((Step(untitled),), "untitled: its name or title (the docstring's first line) is missing or too long"),
        ((PointOfNoReturn(), Step(slot_made, undo=slot_dropped)), "slot_made: no undo after the point of no return"),
        ((PointOfNoReturn(), PointOfNoReturn()), "step names must be there and differ: ['point_of_no_return', 'point_of_no_return']"),
    ],
)
def it_refuses_a_workflow_that_breaks_a_law(steps: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(WorkflowInvalid) as refused:
        Workflow(steps=steps)
    assert str(refused.value) == sentence


def it_says_its_plan_without_doing_anything() -> None:
    workflow = Workflow(steps=(Step(slot_made, undo=slot_dropped, plan=slot_plan), PointOfNoReturn(), Step(moved)))
    plan = workflow.plan(Job(kind="verify", params={"name": "x"}, server=Server(name="alpha")))
    assert plan == [
        {
            "step": "slot_made",
            "title": "Make the slot",
            "items": [
                {"type": "command", "server": "alpha", "text": "pg_ctl status"},
                {"type": "sql", "server": "alpha", "text": "SELECT 1"},
                {"type": "file", "server": "alpha", "path": "/srv/x", "diff": "+line"},
            ],
        },
        {"step": "moved", "title": "Move it", "items": []},
    ]


def it_hashes_the_same_plan_alike_and_another_one_differently() -> None:
    assert plan_hash([]) == hashlib.sha256(b"[]").hexdigest()
    one, other = Workflow(steps=(Step(slot_made, plan=slot_plan),)), Workflow(steps=(Step(moved),))
    job = Job(kind="verify", params={"name": "x"})
    assert plan_hash(one.plan(job)) == plan_hash(one.plan(job))
    assert plan_hash(one.plan(job)) != plan_hash(other.plan(job))
    assert plan_hash(one.plan(job)) != plan_hash(one.plan(Job(kind="verify", params={"name": "y"})))


def it_stores_an_obstacle_with_value_threshold_and_cure() -> None:
    assert obstacle_dict(Obstacle()) == {
        "name": "full", "severity": "blocks", "sentence": "The disk is full.", "value": 1, "threshold": 2, "cure": "Free some space.",
    }  # fmt: skip
    assert str(Refused([Obstacle(), Obstacle(sentence="And more.")])) == "The disk is full.; And more."


@pytest.mark.parametrize("kind", KINDS)
def it_finds_the_workflow_of_every_kind(kind: str) -> None:
    assert workflow_of(kind).steps


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ("", []),
        ("slot_made:after", []),
        ("slot_made:inside:STOP:more", []),
        ("slot_made:inside", [signal.SIGKILL]),
        ("slot_made:inside:STOP", [signal.SIGSTOP]),
    ],
)
def it_dies_or_freezes_only_where_a_test_wants_it(monkeypatch: pytest.MonkeyPatch, wanted: str, sent: list[int]) -> None:
    signals: list[int] = []
    monkeypatch.setenv("PGREPLICA_FAILPOINT", wanted)
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(number))
    failpoint("slot_made", "inside")
    assert signals == sent
