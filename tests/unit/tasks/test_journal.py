"""The journal: complete, in order, once, bounded; and nothing at all for a worker that has lost its lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DataError, OperationalError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from clusters.secrets import MASK, Secret
from tasks import journal as journal_module
from tasks import ledger
from tasks.context import Context
from tasks.journal import Journal, Level
from tasks.kinds import Status, StepStatus
from tasks.lease import claim, clock
from tasks.lines import Masker
from tasks.models import Job, JobEvent, JobStep
from tasks.workflows.step import Canceled, LeaseLost
from tests.factories import JobFactory, StepFactory
from tests.faults.harness import lease_end
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "nudge", lambda job_id, last_event: True)


@contextmanager
def opened(job: Job | None = None, *secrets: str) -> Iterator[Journal]:
    job = job or JobFactory(status=Status.QUEUED)
    lease = claim(job.pk)
    assert lease is not None
    job.refresh_from_db()
    with Journal(job, lease, Masker(Secret(secret) for secret in secrets)) as journal:
        yield journal


def events(journal: Journal) -> list[tuple[int, str, str]]:
    return list(JobEvent.objects.filter(job_id=journal.job_id).order_by("seq").values_list("seq", "level", "text"))


def texts(journal: Journal) -> list[str]:
    return [text for _, _, text in events(journal)]


class TestLines:
    def it_numbers_them_from_one_without_gap(self) -> None:
        with opened() as journal:
            journal.add(Level.INFO, "one")
            journal.add(Level.OUTPUT, b"two\nthree")
            journal.commit([(Level.STEP, "four", 1)])
            journal.add(Level.WARNING, "five")
        assert events(journal) == [
            (1, "info", "one"),
            (2, "output", "two"),
            (3, "output", "three"),
            (4, "step", "four"),
            (5, "warning", "five"),
        ]
        assert Job.objects.values_list("last_event", flat=True).get(pk=journal.job_id) == 5

    def it_goes_on_with_the_number_where_another_worker_stopped(self) -> None:
        job = JobFactory(status=Status.QUEUED)
        with opened(job) as first:
            first.add(Level.INFO, "one")
        lease_end(job)
        with opened(job) as second:
            second.add(Level.INFO, "two")
        assert [seq for seq, _, _ in events(second)] == [1, 2]

    def it_stores_a_line_within_a_blink_without_being_asked(self) -> None:
        with opened() as journal:
            journal.add(Level.INFO, "one")
            wait_until(lambda: texts(journal) == ["one"], "the line is stored", seconds=5)

    def it_keeps_20_000_lines_complete_and_in_order(self) -> None:
        lines = [f"line {n}" for n in range(20_000)]
        with opened() as journal:
            for line in lines:
                journal.add(Level.OUTPUT, line)
        assert events(journal) == [(n + 1, "output", line) for n, line in enumerate(lines)]

    @given(st.lists(st.text(max_size=30) | st.binary(max_size=30), max_size=20))
    @hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def it_stores_whatever_a_machine_prints(self, printed: list[str | bytes]) -> None:
        with opened() as journal:
            for line in printed:
                journal.add(Level.OUTPUT, line)
        count = sum(line.count(b"\n" if isinstance(line, bytes) else "\n") + 1 for line in printed)
        assert [seq for seq, _, _ in events(journal)] == list(range(1, count + 1))

    def it_masks_what_it_stores_and_what_it_is_told_of_later(self) -> None:
        with opened(None, "first-secret") as journal:
            journal.add(Level.COMMAND, "psql first-secret second-secret")
            journal.mask_also(Secret("second-secret"))
            journal.add(Level.OUTPUT, b"first-secret second-secret")
            journal.commit([(Level.STEP, "first-secret second-secret", 1)])
            assert journal.mask("a\nfirst-secret") == f"a {MASK}"
        assert texts(journal) == [f"psql {MASK} second-secret", f"{MASK} {MASK}", f"{MASK} {MASK}"]

    def it_is_stored_though_the_step_rolls_its_transaction_back(self) -> None:
        with opened() as journal:
            with transaction.atomic():
                journal.add(Level.INFO, "one")
                wait_until(lambda: _seen_elsewhere(journal) == 1, "another session sees it")
                transaction.set_rollback(True)
            assert texts(journal) == ["one"]

    def it_nudges_viewers_after_the_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[int, int]] = []
        monkeypatch.setattr(ledger, "nudge", lambda job_id, last: seen.append((last, JobEvent.objects.filter(job_id=job_id).count())))
        with opened() as journal:
            journal.add(Level.INFO, "one\ntwo")
            journal.flush()
        assert seen == [(2, 2)]


def _seen_elsewhere(journal: Journal) -> int:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tasks_jobevent WHERE job_id = %s", [journal.job_id])
        count: int = cursor.fetchone()[0]
    other.close()
    return count


class TestLimit:
    @pytest.fixture(autouse=True)
    def _small(self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.JOB_LOG_MAX_LINES = 10
        monkeypatch.setattr(journal_module, "RESERVE", 3)

    def it_says_once_that_it_cut_and_counts_the_rest(self) -> None:
        with opened() as journal:
            for n in range(50):
                journal.add(Level.OUTPUT, f"line {n}")
            assert journal.dropped() == 41
            assert journal.dropped() == 0
        warning = "The log has reached its limit of 10 lines: from here on the machines' output is counted, not stored."
        assert texts(journal) == [f"line {n}" for n in range(9)] + [warning]
        assert Job.objects.values_list("log_truncated", flat=True).get(pk=journal.job_id)

    def it_still_takes_our_own_words_and_steps_and_errors_always(self) -> None:
        with opened() as journal:
            for n in range(20):
                journal.add(Level.OUTPUT, f"line {n}")
            for n in range(10):
                journal.add(Level.INFO, f"info {n}")
            for n in range(10):
                journal.add(Level.ERROR, f"error {n}")
            journal.commit([(Level.STEP, "end", 1)])
        assert texts(journal)[10:] == [f"info {n}" for n in range(3)] + [f"error {n}" for n in range(10)] + ["end"]

    def it_does_not_say_it_again_after_a_take_over(self) -> None:
        job = JobFactory(status=Status.QUEUED)
        with opened(job) as journal:
            for _ in range(20):
                journal.add(Level.OUTPUT, "line")
        lease_end(job)
        with opened(job) as journal:
            journal.add(Level.OUTPUT, "line")
            assert journal.dropped() == 1
        assert len(events(journal)) == 10


class TestMemory:
    def it_stores_an_offset_together_with_the_lines_before_it(self) -> None:
        step = StepFactory(job=JobFactory(status=Status.QUEUED))
        with opened(step.job) as journal:
            context = Context(step.job, journal, step)
            for n in range(1, 3001):
                context.output(f"line {n}")
                context.keep(offset=n)
                if n % 500 == 0:
                    with transaction.atomic():  # one look at both
                        row = Job.objects.select_for_update().get(pk=step.job.pk)
                        kept = JobStep.objects.values_list("state", flat=True).get(pk=step.pk)
                        assert kept.get("offset", 0) <= row.last_event
        assert JobStep.objects.get(pk=step.pk).state == {"offset": 3000}

    def it_shows_progress_and_results(self) -> None:
        step = StepFactory(job=JobFactory(status=Status.QUEUED))
        with opened(step.job) as journal:
            context = Context(step.job, journal, step)
            context.progress(5, 10, "B", rate=2.5, seconds_left=2)
            context.result(timeline=2)
            context.result(lag_bytes=0)
            context.keep(unit="u")
            context.keep_now(unit2="v")
            assert JobStep.objects.get(pk=step.pk).state == {"unit": "u", "unit2": "v"}
        assert JobStep.objects.get(pk=step.pk).progress == {"done": 5, "total": 10, "unit": "B", "rate": 2.5, "seconds_left": 2}
        assert Job.objects.get(pk=step.job.pk).result == {"timeline": 2, "lag_bytes": 0}

    def it_waits_when_lines_come_faster_than_they_are_stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal_module, "PENDING_MAX", 10)
        with opened() as journal:
            for n in range(200):
                journal.add(Level.OUTPUT, f"{n}")
                assert len(journal._pending.lines) <= 11
        assert texts(journal) == [f"{n}" for n in range(200)]


class TestLease:
    def it_may_write_and_act_only_while_it_holds(self) -> None:
        job = JobFactory(status=Status.QUEUED)
        with opened(job) as journal:
            journal.commit([(Level.INFO, "one", None)])
            lease_end(job)
            other = claim(job.pk)
            assert other is not None
            assert other.token > journal.token
            with pytest.raises(LeaseLost):
                journal.commit([(Level.INFO, "two", None)])
            for forbidden in (journal.check, journal.flush, lambda: journal.add(Level.INFO, "three"), lambda: journal.commit([])):
                with pytest.raises(LeaseLost):
                    forbidden()
            journal._closed = True
        assert texts(journal) == ["one"]

    def it_cannot_be_proven_once_its_time_is_over_though_nobody_took_it(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.JOB_LEASE_SECONDS = 0.3
        with opened() as journal:
            monkeypatch.setattr(ledger.Ledger, "store", lambda self, batch: False)  # the database does not answer
            wait_until(lambda: clock() > journal._ledger.until, "the time is over")
            with pytest.raises(LeaseLost, match="could not be renewed in time"):
                journal.check()

    def it_is_renewed_while_nothing_is_said(self, settings: LazySettings) -> None:
        settings.JOB_LEASE_SECONDS = 0.5
        with opened() as journal:
            end = time.monotonic() + 1.2
            while time.monotonic() < end:
                journal.check()
                assert claim(journal.job_id) is None

    def it_is_over_with_the_last_commit(self) -> None:
        with opened() as journal:
            journal.commit([(Level.STEP, "end", None)], job={"status": Status.DONE, "lease_until": None}, last=True)
            with pytest.raises(LeaseLost):
                journal.commit([(Level.STEP, "more", None)])
        assert texts(journal) == ["end"]

    def it_commits_what_belongs_together_or_nothing(self) -> None:
        step = StepFactory(job=JobFactory(status=Status.QUEUED))

        def broken() -> None:
            raise ZeroDivisionError

        with opened(step.job) as journal:
            with pytest.raises(ZeroDivisionError):
                journal.commit([(Level.STEP, "end", 1)], steps={step.pk: {"status": StepStatus.DONE}}, job={"summary": "x"}, also=broken)
            step.refresh_from_db()
            assert (step.status, texts(journal), Job.objects.get(pk=step.job.pk).summary) == (StepStatus.PENDING, [], "")

    def it_lets_the_database_decide_between_a_cancel_and_a_crossing(self) -> None:
        with opened() as journal:
            journal.commit([(Level.STEP, "crossed", 1)], unless_canceled=True)
            Job.objects.filter(pk=journal.job_id).update(cancel_requested_at=timezone.now())
            with pytest.raises(Canceled):
                journal.commit([(Level.STEP, "crossed again", 1)], unless_canceled=True)
            journal.commit([(Level.STEP, "on", 1)])
        assert texts(journal) == ["crossed", "on"]

    def it_hears_of_a_cancel_soon_or_at_once(self) -> None:
        with opened() as journal:
            assert not journal.cancel_requested(fresh=True)
            Job.objects.filter(pk=journal.job_id).update(cancel_requested_at=timezone.now())
            assert not journal.cancel_requested()
            wait_until(journal.cancel_requested, "it hears of it", seconds=5)

    def it_raises_a_cancel_only_where_the_step_says_so_and_it_can_be_undone(self) -> None:
        step = StepFactory(job=JobFactory(status=Status.QUEUED))
        with opened(step.job) as journal:
            Job.objects.filter(pk=journal.job_id).update(cancel_requested_at=timezone.now())
            assert journal.cancel_requested(fresh=True)
            forward, undoing = Context(step.job, journal, step, cancelable=True), Context(step.job, journal, step, undoing=True)
            forward.check()
            undoing.check_cancel()
            undoing.pause(0.01)
            with pytest.raises(Canceled):
                forward.pause(10)
            assert forward.fence("/srv/orders").token == journal.token


class TestDatabase:
    """When the panel's database does not answer."""

    @staticmethod
    def failing(monkeypatch: pytest.MonkeyPatch, times: int, where: str, error: Callable[[], Exception]) -> list[int]:
        original, calls = getattr(ledger.Ledger, where), [0]

        def then_fail(self: ledger.Ledger, batch: Any) -> Any:
            result = original(self, batch)
            if batch and calls[0] < times:
                calls[0] += 1
                raise error()
            return result

        monkeypatch.setattr(ledger.Ledger, where, then_fail)
        return calls

    def it_tries_again_while_the_lease_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.failing(monkeypatch, 2, "_insert", lambda: OperationalError("restarting"))
        with opened() as journal:
            journal.add(Level.INFO, "one")
            journal.commit([(Level.STEP, "two", 1)])
        assert calls == [2]
        assert texts(journal) == ["one", "two"]

    def it_stores_nothing_twice_when_the_connection_broke_after_the_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = self.failing(monkeypatch, 2, "_transact", lambda: OperationalError("server closed the connection"))
        with opened() as journal:
            journal.add(Level.INFO, "one")
            journal.flush()
            journal.commit([(Level.STEP, "two", 1)], job={"summary": "x"})
            journal.commit([(Level.STEP, "three", 1)])
        assert calls == [2]
        assert texts(journal) == ["one", "two", "three"]

    def it_knows_that_the_last_commit_was_stored_though_the_answer_was_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[int] = []
        self.failing(monkeypatch, 1, "_transact", lambda: OperationalError("server closed the connection"))
        with opened() as journal:
            ending = {"status": Status.DONE, "lease_until": None}
            journal.commit([(Level.STEP, "end", None)], job=ending, also=lambda: closed.append(1), last=True)
        assert (texts(journal), closed) == (["end"], [1])

    def it_gives_up_when_the_lease_runs_out_meanwhile(self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.JOB_LEASE_SECONDS = 0.5
        self.failing(monkeypatch, 1000, "_insert", lambda: OperationalError("down"))
        with opened() as journal:
            with pytest.raises(LeaseLost):
                journal.commit([(Level.INFO, "one", None)])
            assert texts(journal) == []

    def it_stops_when_a_line_cannot_be_stored_at_all(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.failing(monkeypatch, 1, "_insert", lambda: DataError("odd"))
        with opened() as journal:
            with pytest.raises(LeaseLost, match="DataError"):
                journal.commit([(Level.INFO, "one", None)])
            journal._closed = True
        assert "could not be stored" in caplog.text
