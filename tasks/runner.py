"""A job, run by one worker: claim it, walk its steps, and end it; going back is in `tasks.rollback`.

    RUNNING is committed -> the step acts -> DONE is committed

A worker that dies leaves a step RUNNING. The next one calls it again: each step looks before it acts. Only a `once` step is
judged first by its `observe`. A worker that has lost its lease writes nothing and does nothing more; it just goes home.
"""

from __future__ import annotations

import logging

from django.db import connection

from clusters.fields import EncryptedField, SecretUnreadable
from tasks.course import Course, LogLine
from tasks.failpoints import failpoint
from tasks.journal import Journal, Level
from tasks.kinds import Status, StepStatus
from tasks.lease import Lease, claim
from tasks.ledger import UNAVAILABLE
from tasks.lines import Masker
from tasks.models import Job, JobStep
from tasks.patience import once, patiently
from tasks.rollback import changed_anything, roll_back, trouble_of, undo_all
from tasks.takeover import servers_claimed
from tasks.workflows import steps_create
from tasks.workflows.step import Canceled, LeaseLost, NeedsOperator, PointOfNoReturn, Refused, Step, StepFailed, obstacle_dict

logger = logging.getLogger(__name__)

#: A step that was begun this often without an end has killed its workers: a person looks at it.
ATTEMPTS_MAX = 12


def run(job_id: int) -> bool:
    """Work on the job until it ends, waits for a person, or is lost. False: it is not to be had (ended, or another worker has it)."""
    lease = claim(job_id)
    if lease is None:
        return False
    try:
        _work(job_id, lease)
    except LeaseLost as lost:
        logger.warning("Job #%s: stopped at once: %s", job_id, lost)
    except UNAVAILABLE as error:
        logger.warning("Job #%s: stopped, since the panel's database does not answer (%s). It goes on when that is back.", job_id, error)
        connection.close()
    return True


def _work(job_id: int, lease: Lease) -> None:
    try:
        job = Job.objects.select_related("cluster", "instance__cluster", "instance__server", "server").get(pk=job_id)
    except SecretUnreadable as unreadable:
        job = Job.objects.get(pk=job_id)
        with Journal(job, lease, Masker(())) as journal:
            hint = "Put the key back, restart the panel, so that its workers read the file again, then resume the job."
            Course(job, journal).ask(None, NeedsOperator(str(unreadable), hint))
        return
    with Journal(job, lease, masker_of(job)) as journal:
        course = _course(job, journal)
        try:
            _go(course, lease)
        finally:
            course.held.close()  # this worker is done with the job, however it stands


def masker_of(job: Job) -> Masker:
    """What no line of this job may show: every secret of its cluster and its server."""
    rows = [row for row in (job.cluster, job.server) if row is not None]
    found = [getattr(row, field.attname) for row in rows for field in row._meta.concrete_fields if isinstance(field, EncryptedField)]
    return Masker(secret for secret in found if secret is not None)


def _course(job: Job, journal: Journal) -> Course:
    course = Course(job, journal)
    if course.fits or course.begun:
        return course
    job.steps.all().delete()  # the panel was upgraded before the job began
    steps_create(job)
    return Course(job, journal)


def _go(course: Course, lease: Lease) -> None:
    if lease.taken_from:
        course.journal.add(
            Level.WARNING, f"Taken over from worker {lease.taken_from}, which ended or was lost. Looking at what it had done."
        )
        servers_claimed(course.job, course.journal)
    if not course.fits:
        what = "This job was begun by another version of the panel, whose steps differ from this one's."
        course.ask(None, NeedsOperator(what, "Go back to that version to finish it, or give the job up."))
    elif course.job.status == Status.ROLLING_BACK:
        undo_all(course)
    else:
        _forward(course)


def _forward(course: Course) -> None:
    pairs = list(course)
    for index, (step, row) in enumerate(pairs):
        if row.status == StepStatus.DONE:
            continue
        if not (_cross(course, row) if isinstance(step, PointOfNoReturn) else _perform(course, step, row, _crossing(pairs[index + 1 :]))):
            return
    summary = course.workflow.summary(course.context(course.rows[-1])) if course.workflow.summary else course.rows[-1].sentence
    course.end(Status.DONE, summary)


def _crossing(rest: list[tuple[Step | PointOfNoReturn, JobStep]]) -> tuple[JobStep, JobStep] | None:
    """Where the point of no return is next: its row, and that of the step behind it, where neither was touched yet."""
    if len(rest) < 2 or not isinstance(rest[0][0], PointOfNoReturn):
        return None
    crossing, ahead = rest[0][1], rest[1][1]
    return (crossing, ahead) if (crossing.status, ahead.status) == (StepStatus.PENDING, StepStatus.PENDING) else None


def _cross(course: Course, row: JobStep) -> bool:
    """Commit the crossing, unless a person has asked to cancel: the database decides which came first."""
    try:
        course.cross(row)
    except Canceled:
        return _canceled(course, None)
    return True


def _perform(course: Course, step: Step, row: JobStep, crossing: tuple[JobStep, JobStep] | None = None) -> bool:
    """Whether the step's goal holds now. If not, the job has ended, was rolled back, or waits for a person."""
    cancelable = not course.past_no_return
    context = course.context(row, cancelable=cancelable)
    begun = row.status == StepStatus.RUNNING and row.pk not in course.begun_ahead
    try:
        if cancelable and course.journal.cancel_requested(fresh=True):
            return _canceled(course, row)
        if row.attempts >= ATTEMPTS_MAX:
            return _hopeless(course, row)
        course.begin(row)
        failpoint(row.name, "before")
        sentence = once(step, context, begun) if step.once else patiently(step.act, context)
        failpoint(row.name, "after")
    except (LeaseLost, *UNAVAILABLE):
        raise
    except Canceled:
        return _canceled(course, row)
    except Refused as refused:
        return _refused(course, row, refused)
    except Exception as error:
        return _failed(course, row, error)
    return _done(course, row, sentence, crossing)


def _done(course: Course, row: JobStep, sentence: str, crossing: tuple[JobStep, JobStep] | None) -> bool:
    if crossing is None:
        course.done(row, sentence)
        return True
    try:
        course.done_and_crossed(row, sentence, *crossing)
    except Canceled:
        course.done(row, sentence)
        return _canceled(course, None)
    return True


# -- the ways a step can end early; each gives False: the walk is over


def _canceled(course: Course, row: JobStep | None) -> bool:
    who = Job.objects.values_list("cancel_requested_by_name", flat=True).get(pk=course.job.pk)
    roll_back(course, Status.CANCELED, f"Canceled by {who}.", row=row)
    return False


def _failed(course: Course, row: JobStep, error: Exception) -> bool:
    trouble = trouble_of(course, row, error)
    if isinstance(trouble, NeedsOperator):
        course.ask(row, trouble)
    elif course.past_no_return:
        course.ask(row, NeedsOperator(trouble.what, f"{trouble.hint} Then resume the job: it goes on at this step.".lstrip()))
    else:
        roll_back(course, Status.FAILED, trouble.what, trouble.hint, row=row)
    return False


def _refused(course: Course, row: JobStep, refused: Refused) -> bool:
    """Obstacles found before anything was changed refuse the job; found later, they are a failure like any other."""
    obstacles = [obstacle_dict(obstacle) for obstacle in refused.obstacles]
    what = " ".join(str(obstacle["sentence"]) for obstacle in obstacles)
    hint = " ".join(str(obstacle["cure"]) for obstacle in obstacles if obstacle["cure"])
    if course.past_no_return:
        return _failed(course, row, StepFailed(what, hint))
    if changed_anything(course, before=row):
        roll_back(course, Status.FAILED, what, hint, row=row, obstacles=obstacles)
        return False
    lines: list[LogLine] = [(Level.WARNING, f"{obstacle['sentence']} {obstacle['cure']}".rstrip(), row.position) for obstacle in obstacles]
    steps = {row.pk: {"status": StepStatus.FAILED, "sentence": course.journal.mask(what), "hint": course.journal.mask(hint)}}
    course.end(Status.REFUSED, what, hint, lines=lines, steps=steps, result={"obstacles": obstacles, "failed_step": row.name})
    return False


def _hopeless(course: Course, row: JobStep) -> bool:
    what = f"“{row.title}” was begun {row.attempts} times, and each time its worker died."
    course.ask(row, NeedsOperator(what, "Look into the workers' log and the machine's memory, then resume or cancel the job."))
    return False
