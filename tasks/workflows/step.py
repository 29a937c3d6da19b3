"""What a workflow is made of: step functions in a flat tuple, and the exceptions by which a step ends early.

A step function takes the `Context` and returns the sentence it made true. It looks before it acts and answers "already so"
when its goal is reached: after a worker's death the next worker simply calls it again. The first line of its docstring
is its title in the browser.

    WORKFLOW = Workflow(
        steps=(
            Step(look),
            Step(stop, undo=start_again, plan=stop_plan),
            PointOfNoReturn(),
            Step(promote, once=True, observe=promoted),
        )
    )
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import TYPE_CHECKING, Any, Final, Protocol

from tasks.plan import PlanItem, PlanRequest, PlanStep

if TYPE_CHECKING:
    from tasks.context import Context

NAME_LENGTH: Final = 60  # JobStep.name
TITLE_LENGTH: Final = 200  # JobStep.title
POINT_OF_NO_RETURN: Final = "point_of_no_return"


class ObstacleLike(Protocol):
    """What the runner reads of `clusters.postgres.rules.Obstacle`."""

    @property
    def name(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def threshold(self) -> Any: ...
    @property
    def cure(self) -> str: ...


class WithHint(Exception):
    """A sentence about what happened, and one about what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = str(what)
        self.hint = str(hint)


class StepFailed(WithHint):
    """The step's goal cannot be reached. Before the point of no return the job is rolled back; after it, a person is asked."""


class NeedsOperator(WithHint):
    """The job can go neither on nor back by itself. It keeps the cluster until a person resumes or cancels it."""


class Refused(Exception):
    """Obstacles were found before anything was changed. The job ends as refused and shows each with value, threshold and cure."""

    def __init__(self, obstacles: Iterable[ObstacleLike]) -> None:
        self.obstacles = tuple(obstacles)
        super().__init__("; ".join(str(obstacle.sentence) for obstacle in self.obstacles))


class Canceled(Exception):
    """A person asked to cancel, and the step said that this is a safe moment. Raised by `Context.check_cancel` and the runner alone."""


class LeaseLost(Exception):
    """Another worker owns the job now, or may. Nothing further may be done or written; never caught by a step."""


@dataclass(frozen=True)
class Seen:
    """What `observe` found of a `once` step that another worker had begun: done, not done, or (None) it cannot be told."""

    done: bool | None
    sentence: str = ""


Act = Callable[["Context"], str]
Undo = Callable[["Context"], "str | None"]
Plan = Callable[[PlanRequest], Iterable[PlanItem]]
Observe = Callable[["Context"], Seen]


@dataclass(frozen=True)
class Step:
    """One step.

    undo     takes back what the step did, from whatever point it had reached; may run twice; None where nothing needs taking back.
    plan     the commands, statements and files it will use, from the request alone: no I/O.
    once     it must never be begun twice: found begun by a dead worker, `observe` decides, and without proof a person does.
    """

    act: Act
    undo: Undo | None = None
    plan: Plan | None = None
    once: bool = False
    observe: Observe | None = None

    @property
    def name(self) -> str:
        return self.act.__name__

    @property
    def title(self) -> str:
        return title(self)


@dataclass(frozen=True)
class PointOfNoReturn:
    """From here the job only finishes forward: no undo, no cancel. Crossing it is committed before the next step begins."""

    name: str = POINT_OF_NO_RETURN
    title: str = "Point of no return: from here the job only finishes forward"


class WorkflowInvalid(Exception):
    """The workflow breaks one of its laws; raised when its module is imported, so a test finds it first."""


@dataclass(frozen=True)
class Workflow:
    """The steps in order. `summary` says in one sentence what the finished job did; without it the last step's sentence stands."""

    steps: tuple[Step | PointOfNoReturn, ...]
    summary: Callable[[Context], str] | None = None

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        _require(bool(names) and len(names) == len(set(names)), f"step names must be there and differ: {names}")
        after = False
        for step in self.steps:
            fits = 0 < len(step.name) <= NAME_LENGTH and 0 < len(step.title) <= TITLE_LENGTH
            _require(fits, f"{step.name}: its name or title (the docstring's first line) is missing or too long")
            _require(not (after and isinstance(step, Step) and step.undo), f"{step.name}: no undo after the point of no return")
            after = after or isinstance(step, PointOfNoReturn)

    def plan(self, request: PlanRequest) -> list[PlanStep]:
        """What the job will use, step by step, without doing anything. Steps that use nothing that can be said beforehand have no items."""
        return [
            {"step": step.name, "title": step.title, "items": list(step.plan(request)) if step.plan else []}
            for step in self.steps
            if isinstance(step, Step)
        ]


def title(step: Step) -> str:
    """The first line of the step function's docstring, without its full stop."""
    return (getdoc(step.act) or "").partition("\n")[0].rstrip(".")


def obstacle_dict(obstacle: ObstacleLike) -> dict[str, Any]:
    """An obstacle as it is stored in `Job.result["obstacles"]`."""
    keys: Sequence[str] = ("name", "severity", "sentence", "value", "threshold", "cure")
    values: Mapping[str, Any] = {key: getattr(obstacle, key) for key in keys}
    return {key: value if isinstance(value, int | float | bool | None) else str(value) for key, value in values.items()}


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise WorkflowInvalid(sentence)
