"""When a silence is in force, what it covers, and which ones are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.alerting.silences import covers, is_past, silenced_until, silences_read, until, window
from tasks.models import Alert, Silence
from tests.factories import SilenceFactory

BEGIN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # a Monday
END = BEGIN + timedelta(hours=2)
WEEK, MINUTE = timedelta(days=7), timedelta(minutes=1)


def silence(*, weekly: bool = False, cluster: int | None = None, condition: str = "") -> Silence:
    return Silence(cluster_id=cluster, condition=condition, starts_at=BEGIN, ends_at=END, weekly=weekly)


def it_lasts_from_its_begin_until_just_before_its_end() -> None:
    once = silence()
    moments = (BEGIN - MINUTE, BEGIN, END - MINUTE, END, BEGIN + WEEK)
    assert [until(once, now) for now in moments] == [None, END, END, None, None]
    assert [window(once, now) for now in moments] == [(BEGIN, END), (BEGIN, END), (BEGIN, END), None, None]
    assert [is_past(once, now) for now in moments] == [False, False, False, True, True]


def it_comes_back_every_seven_days() -> None:
    weekly = silence(weekly=True)
    moments = (BEGIN - WEEK, BEGIN, END, BEGIN + WEEK, END + 30 * WEEK - MINUTE, END + 30 * WEEK)
    assert [until(weekly, now) for now in moments] == [None, END, None, END + WEEK, END + 30 * WEEK, None]
    assert [window(weekly, now) for now in moments] == [
        (begin, begin + timedelta(hours=2)) for begin in (BEGIN, BEGIN, BEGIN + WEEK, BEGIN + WEEK, BEGIN + 30 * WEEK, BEGIN + 31 * WEEK)
    ]
    assert not any(is_past(weekly, now) for now in moments)


@pytest.mark.parametrize(
    ("made", "covered"),
    [
        (silence(), True),
        (silence(cluster=1), True),
        (silence(cluster=2), False),
        (silence(condition="lag_bytes"), True),
        (silence(condition="standby_down"), False),
        (silence(cluster=1, condition="lag_bytes"), True),
        (silence(cluster=2, condition="lag_bytes"), False),
    ],
)
def it_covers_what_it_was_made_for(made: Silence, covered: bool) -> None:
    assert covers(made, Alert(condition="lag_bytes", cluster_id=1)) == covered


def it_covers_the_panels_own_alerts_only_when_it_is_of_all_clusters() -> None:
    alert = Alert(condition="monitor_dead")
    assert covers(silence(), alert)
    assert not covers(silence(cluster=1), alert)


def it_is_quiet_until_the_last_of_those_that_cover_it_ends() -> None:
    alert = Alert(condition="lag_bytes", cluster_id=1)
    longer = silence(cluster=1)
    longer.ends_at = END + WEEK
    assert silenced_until(alert, [silence(), longer, silence(cluster=2)], BEGIN) == END + WEEK
    assert silenced_until(alert, [silence(), longer, silence(cluster=2)], END + WEEK) is None
    assert silenced_until(alert, [silence(cluster=2)], BEGIN) is None


@pytest.mark.django_db
def it_reads_those_in_force_and_to_come_and_not_the_past() -> None:
    now, hour = BEGIN + WEEK, timedelta(hours=1)
    for reason, begin, end, weekly in (
        ("past", now - 2 * hour, now, False),
        ("later", now + 3 * hour, now + 4 * hour, False),
        ("weekly", BEGIN - WEEK, END - WEEK, True),
        ("now", now - hour, now + hour, False),
    ):
        SilenceFactory(starts_at=begin, ends_at=end, weekly=weekly, reason=reason)
    assert sorted(row.reason for row in silences_read(now)) == ["later", "now", "weekly"]
