"""What is put down to be sent: each alert once to each channel that wants it, reminders, ends; and what silences hold back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from clusters.models import Cluster
from tasks.alerting.outbox import put_down
from tasks.alerting.silences import is_past, silenced_until, until
from tasks.models import Alert, AlertChannel, Notification, Silence
from tests.factories import AlertFactory, ChannelFactory, ClusterFactory, SilenceFactory

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)


def waiting() -> list[tuple[str, str]]:
    """(channel, what of it) of all that was put down, in order."""
    return list(Notification.objects.order_by("pk").values_list("channel__name", "event"))


def down(ended: list[Alert] | None = None, *, after: dt.timedelta = dt.timedelta(0)) -> list[tuple[str, str]]:
    put_down(ended or [], timezone.now() + after)
    return waiting()


def test_an_alert_is_told_once_to_each_channel_that_wants_it() -> None:
    other: Cluster = ClusterFactory()
    ChannelFactory(name="all")
    ChannelFactory(name="critical", least="critical")
    ChannelFactory(name="other", clusters=[other.name])
    ChannelFactory(name="off", enabled=False)
    AlertFactory()
    AlertFactory(raised_at=None)
    assert down() == [("all", "begin")]
    assert down() == [("all", "begin")]
    AlertFactory(cluster=other, severity="critical")
    assert down()[1:] == [("all", "begin"), ("critical", "begin"), ("other", "begin")]


def test_a_channel_of_a_cluster_that_is_removed_is_not_for_all_of_them() -> None:
    gone: Cluster = ClusterFactory()
    ChannelFactory(name="one", clusters=[gone.name])
    ended = AlertFactory(cluster=gone, cluster_name=gone.name)
    assert down() == [("one", "begin")]
    gone.delete()
    AlertFactory()
    ended.refresh_from_db()
    assert down([ended]) == [("one", "begin"), ("one", "end")]


def test_what_was_given_up_is_told_again_while_it_is_still_so() -> None:
    ChannelFactory(name="one", remind_minutes=0)
    AlertFactory()
    assert down() == [("one", "begin")]
    Notification.objects.update(given_up_at=timezone.now())
    assert down() == [("one", "begin"), ("one", "reminder")]
    assert down() == [("one", "begin"), ("one", "reminder")]


def test_what_is_wrong_with_the_panel_concerns_every_channel() -> None:
    ChannelFactory(name="one", clusters=[ClusterFactory().name])
    AlertFactory(condition="monitor_dead", cluster=None, severity="critical", instance_name="", subject="")
    assert down() == [("one", "begin")]


def test_reminders_come_after_the_last_word_and_never_two_at_once() -> None:
    ChannelFactory(name="hourly", remind_minutes=60)
    ChannelFactory(name="never", remind_minutes=0)
    AlertFactory()
    begun = [("hourly", "begin"), ("never", "begin")]
    assert down() == begun
    assert down(after=2 * HOUR) == begun, "the first word still waits to be sent"
    Notification.objects.update(sent_at=timezone.now())
    assert down(after=dt.timedelta(minutes=59)) == begun
    assert down(after=HOUR) == [*begun, ("hourly", "reminder")]
    assert down(after=HOUR) == [*begun, ("hourly", "reminder")]


def test_the_end_is_told_to_whom_the_begin_was_told_and_to_nobody_else() -> None:
    ChannelFactory(name="first")
    alert = AlertFactory()
    down()
    ChannelFactory(name="second")
    Alert.objects.update(ended_at=timezone.now())
    SilenceFactory()
    assert down([alert]) == [("first", "begin"), ("first", "end")]
    assert down([alert]) == [("first", "begin"), ("first", "end")]


def test_a_silence_holds_back_and_what_is_left_is_told_after_it() -> None:
    ChannelFactory(name="all")
    alert = AlertFactory()
    silence: Silence = SilenceFactory(cluster=alert.cluster, condition="standby_down")
    assert down() == []
    assert down(after=2 * HOUR) == [("all", "begin")]
    silence.condition = "lag_bytes"
    assert silenced_until(alert, [silence], timezone.now()) is None
    silence.condition, silence.cluster = "", ClusterFactory()
    assert silenced_until(alert, [silence], timezone.now()) is None


def test_a_weekly_window_comes_again() -> None:
    start = dt.datetime(2026, 3, 7, 22, tzinfo=dt.UTC)
    window = Silence(starts_at=start, ends_at=start + 2 * HOUR, weekly=True)
    assert until(window, start - HOUR) is None
    assert until(window, start) == start + 2 * HOUR
    assert until(window, start + 2 * HOUR) is None
    assert until(window, start + dt.timedelta(days=21, hours=1)) == start + dt.timedelta(days=21, hours=2)
    assert until(window, start + dt.timedelta(days=20)) is None
    assert not is_past(window, start + dt.timedelta(days=400))
    window.weekly = False
    assert is_past(window, start + 2 * HOUR)


def test_the_number_of_queries_is_the_same_for_many(django_assert_max_num_queries: Any) -> None:
    for _number in range(3):
        ChannelFactory()
        AlertFactory()
    with django_assert_max_num_queries(7):
        down()
    assert AlertChannel.objects.count() * Alert.objects.count() == len(waiting())
