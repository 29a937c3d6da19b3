"""Jobs under fire: workers in processes of their own, killed or frozen at a chosen place, until the job comes to its end.

    job = drive(job_request(...), failpoint="slot_made:inside")     # the first worker dies there, the next ones finish
    assert_sound(job)                                              # numbers, steps, audit: whatever happened

Every workflow can be driven; `places(kind)` enumerates where its workers can be made to die. Tests need real transactions:
`@pytest.mark.django_db(transaction=True)`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
from django.db import connection
from django.db.models.functions import Now

from tasks.actor import actor_system
from tasks.audit import Verified, audit_verify
from tasks.control import job_cancel
from tasks.failpoints import VARIABLE
from tasks.kinds import RUNNABLE, Status, StepStatus
from tasks.models import AuditEntry, Job, JobEvent
from tasks.workflows import workflow_of
from tasks.workflows.step import Step
from tests.waiting import wait_until

SECONDS = 60.0
LEASE = 30.0  # of workers that are killed; their lease is ended by hand, so nobody waits for it
WHERE = ("before", "inside", "after")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", "tests.faults.child"])  # multiprocessing loads our main module in each


@dataclass
class Worker:
    """One process that takes one job once."""

    job: Job
    failpoint: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    deliveries: int = 1  # how often it gets the message, at once
    process: BaseProcess | None = None

    def start(self) -> Worker:
        env = {**self.env, **({VARIABLE: self.failpoint} if self.failpoint else {})}
        values = {"JOB_LEASE_SECONDS": LEASE, **self.settings}
        args = (self.job.pk, connection.settings_dict["NAME"], env, values, self.deliveries)
        self.process = _context.Process(target=_work, args=args, daemon=True)
        self.process.start()
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        assert self.process.pid is not None
        return self.process.pid

    def end(self, seconds: float = SECONDS) -> int:
        """Its exit code: 0 it had the job, 3 it was not to be had, -9 it was killed. 4: it had it more than once."""
        assert self.process is not None
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.kill()
            raise AssertionError(f"the worker did not end in {seconds} s")
        assert code in (0, 3, -signal.SIGKILL), f"the worker ended with {code}; its words are above"
        return code

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.join(SECONDS)

    def stopped(self) -> bool:
        """Whether the process is frozen by SIGSTOP."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED


def _work(*args: Any) -> None:
    from tests.faults import child

    child.work(*args)


def run_once(job: Job, failpoint: str = "", **options: Any) -> int:
    """One worker takes the job; gives its exit code."""
    return Worker(job, failpoint, **options).start().end()


def lease_end(job: Job) -> None:
    """The time of a dead worker's lease has passed."""
    Job.objects.filter(pk=job.pk, lease_until__isnull=False).update(lease_until=Now())


def drive(job: Job, failpoint: str = "", *, workers: int = 10, **options: Any) -> Job:
    """Workers take the job, one after another, until it ends or asks an operator. The first one meets the failpoint."""
    for _ in range(workers):
        run_once(job, failpoint, **options)
        failpoint = ""
        job.refresh_from_db()
        if job.status not in RUNNABLE:
            return job
        lease_end(job)
    raise AssertionError(f"job {job.pk} is {job.status} after {workers} workers")


def places(kind: str, *, undo: bool = False) -> list[str]:
    """Every failpoint of a kind's workflow, in the order in which they are met; with `undo` those of its undoing."""
    steps = [step for step in workflow_of(kind).steps if isinstance(step, Step) and (step.undo or not undo)]
    steps = steps[::-1] if undo else steps
    return [f"{'undo.' if undo else ''}{step.name}:{where}" for step in steps for where in WHERE]


def killed_at_each(job: Job, chosen: Iterable[str]) -> Job:
    """One worker after another dies at the next place; the last one ends the job."""
    for place in chosen:
        assert run_once(job, place) == -signal.SIGKILL, place
        lease_end(job)
    job = drive(job)
    assert_sound(job)
    return job


def canceled_at(job: Job, place: str, undo: Iterable[str]) -> Job:
    """The worker dies at `place`, a person cancels, the next ones die while they undo, and another one ends it."""
    assert run_once(job, place) == -signal.SIGKILL
    job_cancel(job=Job.objects.get(pk=job.pk), actor=actor_system("operator", "command"))
    lease_end(job)
    return killed_at_each(job, undo)


def assert_sound(job: Job) -> None:
    """What holds of a job that has ended, or asks, whatever was done to its workers."""
    job.refresh_from_db()
    assert list(JobEvent.objects.filter(job=job).order_by("seq").values_list("seq", flat=True)) == list(range(1, job.last_event + 1))
    assert job.status not in RUNNABLE
    assert job.lease_until is None
    statuses = set(job.steps.values_list("status", flat=True))
    if job.status == Status.DONE:
        assert statuses == {StepStatus.DONE}
    elif job.status == Status.NEEDS_OPERATOR:
        assert job.summary
        assert job.hint
    assert statuses.isdisjoint({StepStatus.RUNNING, StepStatus.UNDOING})
    assert isinstance(audit_verify(), Verified)
    if job.mutating:
        entries = AuditEntry.objects.filter(job_id=job.pk, action=job.kind)
        still_open = entries.filter(phase="opened").count() - entries.filter(phase="closed").count()
        assert still_open == (job.status == Status.NEEDS_OPERATOR)


def texts(job: Job, levels: Iterable[str] = ()) -> list[str]:
    """The log's lines, in order."""
    events = JobEvent.objects.filter(job=job).order_by("seq")
    return list((events.filter(level__in=levels) if levels else events).values_list("text", flat=True))


def frozen_at(job: Job, place: str, fault: Callable[[], object]) -> Job:
    """The worker stops at `place`, the fault is made, and the worker goes on to the end."""
    worker = Worker(job, f"{place}:STOP", settings={"JOB_LEASE_SECONDS": 120}).start()
    try:
        wait_until(worker.stopped, f"the worker is frozen at {place}")
        fault()
        worker.send(signal.SIGCONT)
        worker.end(180)
    except BaseException:
        worker.kill()
        raise
    job.refresh_from_db()
    assert_sound(job)
    return job
