"""Going back: before the point of no return, what the steps did is undone in reverse order. It survives a kill as going forward does."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from django.db.models.functions import Now

from tasks.course import Course, LogLine
from tasks.failpoints import failpoint
from tasks.journal import Level
from tasks.kinds import Status, StepStatus
from tasks.ledger import UNAVAILABLE
from tasks.models import JobStep
from tasks.patience import patiently
from tasks.workflows.step import LeaseLost, NeedsOperator, Step, Undo, WithHint

logger = logging.getLogger(__name__)

#: Steps in one of these may have changed something.
TO_UNDO = (StepStatus.DONE, StepStatus.RUNNING, StepStatus.FAILED, StepStatus.UNDOING)


def changed_anything(course: Course, *, before: JobStep) -> bool:
    """Whether a step before this one was begun that can be undone."""
    return any(isinstance(step, Step) and step.undo and row.status in TO_UNDO for step, row in course if row.position < before.position)


def roll_back(course: Course, to: Status, what: str, hint: str = "", *, row: JobStep | None = None, **result: Any) -> None:
    """Undo every step begun so far, `row` (where it stopped) included, then end as `to` (FAILED or CANCELED)."""
    what, hint = course.journal.mask(what), course.journal.mask(hint)
    failed = to == Status.FAILED
    course.job.result |= {**result, "rollback": {"to": to, "what": what, "hint": hint}}
    if failed and row:
        course.job.result["failed_step"] = row.name
    values = {"status": Status.ROLLING_BACK, "summary": what, "hint": hint, "result": course.job.result}
    line: LogLine = (Level.ERROR if failed else Level.WARNING, f"{what} {hint}".rstrip(), row.position if row else None)
    if row and row.status == StepStatus.RUNNING:
        course.mark(row, StepStatus.FAILED, line, job=values, sentence=what, hint=hint, finished_at=Now())
    else:
        course.journal.commit([line], job=values)
    course.job.status = Status.ROLLING_BACK
    undo_all(course)


def undo_all(course: Course) -> None:
    """The rest of a rollback, wherever the worker before this one had got to."""
    undone = 0
    for step, row in reversed(list(course)):
        if isinstance(step, Step) and step.undo and row.status in TO_UNDO and not _undo(course, step.undo, row):
            return
        undone += row.status == StepStatus.UNDONE
    plan = course.job.result.get("rollback", {})
    summary = plan.get("what") or course.job.summary
    line: LogLine = (Level.STEP, "What the job had done has been undone." if undone else "There was nothing to undo.", None)
    course.end(Status(plan.get("to", Status.FAILED)), summary, plan.get("hint", ""), lines=[line])


def _undo(course: Course, undo: Undo, row: JobStep) -> bool:
    """Whether the step is undone. Where it cannot be, a person is asked."""
    course.mark(row, StepStatus.UNDOING, (Level.STEP, f"Undoing: {row.title}", row.position))
    try:
        failpoint(f"undo.{row.name}", "before")
        sentence = patiently(undo, course.context(row, undoing=True))
        failpoint(f"undo.{row.name}", "after")
    except (LeaseLost, *UNAVAILABLE):
        raise
    except Exception as error:
        trouble = trouble_of(course, row, error)
        what = f"“{row.title}” could not be undone: {trouble.what}"
        course.ask(row, NeedsOperator(what, f"{trouble.hint} Then cancel the job to undo the rest, or resume it to go forward.".lstrip()))
        return False
    course.mark(row, StepStatus.UNDONE, (Level.STEP, sentence or f"Undone: {row.title}", row.position), finished_at=Now())
    return True


def trouble_of(course: Course, row: JobStep, error: Exception) -> WithHint:
    """The error as a sentence. What nobody expected goes to the server's log in full, and here as the name of its class."""
    if isinstance(error, WithHint):
        return error
    logger.error("Job #%s, step %s:\n%s", course.job.pk, row.name, course.journal.masked("".join(traceback.format_exception(error))))
    return WithHint(
        f"Unexpected error ({type(error).__name__}) in “{row.title}”.",
        f"The details are in the worker's log, at job #{course.job.pk}.",
    )
