"""Workflows whose whole world is a directory: each effect makes one file, and each making or removing is one line of a diary.

What a test needs to prove is read from there: which files are left, and how often each effect really happened.
Requests take `{"directory": ..., "fail": step, "how": one of HOWS}`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clusters.forms import REQUEST_FORMS, ClusterRequest
from clusters.hosts.errors import OutcomeUnknown
from tasks.context import Context
from tasks.kinds import KINDS, Kind
from tasks.plan import PlanItem, PlanRequest, command_item
from tasks.workflows.step import NeedsOperator, PointOfNoReturn, Refused, Seen, Step, StepFailed, Workflow

EFFECTS = ("a", "b")
GATE = "gate"


@dataclass(frozen=True)
class Obstacle:
    name: str = "full"
    severity: str = "blocks"
    sentence: str = "The disk is full."
    value: int = 1
    threshold: int = 2
    cure: str = "Free some space."


def directory(context: Context) -> Path:
    return Path(context.params["directory"])


def diary(where: Path) -> list[str]:
    """Every effect that happened, in order: "make one.a", "remove one.a" ..."""
    file = where / "diary"
    return file.read_text().splitlines() if file.exists() else []


def left(where: Path) -> list[str]:
    """The files that are there now."""
    return sorted(file.name for file in where.iterdir() if file.name not in ("diary", GATE))


def _write_down(where: Path, text: str) -> None:
    with (where / "diary").open("a") as file:
        file.write(text + "\n")


def _make(context: Context, name: str) -> str:
    """Two effects, with a moment between them at which a worker can die."""
    where = directory(context)
    for effect in EFFECTS:
        file = where / f"{name}.{effect}"
        if file.exists():
            continue
        context.check()
        context.command(f"touch {file.name}")
        file.touch()
        _write_down(where, f"make {file.name}")
        context.changed()
    _misbehave(context, name)
    return f"{name.capitalize()} is made."


def _remove(context: Context, name: str) -> str:
    where = directory(context)
    for effect in reversed(EFFECTS):
        file = where / f"{name}.{effect}"
        if file.exists():
            context.check()
            file.unlink()
            _write_down(where, f"remove {file.name}")
            context.changed()
    if context.params.get("how") == "undo" and context.params.get("fail") == name:
        raise StepFailed("The undo of the toy broke.", "Mend it.")
    return f"{name.capitalize()} is removed."


def _misbehave(context: Context, name: str) -> None:
    if context.params.get("fail") != name:
        return
    how = context.params.get("how", "failed")
    if how in ("failed", "undo"):
        raise StepFailed("The toy broke.", "Take another toy.")
    if how == "operator":
        raise NeedsOperator("The toy is odd.", "Look at it.")
    if how == "refused":
        raise Refused([Obstacle()])
    if how == "unknown" and not context.state.get("seen"):
        context.keep(seen=True)
        raise OutcomeUnknown("The connection was lost.", "")
    if how == "unexpected":
        raise ZeroDivisionError("a detail that nobody expected")
    if how == "wait":
        gate_wait(context)


def gate_wait(context: Context) -> None:
    """Until the test opens the gate (makes the file), or someone cancels."""
    context.keep_now(waiting=True)
    end = time.monotonic() + 30
    while not (directory(context) / GATE).exists():
        assert time.monotonic() < end, "nobody opened the gate"
        context.pause(0.02)


def looked(context: Context) -> str:
    """Look at the toy"""
    _misbehave(context, "looked")
    return "The toy is there."


def one(context: Context) -> str:
    """Make one"""
    return _make(context, "one")


def one_undo(context: Context) -> str:
    return _remove(context, "one")


def two(context: Context) -> str:
    """Make two"""
    context.keep(worker=os.getpid())
    return _make(context, "two")


def two_undo(context: Context) -> str:
    return _remove(context, "two")


def three(context: Context) -> str:
    """Make three"""
    return _make(context, "three")


def three_undo(context: Context) -> str:
    return _remove(context, "three")


def four(context: Context) -> str:
    """Make four, once"""
    return _make(context, "four")


def four_seen(context: Context) -> Seen:
    found = [(directory(context) / f"four.{effect}").exists() for effect in EFFECTS]
    if all(found):
        return Seen(True, "Four was made before.")
    return Seen(None, "Half of four is there.") if any(found) else Seen(False)


def five(context: Context) -> str:
    """Make five"""
    return _make(context, "five")


def one_plan(request: PlanRequest) -> Iterator[PlanItem]:
    yield command_item("alpha", f"touch {request.params['directory']}/one.a")


STEPS = (Step(looked), Step(one, undo=one_undo, plan=one_plan), Step(two, undo=two_undo), Step(three, undo=three_undo))
WORKFLOW = Workflow(steps=(*STEPS, PointOfNoReturn(), Step(four, once=True, observe=four_seen), Step(five)))
BLIND = Workflow(steps=(Step(one, undo=one_undo), Step(four, once=True)))


class ToyRequest(ClusterRequest):
    """Takes every parameter as it is."""

    def params(self) -> dict[str, object]:
        return {name: self.data[name] for name in ("directory", "fail", "how") if name in self.data}


TOYS = {
    "toy": Kind("toy", "toy", "tests.faults.toy.WORKFLOW"),
    "toy_blind": Kind("toy_blind", "toy without a proof", "tests.faults.toy.BLIND"),
    "toy_reading": Kind("toy_reading", "toy that only reads", "tests.faults.toy.WORKFLOW", mutating=False),
}


@contextmanager
def toys() -> Iterator[None]:
    """The toy kinds stand in the tables."""
    KINDS.update(TOYS)
    REQUEST_FORMS.update(dict.fromkeys(TOYS, ToyRequest))
    yield
    for name in TOYS:
        del KINDS[name], REQUEST_FORMS[name]
