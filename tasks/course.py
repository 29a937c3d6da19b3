"""A job under way: its rows beside its workflow's steps, and the transactions that move it. One commit a change, log line included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models.functions import Now

from tasks.audit import audit_close
from tasks.context import Context
from tasks.held import Held
from tasks.journal import Journal, Level
from tasks.kinds import Status, StepStatus
from tasks.models import Job, JobStep
from tasks.workflows import workflow_of
from tasks.workflows.step import PointOfNoReturn, Step, WithHint

#: The level of a job's last line.
LAST_LEVEL = {Status.DONE: Level.STEP, Status.CANCELED: Level.WARNING, Status.REFUSED: Level.WARNING}

LogLine = tuple[str, str, int | None]


class Course:
    def __init__(self, job: Job, journal: Journal) -> None:
        self.job = job
        self.journal = journal
        self.workflow = workflow_of(job.kind)
        self.rows = list(job.steps.order_by("position"))
        self.held = Held()
        self.begun_ahead: set[int] = set()  # steps that were begun in one commit with the crossing before them

    def __iter__(self) -> Iterator[tuple[Step | PointOfNoReturn, JobStep]]:
        return iter(list(zip(self.workflow.steps, self.rows, strict=True)))

    @property
    def fits(self) -> bool:
        """Whether the rows were made from this very list of steps; not so after an upgrade of the panel in mid-job."""
        return [row.name for row in self.rows] == [step.name for step in self.workflow.steps]

    @property
    def begun(self) -> bool:
        return any(row.status not in (StepStatus.PENDING, StepStatus.UNDONE) for row in self.rows)

    @property
    def past_no_return(self) -> bool:
        return any(isinstance(step, PointOfNoReturn) and row.status == StepStatus.DONE for step, row in self)

    def context(self, row: JobStep, *, cancelable: bool = False, undoing: bool = False) -> Context:
        return Context(self.job, self.journal, row, cancelable=cancelable, undoing=undoing, held=self.held)

    def mark(self, row: JobStep, status: StepStatus, *lines: LogLine, job: dict[str, Any] | None = None, **fields: Any) -> None:
        """Commit the step's new status, these fields of it and these lines. Raises: LeaseLost."""
        self.journal.commit(list(lines), steps={row.pk: {"status": status, **fields}}, job=job)
        row.status = status
        for name, value in fields.items():
            if not isinstance(value, Now):
                setattr(row, name, value)

    def begin(self, row: JobStep) -> None:
        if row.pk in self.begun_ahead:
            return
        again = row.status == StepStatus.RUNNING
        text = f"{row.title} (again)" if again else row.title
        fields: dict[str, Any] = {"attempts": row.attempts + 1, "sentence": "", "hint": "", "finished_at": None}
        if not again:
            fields["started_at"] = Now()
        self.mark(row, StepStatus.RUNNING, (Level.STEP, text, row.position), **fields)

    def done(self, row: JobStep, sentence: str) -> None:
        lines: list[LogLine] = [(Level.STEP, sentence, row.position)]
        dropped = self.journal.dropped()
        if dropped:
            lines.append((Level.INFO, f"{dropped} further lines of output were counted, not stored.", row.position))
        self.mark(row, StepStatus.DONE, *lines, sentence=self.journal.mask(sentence), finished_at=Now())

    def cross(self, row: JobStep) -> None:
        """Commit that the point of no return is behind us. Raises: Canceled, when a person has asked to; LeaseLost."""
        crossed = {"status": StepStatus.DONE, "sentence": row.title, "started_at": Now(), "finished_at": Now()}
        self.journal.commit([(Level.STEP, f"{row.title}.", row.position)], steps={row.pk: crossed}, unless_canceled=True)
        row.status = StepStatus.DONE

    def done_and_crossed(self, row: JobStep, sentence: str, crossing: JobStep, ahead: JobStep) -> None:
        """Commit at once that the step is done, that the point of no return is crossed, and that the step behind it has begun.

        One commit instead of three: between the stop of a primary and the promotion of the next every millisecond is felt.
        Raises: Canceled, when a person has asked to, and then nothing is committed; LeaseLost.
        """
        done = {"status": StepStatus.DONE, "sentence": self.journal.mask(sentence), "finished_at": Now()}
        crossed = {"status": StepStatus.DONE, "sentence": crossing.title, "started_at": Now(), "finished_at": Now()}
        begun = {"status": StepStatus.RUNNING, "attempts": ahead.attempts + 1, "started_at": Now()}
        lines: list[LogLine] = [
            (Level.STEP, sentence, row.position),
            (Level.STEP, f"{crossing.title}.", crossing.position),
            (Level.STEP, ahead.title, ahead.position),
        ]
        self.journal.commit(lines, steps={row.pk: done, crossing.pk: crossed, ahead.pk: begun}, unless_canceled=True)
        row.status = crossing.status = StepStatus.DONE
        row.sentence, ahead.status, ahead.attempts = str(done["sentence"]), StepStatus.RUNNING, ahead.attempts + 1
        self.begun_ahead.add(ahead.pk)

    def ask(self, row: JobStep | None, trouble: WithHint) -> None:
        """Stop here and keep the cluster until a person decides."""
        what, hint = self.journal.mask(trouble.what), self.journal.mask(trouble.hint)
        steps = {row.pk: {"status": StepStatus.FAILED, "sentence": what, "hint": hint, "finished_at": Now()}} if row else {}
        values = {"status": Status.NEEDS_OPERATOR, "summary": what, "hint": hint, "lease_until": None}
        line = (Level.ERROR, f"{what} {hint} The job waits for an operator.", row.position if row else None)
        self.journal.commit([line], steps=steps, job=values, last=True)

    def end(
        self,
        status: Status,
        summary: str,
        hint: str = "",
        *,
        lines: Sequence[LogLine] = (),
        steps: dict[int, dict[str, Any]] | None = None,
        result: dict[str, Any] | None = None,
    ) -> None:
        """The job's last commit, together with the end of its audit record."""
        summary, hint = self.journal.mask(summary), self.journal.mask(hint)
        result = {key: value for key, value in {**self.job.result, **(result or {})}.items() if key != "rollback"}
        values = {"status": status, "summary": summary, "hint": hint, "result": result, "finished_at": Now(), "lease_until": None}
        last = (LAST_LEVEL.get(status, Level.ERROR), f"Job {status.label}. {summary} {hint}".rstrip(), None)
        self.journal.commit([*lines, last], steps=steps, job=values, also=lambda: self._close(status, summary, result), last=True)

    def _close(self, status: Status, summary: str, result: dict[str, Any]) -> None:
        if self.job.mutating:
            audit_close(self.job, status, summary=summary, result=result)
