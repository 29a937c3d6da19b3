"""The process that tells people: it judges and sends in time, and goes on whatever fails."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pytest
from django.db import OperationalError
from django.utils import timezone

from tasks.alerting import alerter
from tasks.alerting.alerter import Alerter
from tasks.models import Alert, Pulse
from tasks.pulses import Part, lives, pulse_felt, silent_since
from tasks.tasks import sweep
from tests.factories import ClusterFactory

pytestmark = pytest.mark.django_db


class Notes:
    """Who was called; `fails`: how often each call fails first."""

    def __init__(self) -> None:
        self.judged: list[bool] = []
        self.patient: list[bool] = []
        self.steps = 0
        self.fails: list[Exception] = []

    def evaluate(self, *, everything: bool, patient: bool) -> None:
        self.judged.append(everything)
        self.patient.append(patient)
        if self.fails:
            raise self.fails.pop(0)

    def step(self) -> int:
        self.steps += 1
        return 0


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    here = Notes()
    monkeypatch.setattr(alerter, "evaluate", here.evaluate)
    monkeypatch.setattr(alerter.Sender, "step", lambda _self: here.step())
    monkeypatch.setattr(alerter.connection, "close", lambda: None)  # a test's transaction is to stay
    return here


def turns(part: Alerter, seconds: int) -> None:
    for second in range(seconds):
        part.turn(1000.0 + second)


def test_it_judges_every_five_seconds_everything_every_thirty_and_looks_each_second_for_what_is_to_be_sent(notes: Notes) -> None:
    turns(Alerter(), 41)
    assert notes.judged == [True, False, False, False, False, False, True, False, False]
    assert notes.steps == 41


@pytest.mark.parametrize("error", [OperationalError("server closed the connection"), ValueError("ours")])
def test_what_fails_is_said_and_tried_again_and_keeps_nothing_from_being_sent(
    notes: Notes, error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready = tmp_path / "ready"
    notes.fails = [error]
    part = Alerter(ready)
    turns(part, 5)
    assert str(error) in caplog.text
    assert not ready.exists()
    assert notes.steps == 5
    part.turn(1005.0)
    assert notes.judged == [True, True], "everything was not judged yet"
    assert ready.exists()


def test_it_is_patient_after_its_start_and_after_the_database_was_away(notes: Notes) -> None:
    part = Alerter()
    turns(part, 101)
    assert notes.patient == [True] * 18 + [False] * 3
    notes.fails = [OperationalError("gone")]
    part.turn(1105.0)
    part.turn(1110.0)
    assert notes.patient[-2:] == [False, True]


def test_nothing_new_is_said_of_parts_that_may_be_starting() -> None:
    ClusterFactory()
    pulse_felt(Part.WORKERS)
    Pulse.objects.update(at=timezone.now() - dt.timedelta(hours=8))
    alerter.evaluate(everything=False, patient=True)
    assert not Alert.objects.exists()
    alerter.evaluate(everything=False, patient=False)
    assert set(Alert.objects.values_list("condition", flat=True)) == {"monitor_dead", "workers_silent"}
    alerter.evaluate(everything=False, patient=True)
    assert Alert.objects.filter(ended_at=None).count() == 2, "what is known already stays"


def test_it_ends_when_it_is_told_to(notes: Notes) -> None:
    stop = threading.Event()
    stop.set()
    Alerter().run(stop)
    assert notes.judged == []


def test_an_evaluation_is_put_down_by_the_clock_of_the_database(db: None) -> None:
    assert not lives(Part.ALERTER)
    alerter.evaluate(everything=False)
    assert lives(Part.ALERTER)


# -- workers


def told() -> list[tuple[str, str]]:
    alerter.evaluate(everything=False)
    return list(Alert.objects.filter(condition="workers_silent", ended_at=None).values_list("condition", "sentence"))


def test_workers_that_take_up_nothing_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    ClusterFactory()
    assert told() == [], "a panel that starts"
    monkeypatch.setattr("tasks.delivery.sweep", lambda: None)
    sweep()
    assert lives(Part.WORKERS)
    assert told() == []
    since = timezone.now() - dt.timedelta(seconds=31)
    Pulse.objects.filter(part=Part.WORKERS).update(at=since)
    assert silent_since(Part.WORKERS) == since
    ((_condition, sentence),) = told()
    assert f"{since:%H:%M:%S}" in sentence
    alert = Alert.objects.get(condition="workers_silent")
    assert (alert.raised_at, alert.severity) == (None, "critical")
    sweep()
    assert told() == [], "what goes away before it was raised leaves nothing"


def test_a_pulse_is_one_row(db: None) -> None:
    pulse_felt(Part.WORKERS)
    pulse_felt(Part.WORKERS)
    assert Pulse.objects.count() == 1
