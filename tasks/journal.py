"""The log of a running job, what its steps remember, and the keeping of its lease: one writer, the worker that holds it.

Lines wait some 20 ms and are stored in bulk (`tasks.ledger`) by a thread with a database connection of its own, outside of
any transaction of the step; viewers are nudged after each commit. At the borders of steps everything is stored at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.utils import timezone

from clusters.secrets import Secret
from tasks.lease import Lease, clock
from tasks.ledger import UNAVAILABLE, Batch, Ledger, Line
from tasks.lines import Masker, clean_line, clean_lines
from tasks.models import Job, JobEvent
from tasks.workflows.step import Canceled, LeaseLost

logger = logging.getLogger(__name__)

Level = JobEvent.Level
FLUSH_DELAY: Final = 0.02  # seconds that a line waits for company
PROGRESS_DELAY: Final = 0.25
CANCEL_POLL: Final = 0.5
RETRY_DELAY: Final = 0.2
BATCH: Final = 2_000  # events in one transaction
PENDING_MAX: Final = 10_000  # lines that wait in memory before who logs has to wait
RESERVE: Final = 1_000  # lines of ours that still get in when output does not


class Journal:
    """A context manager. One thread logs through it; a second one, its own, stores and renews the lease."""

    def __init__(self, job: Job, lease: Lease, masker: Masker | None = None) -> None:
        self.job_id, self.token = job.pk, lease.token
        self._masker = masker or Masker()
        self._ledger = Ledger(lease)
        self._admitted, self._dropped = lease.last_event, 0
        self._truncated = job.log_truncated
        self._canceled, self._canceled_read = job.cancel_requested_at is not None, clock()
        self._pending, self._due = Batch(), float("inf")
        self._changed = threading.Condition()  # guards the counters and what is pending
        self._writing = threading.RLock()  # one transaction at a time, in order; taken before `_changed`
        self._closed = False
        self._thread = threading.Thread(target=self._keep, name=f"journal-{job.pk}", daemon=True)

    def __enter__(self) -> Journal:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None and not self._closed:
                self.flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join(timeout=self._ledger.seconds)

    # -- what steps and the runner say

    def add(self, level: str, text: str | bytes, step: int | None = None) -> None:
        """Log a text, one event for each of its lines; waits while too many are pending. Raises: LeaseLost."""
        self.check()
        now = timezone.now()
        lines = clean_lines(text, self._masker, settings.JOB_LINE_MAX_BYTES)
        with self._changed:
            for line in lines:
                self._admit(Line(level, line, step, now))
            self._schedule(FLUSH_DELAY)
            while len(self._pending.lines) > PENDING_MAX and not self._ledger.lost and clock() < self._ledger.until:
                self._changed.wait(FLUSH_DELAY)

    def remember(self, step_id: int, **fields: Any) -> None:
        """Store fields of a step, together with the lines before them."""
        with self._changed:
            self._pending.merge(Batch(steps={step_id: fields}))
            self._schedule(PROGRESS_DELAY if fields.keys() <= {"progress"} else FLUSH_DELAY)

    def remember_job(self, **fields: Any) -> None:
        with self._changed:
            self._pending.merge(Batch(job=fields))
            self._schedule(FLUSH_DELAY)

    def mask(self, text: str) -> str:
        """A sentence that is stored elsewhere: one line, masked and inert as in the log."""
        return clean_line(text, self._masker, settings.JOB_LINE_MAX_BYTES)

    def masked(self, text: str) -> str:
        """A text for the server's own log, its line ends left alone."""
        return self._masker(text)

    def mask_also(self, secret: Secret) -> None:
        self._masker.add(secret)

    def dropped(self) -> int:
        """How many lines of output were counted, not stored, since this was asked last."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    # -- the lease

    def check(self) -> None:
        """Raises: LeaseLost, unless the lease can be proven to hold right now."""
        self._ledger.check()

    def cancel_requested(self, *, fresh: bool = False) -> bool:
        """Whether a person asked to cancel. The database is asked at most twice a second, or now; while it does not answer: no."""
        if not self._canceled and (fresh or clock() - self._canceled_read >= CANCEL_POLL):
            try:
                self._canceled = Job.objects.filter(pk=self.job_id).exclude(cancel_requested_at=None).exists()
            except UNAVAILABLE:
                connection.close()
            self._canceled_read = clock()
        return self._canceled

    # -- storing

    def flush(self) -> None:
        """Store everything so far before it returns. Raises: LeaseLost."""
        if self._ledger.lost:
            raise LeaseLost(self._ledger.lost)
        with self._writing:
            while not self._store_pending():
                self._wait_for_database()

    def commit(
        self,
        lines: list[tuple[str, str, int | None]],
        *,
        steps: dict[int, dict[str, Any]] | None = None,
        job: dict[str, Any] | None = None,
        also: Callable[[], object] | None = None,
        unless_canceled: bool = False,
        last: bool = False,
    ) -> None:
        """After everything so far, store these lines (level, text, step) and fields in one transaction, before it returns.

        `also` runs in that transaction. `last`: the job's new status ends the lease, nothing is written after it.
        Raises: LeaseLost; Canceled, with `unless_canceled` when a person has asked to, and then nothing of it is stored.
        """
        now = timezone.now()
        batch = Batch(
            [Line(level, self.mask(text), step, now) for level, text, step in lines], steps or {}, job or {}, also, unless_canceled
        )
        with self._writing:
            self._store_with_pending(batch)
            with self._changed:
                self._admitted += len(lines)
                self._closed = self._closed or last

    def _admit(self, line: Line) -> None:
        limit: int = settings.JOB_LOG_MAX_LINES
        if line.level == Level.OUTPUT and self._admitted >= limit - 1:
            self._dropped += 1
            self._truncate(limit, line)
        elif self._admitted < limit + RESERVE or line.level in (Level.STEP, Level.ERROR):
            self._admitted += 1
            self._pending.lines.append(line)

    def _truncate(self, limit: int, line: Line) -> None:
        if self._truncated:
            return
        self._truncated = True
        self._admitted += 1
        text = f"The log has reached its limit of {limit} lines: from here on the machines' output is counted, not stored."
        self._pending.merge(Batch([Line(Level.WARNING, text, line.step, line.at)], job={"log_truncated": True}))

    def _schedule(self, delay: float) -> None:
        due = time.monotonic() + delay
        if due < self._due:
            self._due = due
            self._changed.notify_all()

    def _wait_for_database(self) -> None:
        self.check()
        time.sleep(RETRY_DELAY)

    def _store_pending(self) -> bool:
        """Store what is pending. False: the database does not answer, and it is pending still."""
        with self._writing:
            while batch := self._take():
                if not self._ledger.store(batch):
                    with self._changed:
                        batch.merge(self._pending)
                        self._pending = batch
                        self._schedule(RETRY_DELAY)
                    return False
            return True

    def _store_with_pending(self, batch: Batch) -> None:
        """In one transaction with what is pending, unless that is long: a commit costs a write to disk, and some are waited for."""
        with self._changed:
            long = len(self._pending.lines) > BATCH
        if long:
            self.flush()
        before = self._take()
        whole = Batch(list(before.lines), dict(before.steps), dict(before.job), batch.also, batch.unless_canceled)
        whole.merge(batch)
        try:
            while not self._ledger.store(whole):
                self._wait_for_database()
        except Canceled:
            with self._changed:
                before.merge(self._pending)
                self._pending = before
                self._schedule(0)
            raise

    def _take(self) -> Batch:
        with self._changed:
            taken, self._pending, self._due = self._pending, Batch(), float("inf")
            if len(taken.lines) > BATCH:  # the states go with the last of the lines they came after
                self._pending = Batch(taken.lines[BATCH:], taken.steps, taken.job)
                taken = Batch(taken.lines[:BATCH])
            self._changed.notify_all()
            return taken

    # -- the thread

    def _keep(self) -> None:
        try:
            while self._wait():
                with self._writing:
                    answered = not self._closed and self._store_pending() and self._renew()
                if not answered:
                    time.sleep(RETRY_DELAY)
        except LeaseLost as lost:
            logger.warning("Job #%s: this worker has lost it: %s", self.job_id, lost)
        finally:
            connection.close()

    def _wait(self) -> bool:
        """Wait until there is something to do. False: the journal is closed."""
        with self._changed:
            while not self._closed:
                seconds = min(self._due - time.monotonic(), self._ledger.renew_due() - clock())
                if seconds <= 0:
                    return True
                self._changed.wait(seconds)
            return False

    def _renew(self) -> bool:
        return clock() < self._ledger.renew_due() or self._ledger.store(Batch())
