"""How the monitor goes round: through an outage of the panel's database, beside a broker or a server that hangs, until it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from clusters.postgres.sampling import Sampled, Sender
from tasks.watching import store
from tasks.watching.look import Look, Target
from tasks.watching.minute import Minute
from tasks.watching.monitor import Rounds
from tasks.watching.reach import Door, Way
from tests.unit.tasks.test_watching import PRIMARY, STANDBY, known
from tests.waiting import wait_until
from tests.watching import watching

INTERVAL = 0.05


def member(number: int, upstream: int | None = None) -> Target:
    return Target(number, 1, f"node{number}", number, "10.0.0.1", 5432, "7", upstream)


class Database:
    """What the monitor reads and writes of the panel's database. While `silent` each attempt fails, and is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *targets: Target) -> None:
        self.targets, self.changed = list(targets), dict[int, datetime]()
        self.silent, self.lost, self.shift, self.attempts, self.renewed = False, False, 0.0, 0, 0
        self.states, self.minutes, self.log = list[store.State](), list[Minute](), list[str]()
        for name in ("lease_take", "lease_renew", "lease_give_back", "targets_read", "clock", "states_write", "minute_write"):
            monkeypatch.setattr(store, name, self._answers(getattr(self, name)))
        monkeypatch.setattr(store, "hours_write", lambda _interval: 0)
        monkeypatch.setattr(store, "prune", lambda: 0)
        for name in ("rates_write", "rooms_write"):
            monkeypatch.setattr(store, name, self._answers(lambda *_args: None))
        monkeypatch.setattr("tasks.watching.disk.places_read", dict)
        monkeypatch.setattr("tasks.watching.monitor.STORE_SECONDS", 0.01)
        monkeypatch.setattr("tasks.watching.monitor.VERIFY_SECONDS", 0.01)

    def _answers(self, act: Any) -> Any:
        def answer(*args: Any) -> Any:
            self.attempts += 1
            if self.silent:
                raise OperationalError("the panel's database is gone")
            return act(*args)

        return answer

    def lease_take(self, _seconds: float) -> int | None:
        return None if self.lost else 1

    def lease_renew(self, *_args: Any) -> None:
        if self.lost:
            raise store.LeaseLost
        self.renewed += 1

    def lease_give_back(self, _token: int) -> None:
        self.log.append("given back")

    def targets_read(self) -> list[Target]:
        return list(self.targets)

    def clock(self) -> float:
        return time.time() + self.shift

    def states_write(self, _token: int, states: list[store.State]) -> dict[int, datetime]:
        self.states += states
        changed, self.changed = self.changed, {}
        return changed

    def minute_write(self, _token: int, minute: Minute) -> None:
        self.minutes.append(minute)
        self.log.append("minute")


def answering(monkeypatch: pytest.MonkeyPatch, database: Database, sampled: Sampled = PRIMARY) -> None:
    """Every instance does, at once."""

    class Answering:
        def __init__(self, target: Target, *_args: Any) -> None:
            self.target = target

        async def look(self) -> Look:
            return Look(self.target, sampled)

        def close(self) -> None:
            database.log.append("closed")

    monkeypatch.setattr("tasks.watching.monitor.Watcher", Answering)


def wait_more(what: str, database: Database, by: int = 10) -> None:
    count = database.attempts
    wait_until(lambda: database.attempts > count + by, what)


def it_keeps_what_it_hears_while_the_panels_database_is_silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database, ready = Database(monkeypatch, member(1), member(2)), tmp_path / "alive"
    answering(monkeypatch, database)
    with watching(Rounds(INTERVAL, ready)) as rounds:
        wait_until(lambda: {state.instance_id for state in database.states} == {1, 2} and ready.exists(), "both are on record")
        database.silent = True
        wait_more("it is tried in vain", database)
        ready.unlink()
        before = len(database.states)
        wait_more("it is tried again and again", database)
        assert not ready.exists()  # who looks whether it works is told that it does not
        assert sorted(rounds._heard) == [1, 2]
        assert len(database.states) == before
        database.shift, database.silent = 60.0, False
        wait_until(lambda: bool(database.minutes) and ready.exists(), "the minute is written")
        assert len(database.states) >= before + 2
        assert all(0.0 <= state.age < 5.0 for state in database.states)
    assert not rounds._heard
    assert set(database.minutes[0].points) == {1, 2}


def it_waits_while_the_panels_database_is_silent_from_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database, ready = Database(monkeypatch), tmp_path / "alive"
    database.silent = True
    with watching(Rounds(INTERVAL, ready)):
        wait_more("it is tried in vain", database, 2)
        assert not ready.exists()
        database.silent, database.lost = False, True
        wait_until(ready.exists, "another one holds the lease: this one lives, and waits")


def it_keeps_its_lease_while_a_broker_hangs_and_asks_until_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    database, hanging, asked = Database(monkeypatch, member(1)), threading.Event(), list[Mapping[int, datetime]]()
    answering(monkeypatch, database)
    database.changed = {1: timezone.now()}

    def verify(changed: Mapping[int, datetime]) -> set[int]:
        asked.append(changed)
        if len(asked) == 1:
            hanging.wait(30)
            raise ConnectionError("the broker is gone")
        return set() if len(asked) == 2 else {1}

    monkeypatch.setattr("tasks.watching.monitor.verify_changed", verify)
    with watching(Rounds(INTERVAL)) as rounds:
        wait_until(lambda: bool(asked), "a closer look is asked for")
        count = database.renewed
        wait_until(lambda: database.renewed > count + 3, "the lease is renewed meanwhile")
        assert len(asked) == 1
        hanging.set()
        wait_until(lambda: not rounds._changed, "it is asked for until there is one")
        assert [list(changed) for changed in asked] == [[1], [1], [1]]


def it_ends_at_once_whoever_hangs_and_writes_the_minute_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    database, stuck, free = Database(monkeypatch, member(1), member(2)), threading.Event(), threading.Event()

    def hanging(_door: Door) -> Way:
        stuck.set()
        free.wait(30)
        raise AssertionError("nobody waits for it")

    monkeypatch.setattr("tasks.watching.threads.door_of", known)
    monkeypatch.setattr("tasks.watching.threads.way_through", hanging)
    with watching(Rounds(INTERVAL)) as rounds:
        wait_until(stuck.is_set, "a server hangs")
        rounds._hear(Look(member(1), PRIMARY))
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    free.set()
    assert database.log == ["minute", "given back"]
    assert list(database.minutes[0].points) == [1]


def it_gives_the_lease_back_before_it_ends_what_it_holds_open(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(monkeypatch, member(1))
    answering(monkeypatch, database)
    with watching(Rounds(INTERVAL)):
        wait_until(lambda: bool(database.states), "it watches")
    assert database.log == ["minute", "given back", "closed"]


def it_stops_watching_what_is_removed_and_all_when_another_monitor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(monkeypatch, member(1), member(2))
    answering(monkeypatch, database)
    with watching(Rounds(INTERVAL)) as rounds:
        wait_until(lambda: len(rounds._watchers) == 2, "both are watched")
        database.targets = [member(1)]
        wait_until(lambda: len(rounds._watchers) == 1 and database.log == ["closed"], "the other is not any more")
        database.lost = True
        wait_until(lambda: not rounds._watchers, "nobody is")
        database.lost = False
        wait_until(lambda: len(rounds._watchers) == 1, "its turn has come again")


def it_takes_each_standbys_state_from_its_declared_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(INTERVAL)
    sending = replace(PRIMARY, senders=(Sender("node2", "streaming", "sync", 10),))
    cascading = replace(
        STANDBY, position=4700, senders=(Sender("node3", "streaming", "async", 20), Sender("node4", "streaming", "async", 30))
    )
    receiving = replace(STANDBY, replayed=4600)
    rounds._hear(Look(member(1), sending))
    rounds._hear(Look(member(2, upstream=1), cascading))
    for number, upstream in ((3, 2), (4, 1), (5, None)):
        rounds._hear(Look(member(number, upstream), receiving))
    found = {pk: (state.stream, state.sync_state, state.lag_bytes) for pk, state in rounds._heard.items()}
    assert found == {
        1: (None, None, None),
        2: ("streaming", "sync", 10),
        3: ("streaming", "async", 20),
        4: ("", "", 400),  # declared to follow node1, which sends it nothing, whoever else does
        5: (None, None, None),
    }
    rounds._hear(Look(member(2, upstream=1), error="gone"))
    rounds._hear(Look(member(3, upstream=2), receiving))
    assert (rounds._heard[3].stream, rounds._heard[3].lag_bytes) == (None, None)  # nobody who knows was heard
