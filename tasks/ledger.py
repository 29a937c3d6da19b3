"""One transaction at a time on a running job's rows, for the holder of its lease alone. Used by `tasks.journal`.

    UPDATE tasks_job SET last_event = last_event + n, lease_until = now() + lease, ...
     WHERE id = ... AND token = mine AND last_event = known

comes first in each: it proves and renews the lease, and its row lock makes the numbers of events gapless and their order the
order of the commits. A transaction whose outcome is unknown (the connection broke) is found again by the counter, never repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now

from tasks.kinds import RUNNABLE
from tasks.lease import Lease, clock
from tasks.models import Job, JobEvent, JobStep
from tasks.nudge import nudge
from tasks.workflows.step import Canceled, LeaseLost

logger = logging.getLogger(__name__)

#: The panel's database does not answer. It is tried again while the lease holds.
UNAVAILABLE: Final = (OperationalError, InterfaceError)


@dataclass(frozen=True)
class Line:
    """An event that has no number yet."""

    level: str
    text: str
    step: int | None
    at: datetime


@dataclass
class Batch:
    """What one transaction stores."""

    lines: list[Line] = field(default_factory=list)
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)  # id of the step -> its fields
    job: dict[str, Any] = field(default_factory=dict)
    also: Callable[[], object] | None = None  # runs in the transaction; the batch must have a line then
    unless_canceled: bool = False

    def __bool__(self) -> bool:
        return bool(self.lines or self.steps or self.job)

    def merge(self, later: Batch) -> None:
        """Take in what came after it."""
        self.lines += later.lines
        for key, values in later.steps.items():
            self.steps[key] = {**self.steps.get(key, {}), **values}
        self.job |= later.job


class Ledger:
    def __init__(self, lease: Lease) -> None:
        self.job_id, self.token, self.seconds = lease.job_id, lease.token, lease.seconds
        self.stored = lease.last_event  # the number of the last event
        self.until = lease.until  # on our clock
        self.lost = ""  # why, once it is

    def check(self) -> None:
        """Raises: LeaseLost, unless the lease can be proven to hold right now."""
        if self.lost or clock() >= self.until:
            raise LeaseLost(self.lost or "the lease could not be renewed in time")

    def renew_due(self) -> float:
        """The moment, on our clock, at which a third of the lease is over."""
        return self.until - self.seconds * 2 / 3

    def store(self, batch: Batch) -> bool:
        """One transaction; an empty batch renews the lease. False: the database did not answer, try again with the same batch.

        Raises: LeaseLost; Canceled, when the batch says `unless_canceled` and a person has asked to.
        """
        if self.lost:
            raise LeaseLost(self.lost)
        asked = clock()
        try:
            self._transact(batch)
        except UNAVAILABLE as error:
            logger.warning("Job #%s: the panel's database does not answer (%s)", self.job_id, str(error).strip())
            connection.close()
            return False
        except DatabaseError as error:
            logger.exception("Job #%s: its log could not be stored", self.job_id)
            raise self._lose(f"its log could not be stored ({type(error).__name__})") from error
        self.stored += len(batch.lines)
        self.until = asked + self.seconds
        if batch:
            nudge(self.job_id, self.stored)
        return True

    def _transact(self, batch: Batch) -> None:
        with transaction.atomic(durable=True):
            if self._update(batch):
                self._insert(batch)
                if batch.also:
                    batch.also()
            elif not self._stored_before(batch):
                raise self._refusal(batch)

    def _update(self, batch: Batch) -> bool:
        mine = Job.objects.filter(pk=self.job_id, token=self.token, status__in=RUNNABLE, last_event=self.stored)
        if batch.unless_canceled:
            mine = mine.filter(cancel_requested_at=None)
        values = {"last_event": self.stored + len(batch.lines), "lease_until": Now() + timedelta(seconds=self.seconds), **batch.job}
        return mine.update(**values) == 1

    def _insert(self, batch: Batch) -> None:
        JobEvent.objects.bulk_create(
            JobEvent(job_id=self.job_id, seq=seq, step=line.step, level=line.level, text=line.text, at=line.at)
            for seq, line in enumerate(batch.lines, start=self.stored + 1)
        )
        for step_id, values in batch.steps.items():
            JobStep.objects.filter(pk=step_id, job_id=self.job_id).update(**values)

    def _stored_before(self, batch: Batch) -> bool:
        """The connection broke after the commit of this very batch: nobody else moves the counter while the token is ours."""
        moved = Job.objects.filter(pk=self.job_id, token=self.token, last_event=self.stored + len(batch.lines))
        return bool(batch.lines) and moved.exists()

    def _refusal(self, batch: Batch) -> Exception:
        mine = Job.objects.filter(pk=self.job_id, token=self.token, status__in=RUNNABLE)
        if batch.unless_canceled and mine.exclude(cancel_requested_at=None).exists():
            return Canceled()
        return self._lose("another worker has taken it over, or it has ended")

    def _lose(self, why: str) -> LeaseLost:
        self.lost = why
        return LeaseLost(why)
