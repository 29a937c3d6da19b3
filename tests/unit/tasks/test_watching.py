"""What the monitor makes of what it hears, and the rows it keeps."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone
from psycopg_pool import PoolTimeout

from clusters.hosts.errors import HostError
from clusters.hosts.machine import Disk
from clusters.models import FineSample, Instance, InstanceState, Sample
from clusters.postgres.facts import Unreadable
from clusters.postgres.layout import Layout
from clusters.postgres.sampling import Sampled, Sender, SlotUse
from clusters.secrets import Secret
from tasks.members import members_of
from tasks.watching import store
from tasks.watching.disk import Disks, Room, Where, places_read, rooms_in
from tasks.watching.look import Following, Look, Target, following, wal_rate
from tasks.watching.minute import Minute, Point
from tasks.watching.reach import Door, Way
from tasks.watching.threads import Attempts
from tasks.watching.watcher import Watcher
from tests.factories import InstanceFactory, PairFactory, cluster_with_standbys
from tests.waiting import wait_until

PRIMARY = Sampled(False, "7", 0.0, 1, 3, 100, position=5000)
STANDBY = Sampled(True, "7", 0.0, 1, 1, 100, position=4800, replayed=4000, replay_age_seconds=2.5, receiver="streaming")


def target(name: str, instance_id: int = 1, cluster_id: int = 1) -> Target:
    return Target(instance_id, cluster_id, name, 1, "10.0.0.1", 5432)


def it_reads_back_what_it_stores() -> None:
    slots = (SlotUse("pgr_a", active=True, wal_status="reserved", safe_bytes=None, retained_bytes=16),)
    full = replace(PRIMARY, senders=(Sender("node2", "streaming", "async", 10, None),), slots=slots)
    assert Sampled.from_text(json.dumps(full.as_json())) == full
    assert Sampled.from_text(json.dumps({**full.as_json(), "more": 1e300})) == full  # what was not asked for is left out
    assert full.retained_bytes == 16


@pytest.mark.parametrize("change", [
    {"in_recovery": "no"}, {"senders": {}}, {"slots": [{"name": 1, "active": True}]}, {"timeline": True},
    {"connections": -1}, {"connections": 2**31}, {"position": 2**62}, {"position": -(2**63)}, {"replay_age_seconds": 1e999},
    {"receiver": "\ud800"}, {"receiver": "a\0b"}, {"receiver": "x" * 65},
    {"senders": [{"name": "node2", "state": "x" * 21, "sync_state": "async"}]},
    {"senders": [{"name": "node2", "state": "streaming", "sync_state": "?"}]},
])  # fmt: skip
def it_does_not_believe_what_has_another_shape(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        Sampled.from_text(json.dumps({**PRIMARY.as_json(), **change}))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "{}", f'{{"a": "{"x" * 70_000}"}}', "[" * 60_000])
def it_takes_nothing_that_the_panels_database_could_not_store(text: str) -> None:
    with pytest.raises(Unreadable):
        Sampled.from_text(text)


def told(*senders: Sender, **more: Any) -> Look:
    return Look(target("node1"), replace(PRIMARY, senders=senders, **more))


def it_takes_the_lag_from_the_upstream_that_knows_both_sides() -> None:
    look = Look(target("node2"), STANDBY)
    assert following(look, told(Sender("node2", "streaming", "async", 700, 0.1))) == Following(700, 2.5, "streaming", "async")
    assert following(look, told(Sender("node2", "streaming", "async", 0, None))) == Following(0, 0.0, "streaming", "async")


def it_tells_the_standbys_own_connection_from_others_of_its_name() -> None:
    gone, now = Sender("node2", "streaming", "async", 9000), Sender("node2", "catchup", "sync", 5)
    others = (Sender("node2", "backup", "async"), Sender("node2", "startup", "async"), Sender("node3", "streaming", "async", 1))
    assert following(Look(target("node2"), STANDBY), told(gone, *others, now)) == Following(5, 2.5, "catchup", "sync")


def it_compares_positions_where_the_upstream_sends_it_nothing() -> None:
    look = Look(target("node2"), STANDBY)
    assert following(look, told()) == Following(1000, 2.5, "", "")
    assert following(look, told(timeline=2)) == Following(None, 2.5, "", "")  # positions of two branches say nothing


def it_says_nothing_of_the_state_where_the_upstream_was_not_heard() -> None:
    look = Look(target("node2"), STANDBY)
    assert following(look, Look(target("node1"), error="gone")) == Following(None, 2.5)
    assert following(look, None) == Following(None, 2.5)
    assert following(Look(target("node1"), PRIMARY), None) == Following()
    assert following(Look(target("node2"), error="gone"), told()) == Following()


def it_measures_the_wal_between_two_looks() -> None:
    before, now = Look(target("a"), PRIMARY, at=10.0), Look(target("a"), replace(PRIMARY, position=6000), at=15.0)
    assert wal_rate(before, now) == 200.0
    assert wal_rate(None, now) is None
    assert wal_rate(now, replace(before, at=20.0)) is None  # rewound
    assert wal_rate(before, Look(target("a"), STANDBY, at=15.0)) is None


# -- asking


def asked(monkeypatch: pytest.MonkeyPatch, door: Callable[[Any], Any], way: Callable[[Any], Any] | None = None) -> Look | None:
    """One look through `door` and `way`."""
    monkeypatch.setattr("tasks.watching.threads.door_of", door)
    monkeypatch.setattr("tasks.watching.threads.way_through", way)

    async def look() -> Look | None:
        return await Watcher(target("node1"), Attempts(), 5.0).look()

    return asyncio.run(look())


def failing(error: Exception, after: float = 0.0) -> Callable[[Any], Any]:
    def act(_what: Any) -> Any:
        time.sleep(after)
        raise error

    return act


def known(_instance_id: int) -> Door:
    return Door(cast("Any", None), "127.0.0.1", 1, "panel", Secret("x"))


@pytest.mark.parametrize("error", [OperationalError("the panel's database is gone"), PoolTimeout("couldn't get a connection")])
def it_says_nothing_of_an_instance_while_the_panels_own_database_is_silent(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.watching.watcher.CONNECT_SECONDS", 0.05)
    assert asked(monkeypatch, failing(error, after=0.3)) is None


def it_tells_why_a_server_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    look = asked(monkeypatch, known, failing(HostError("%(name)s does not answer.\n", name="alpha")))
    assert look is not None
    assert (look.role, look.error) == ("unreachable", "alpha does not answer.")


def it_gives_back_a_way_that_was_found_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.watching.watcher.CONNECT_SECONDS", 0.05)
    held, closed = ExitStack(), list[bool]()
    held.callback(closed.append, True)

    def slow(_door: Door) -> Way:
        time.sleep(0.3)
        return Way("127.0.0.1", 1, held)

    look = asked(monkeypatch, known, slow)
    assert look is not None
    assert look.error == "no answer in time"
    wait_until(lambda: closed == [True], "it is given back")


def it_tries_a_server_that_hangs_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.watching.watcher.CONNECT_SECONDS", 0.05)
    monkeypatch.setattr("tasks.watching.threads.door_of", known)
    tried, free, answers = list[int](), threading.Event(), threading.Event()

    def hanging(_door: Door) -> Way:
        tried.append(1)
        (answers if len(tried) > 1 else free).wait(10)
        raise HostError("it is back, and says no")

    monkeypatch.setattr("tasks.watching.threads.way_through", hanging)

    async def looks() -> list[str]:
        attempts = Attempts()
        ours = [Watcher(target(name), attempts, 5.0) for name in ("node1", "node2")]
        other = Watcher(replace(target("node3"), server_id=2), attempts, 5.0)
        answers.set()
        first = await asyncio.gather(*(watcher.look() for watcher in ours))
        assert len(tried) == 1  # the second waits for the first one's attempt, which nobody can end
        elsewhere = await other.look()
        free.set()
        while attempts._servers[1].locked():
            await asyncio.sleep(0)
        last = await ours[1].look()
        return [look.error for look in (*first, elsewhere, last) if look]

    silent, refused = "no answer in time", "it is back, and says no"
    assert asyncio.run(looks()) == [silent, silent, refused, refused]


def it_tells_of_an_instance_that_hangs_within_two_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.watching.watcher.CONNECT_SECONDS", 0.1)
    monkeypatch.setattr("tasks.watching.threads.door_of", known)
    with socket.create_server(("127.0.0.1", 0)) as hung:  # it takes the connection, and never says anything
        port = hung.getsockname()[1]
        monkeypatch.setattr("tasks.watching.threads.way_through", lambda _door: Way("127.0.0.1", port, ExitStack()))

        async def looks() -> list[Look | None]:
            watcher = Watcher(target("node1"), Attempts(), 5.0)
            return [await watcher.look() for _moment in range(3)]

        began = time.monotonic()
        first, second, third = asyncio.run(looks())
    assert time.monotonic() - began < 2.0
    assert first is not None
    assert second is not None
    assert (first.error, second.error) == ("no answer in time", "no answer in time")
    assert third is None  # two have told; the third waits


def it_takes_no_answer_of_another_cluster() -> None:
    watcher = Watcher(replace(target("node1"), system_identifier="8"), Attempts(), 5.0)
    look = watcher._read(json.dumps(PRIMARY.as_json()))
    assert (look.role, look.error) == ("unreachable", "another cluster answers there, with the system identifier 7")
    same = Watcher(replace(target("node1"), system_identifier="7"), Attempts(), 5.0)
    assert same._read(json.dumps(PRIMARY.as_json())).sampled == PRIMARY


class Machine:
    """Only its disks: each path that names a number has that room; it hangs until it may go on."""

    def __init__(self, free: threading.Event | None = None) -> None:
        self.free = free

    def disks(self, paths: list[str]) -> list[Disk]:
        if self.free is not None:
            assert self.free.wait(10)
            raise HostError("it does not answer")
        return [Disk(path, "/", 1000, int(path.rpartition("/")[2])) for path in paths]


def it_asks_each_server_for_its_disks_and_a_hung_one_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, heard, asked_of = threading.Event(), dict[int, int](), list[int]()
    hung, well = (cast("Any", Machine(event)) for event in (go_on, None))
    places: dict[int, list[Where] | HostError] = {
        1: [Where(hung, {10: "/srv/7"})],
        2: [Where(well, {20: "/srv/7", 21: "/srv/7"}), Where(well, {22: "/srv/8"})],
        3: HostError("the panel has no SSH key for it"),
    }

    def asked(found: Any) -> list[Room]:
        asked_of.append(next(server for server, known in places.items() if known is found))
        return rooms_in(found)

    reads = [places]

    def read() -> Any:
        if not reads:
            raise OperationalError("the panel's database is gone")  # what was read before does as well
        return reads.pop()

    monkeypatch.setattr("tasks.watching.disk.rooms_in", asked)
    monkeypatch.setattr("tasks.watching.disk.places_read", read)

    async def run() -> None:
        disks = Disks(Attempts(), lambda rooms: heard.update({room.instance_id: room.free_bytes for room in rooms}), every=0.02)
        disks._places = places
        disks.watch({1, 2, 3})
        async with asyncio.timeout(10):
            while asked_of.count(2) < 4:
                await asyncio.sleep(0.01)
            assert asked_of.count(1) == 1  # nobody asks again as long as the first question hangs
            go_on.set()
            while asked_of.count(1) < 3 or asked_of.count(3) < 2:
                await asyncio.sleep(0.01)
        disks.watch(set())

    asyncio.run(run())
    assert heard == {20: 7, 21: 7, 22: 8}
    assert sorted(record.message for record in caplog.records) == [  # once each
        "The disks of server 1 could not be looked at: it does not answer",
        "The disks of server 3 could not be looked at: the panel has no SSH key for it",
    ]


def it_knows_where_the_data_lies(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.watching.disk.connection", Mock())  # which a test may not close
    made = InstanceFactory(server__base_directory="/srv/pg/", server__connection="local")
    place = {field.name: "" for field in fields(Layout)} | {"port": 5432, "hba_mounted": False, "data_directory": "/data"}
    bare = InstanceFactory(server=made.server, layout={**place, "way": "process", "user": "postgres:postgres", "data_source": "/data"})
    boxed = InstanceFactory(server=made.server, layout={**place, "way": "container", "user": "999", "data_source": "/volumes/data"})
    InstanceFactory(server=made.server, layout={**place, "way": "container", "user": "999"})  # its container alone has it
    elsewhere = InstanceFactory()
    found = cast("dict[int, list[Where]]", places_read())
    own, other = sorted(found[made.server_id], key=lambda place: cast("Any", place.machine).run_as)
    assert own.paths == {made.pk: f"/srv/pg/{made.cluster.name}/{made.name}/volumes/postgres/data", boxed.pk: "/volumes/data"}
    assert (cast("Any", other.machine).run_as, other.paths) == ("postgres", {bare.pk: "/data"})
    assert len(found[elsewhere.server_id]) == 1


# -- rows

LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def instance(db: None) -> Instance:
    row: Instance = InstanceFactory(observed_at=LONG_AGO)
    return row


def said(instance: Instance, role: str = "primary", age: float = 0.0, **values: Any) -> store.State:
    sampled = None if role == "unreachable" else {"timeline": 1, **values}
    return store.State(instance.pk, age, role, "refused" if not sampled else "", sampled, 0, 0.0, 1.5)


def token() -> int:
    found = store.lease_take()
    assert found is not None
    return found


def it_keeps_the_last_answer_beside_the_silence(instance: Instance) -> None:
    mine = token()
    store.states_write(mine, [said(instance, age=2.0)])
    first = InstanceState.objects.get()
    assert first.role == "primary"
    assert first.answered_at == first.since == first.tried_at
    assert abs((timezone.now() - first.tried_at).total_seconds() - 2.0) < 60
    for missed in (1, 2):
        store.states_write(mine, [said(instance, "unreachable")])
        silent = InstanceState.objects.get()
        assert (silent.missed, silent.role, silent.error, silent.sampled) == (missed, "unreachable", "refused", {"timeline": 1})
        assert silent.answered_at == first.answered_at
        assert silent.since > first.since
    since = silent.since
    store.states_write(mine, [said(instance, "unreachable")])
    assert InstanceState.objects.get().since == since
    store.states_write(mine, [said(instance)])
    again = InstanceState.objects.get()
    assert (again.missed, again.role, again.error) == (0, "primary", "")


def it_shows_silence_from_the_second_time_on(instance: Instance) -> None:
    mine = token()
    Instance.objects.update(observed_role="primary")
    assert store.states_write(mine, [said(instance, "unreachable")]) == {}
    assert store.states_write(mine, [said(instance, "unreachable")]) == {instance.pk: InstanceState.objects.get().since}
    assert Instance.objects.get().observed_role == "unreachable"
    assert list(store.states_write(mine, [said(instance, "standby")])) == [instance.pk]
    assert Instance.objects.get().observed_role == "standby"


def it_does_not_quarrel_with_jobs_about_what_only_one_of_them_reaches(instance: Instance) -> None:
    mine = token()
    assert store.states_write(mine, [said(instance, in_recovery=False)]) == {}
    for role in ("unreachable", "stopped"):  # what a job says each time, which does not reach it
        Instance.objects.update(observed_role=role)
        assert store.states_write(mine, [said(instance, in_recovery=False)]) == {}
        assert Instance.objects.get().observed_role == "primary"
    for _missed in range(2):
        store.states_write(mine, [said(instance, "unreachable")])
    Instance.objects.update(observed_role="primary", observed_at=timezone.now())  # now a job does, and the monitor does not
    assert store.states_write(mine, [said(instance, "unreachable")]) == {}
    assert Instance.objects.get().observed_role == "primary"


def it_makes_nothing_of_one_question_without_an_answer(instance: Instance) -> None:
    mine = token()
    store.states_write(mine, [said(instance, in_recovery=False)])
    store.states_write(mine, [said(instance, "unreachable")])
    assert store.states_write(mine, [said(instance, in_recovery=False)]) == {}
    store.states_write(mine, [said(instance, "unreachable")])
    assert list(store.states_write(mine, [said(instance, "standby", in_recovery=True)])) == [instance.pk]


def it_loses_nobody_elses_rows_for_one_that_cannot_be_stored(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    mine, others = token(), [InstanceFactory(observed_at=LONG_AGO) for _number in range(4)]
    poisoned = said(instance)._replace(sampled={"name": "a\0b"})
    store.states_write(mine, [said(others[0]), said(others[1]), poisoned, said(others[2]), said(others[3])])
    assert InstanceState.objects.filter(instance__in=others, role="primary").count() == 4
    culprit = InstanceState.objects.get(instance=instance)
    assert (culprit.role, culprit.missed, culprit.error) == ("unreachable", 1, "what it answers cannot be stored")
    assert f"What instance {instance.pk} said cannot be stored" in caplog.text
    points = {row.pk: [Point(1.0, True, 10**30 if row == instance else 7)] for row in (*others, instance)}
    store.minute_write(mine, Minute(29_000_000, points))
    assert set(Sample.objects.values_list("instance", "lag_bytes")) == {(row.pk, 7) for row in others}
    assert f"The minute of instance {instance.pk} cannot be stored" in caplog.text


def it_writes_a_pair_as_its_declared_upstream_tells(db: None) -> None:
    primary, one, two = (InstanceFactory(observed_at=LONG_AGO) for _number in range(3))
    pairs = [PairFactory(upstream=up, standby=down, state="", observed_at=LONG_AGO) for up, down in ((primary, one), (one, two))]
    mine = token()
    of_two = store.State(two.pk, 0.0, "standby", "", {"timeline": 1}, 5, 0.5, 0.0, "streaming", "async", one.pk)
    of_one = of_two._replace(instance_id=one.pk, upstream_id=two.pk, lag_bytes=9)  # by then another upstream is declared
    store.states_write(mine, [said(primary), of_one, of_two])
    for pair in pairs:
        pair.refresh_from_db()
    assert (pairs[1].state, pairs[1].sync_state, pairs[1].lag_bytes, pairs[1].lag_seconds) == ("streaming", "async", 5, 0.5)
    assert (pairs[0].state, pairs[0].observed_at) == ("", LONG_AGO)
    store.states_write(mine, [of_two._replace(stream=None, lag_bytes=None)])  # its upstream was not heard
    pairs[1].refresh_from_db()
    assert (pairs[1].state, pairs[1].lag_bytes) == ("streaming", 5)


def it_leaves_a_jobs_newer_look_alone(instance: Instance) -> None:
    mine, later = token(), timezone.now() + dt.timedelta(minutes=1)
    Instance.objects.update(observed_role="standby", observed_at=later)
    pair = PairFactory(standby=instance, state="catchup", observed_at=later)
    state = said(instance)._replace(stream="streaming", sync_state="async", upstream_id=pair.upstream_id)
    assert store.states_write(mine, [state]) == {}
    pair.refresh_from_db()
    assert (Instance.objects.get(pk=instance.pk).observed_role, pair.state) == ("standby", "catchup")


def it_tells_the_age_of_a_role_apart_from_that_of_all_the_rest(instance: Instance) -> None:
    mine = token()

    def seen() -> tuple[dt.datetime | None, dt.datetime | None]:
        members = members_of([instance.cluster])[instance.cluster_id]
        return members.instances[0].seen_at, members.observed_at

    assert seen() == (LONG_AGO, LONG_AGO)
    store.states_write(mine, [said(instance, age=9.0)])
    answered = InstanceState.objects.get().answered_at
    assert seen() == (answered, LONG_AGO)
    store.states_write(mine, [said(instance, "unreachable", age=5.0)])
    assert seen() == (answered, LONG_AGO)  # one question without an answer changes no role
    store.states_write(mine, [said(instance, "unreachable")])
    assert seen() == (InstanceState.objects.get().tried_at, LONG_AGO)


def it_makes_nothing_of_the_silence_of_what_was_stopped(instance: Instance) -> None:
    mine = token()
    Instance.objects.update(observed_role="stopped")
    for _missed in range(3):
        store.states_write(mine, [said(instance, "unreachable")])
    assert Instance.objects.get().observed_role == "stopped"


def it_forgets_what_was_removed_meanwhile(instance: Instance) -> None:
    mine, other = token(), InstanceFactory()
    gone = said(other)
    other.delete()
    store.states_write(mine, [gone, said(instance)])
    assert [state.instance_id for state in InstanceState.objects.all()] == [instance.pk]
    store.minute_write(mine, Minute(29_000_000, {gone.instance_id: [Point(1.0, True)], instance.pk: [Point(1.0, True)]}))
    assert [sample.instance_id for sample in Sample.objects.all()] == [instance.pk]


def it_writes_only_while_the_lease_is_its_own(instance: Instance) -> None:
    mine = token()
    assert store.lease_take() is None
    store.lease_give_back(mine)
    newer = token()
    assert newer > mine
    for write in (
        lambda: store.states_write(mine, [said(instance)]),
        lambda: store.minute_write(mine, Minute(29_000_000, {instance.pk: [Point(0.0, True)]})),
        lambda: store.lease_renew(mine, 1, 5.0),
    ):
        with pytest.raises(store.LeaseLost):
            write()
    store.lease_give_back(mine)
    assert store.lease_take() is None  # what was lost cannot be given back
    assert not InstanceState.objects.exists()


def it_keeps_a_minute_in_full_and_its_worst(instance: Instance) -> None:
    points = [Point(0.5, True, 10, 0.1, 100.0, 16, 3), Point(5.5, False), Point(10.5, True, 40, 0.0, 300.0, 8, 9)]
    store.minute_write(token(), Minute(29_000_000, {instance.pk: points}))
    fine, minute = FineSample.objects.get(), Sample.objects.get()
    assert (fine.offsets, fine.lag_bytes, fine.wal_rate) == ([0.5, 5.5, 10.5], [10, None, 40], [100.0, None, 300.0])
    assert (minute.looks, minute.answers, minute.lag_bytes, minute.lag_seconds) == (3, 2, 40, 0.1)
    assert (minute.wal_rate, minute.retained_bytes, minute.connections) == (200.0, 16, 9)
    assert minute.at == fine.at == dt.datetime.fromtimestamp(29_000_000 * 60, dt.UTC)


def it_adds_to_the_part_of_a_minute_that_another_monitor_has_written(instance: Instance) -> None:
    mine = token()
    first, second = Point(0.5, True, 10, 0.1, 100.0, 16, 3), Point(40.5, True, 40, None, 400.0, 8, 9)
    for points in ([first], [second, Point(45.5, False)], [second]):  # the last one a second time, since nobody knew whether it was written
        store.minute_write(mine, Minute(29_000_000, {instance.pk: points}))
    fine, minute = FineSample.objects.get(), Sample.objects.get()
    assert (fine.offsets, fine.lag_bytes) == ([0.5, 40.5, 45.5], [10, 40, None])
    assert (minute.looks, minute.answers, minute.lag_bytes, minute.lag_seconds, minute.wal_rate) == (3, 2, 40, 0.1, 250.0)


def it_makes_hours_of_minutes_once(instance: Instance) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=3)
    for minute in range(120):
        Sample.objects.create(
            instance=instance, seconds=60, at=hour + dt.timedelta(minutes=minute), looks=12, answers=11, lag_bytes=minute, wal_rate=minute
        )
    assert store.hours_write() == 2
    assert store.hours_write() == 0
    first, second = Sample.objects.filter(seconds=3600).order_by("at")
    assert (first.at, first.looks, first.answers, first.lag_bytes, first.wal_rate) == (hour, 720, 660, 59, 29.5)
    assert (second.lag_bytes, second.lag_seconds) == (119, None)


def it_keeps_the_least_room_of_a_minute_and_of_an_hour(instance: Instance) -> None:
    mine, hour = token(), timezone.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=3)
    first = int(hour.timestamp()) // 60
    for number, looks in enumerate([(900, 700), (800,), ()]):
        minute = Minute(first + number, {instance.pk: [Point(1.0, True)]})
        for free in looks:
            minute.add_disk(instance.pk, free)
        store.minute_write(mine, minute)
    again = Minute(first, {instance.pk: [Point(40.0, True)]}, {instance.pk: 950})  # the same minute's other half, by another monitor
    store.minute_write(mine, again)
    assert list(Sample.objects.order_by("at").values_list("disk_free_bytes", flat=True)) == [700, 800, None]
    store.hours_write()
    assert Sample.objects.get(seconds=3600).disk_free_bytes == 700


def it_tells_how_fast_wal_comes_and_the_disk_fills(instance: Instance) -> None:
    mine, others, now = token(), [InstanceFactory(observed_at=LONG_AGO) for _number in range(3)], timezone.now()
    store.states_write(mine, [said(row) for row in (instance, *others)])
    steady, short, _never, gone = instance, *others
    rows = [(steady, back, 10**9 + 6000 * back, 100.0 if back < 16 else 900.0) for back in range(1, 50)]
    rows += [(short, back, 10**9 + 6000 * back, None) for back in range(3)] + [(gone, back, 10**9 + back, 1.0) for back in (61, 90)]
    for row, back, free, rate in rows:
        at = now - dt.timedelta(minutes=back)
        Sample.objects.create(instance=row, at=at, seconds=60, looks=1, answers=1, wal_rate=rate, disk_free_bytes=free)
    InstanceState.objects.filter(instance=gone).update(disk_rate=5.0, wal_rate_mean=5.0)  # of an hour that is over
    store.rates_write(mine)
    found = {state.instance_id: (state.wal_rate_mean, state.disk_rate) for state in InstanceState.objects.all()}
    assert found.pop(steady.pk) == (100.0, pytest.approx(100.0))
    assert set(found.values()) == {(None, None)}  # three minutes are too few to tell


def it_writes_what_room_there_is(instance: Instance) -> None:
    mine, other = token(), InstanceFactory()
    store.states_write(mine, [said(instance)])
    store.rooms_write(mine, [Room(pk, time.monotonic() - 3, 7, 9) for pk in (instance.pk, other.pk, 0)])  # one without a state, one gone
    state = InstanceState.objects.get()
    assert (state.disk_free_bytes, state.disk_total_bytes) == (7, 9)
    assert state.disk_at is not None
    assert 2 < (timezone.now() - state.disk_at).total_seconds() < 60
    store.lease_give_back(mine)
    token()
    with pytest.raises(store.LeaseLost):
        store.rooms_write(mine, [Room(instance.pk, 0.0, 1, 1)])
    with pytest.raises(store.LeaseLost):
        store.rates_write(mine)


def it_prunes_what_is_too_old(instance: Instance) -> None:
    now = timezone.now()
    for days in (0, 2, 40, 800):
        at = now - dt.timedelta(days=days)
        empty: dict[str, list[Any]] = {name: [] for name in ("offsets", "lag_bytes", "lag_seconds", "wal_rate", "retained_bytes")}
        FineSample.objects.create(instance=instance, at=at, **empty)
        for seconds in (60, 3600):
            Sample.objects.create(instance=instance, at=at, seconds=seconds, looks=1, answers=1)
    assert store.prune() == 3 + 2 + 1
    assert FineSample.objects.count() == 1
    assert Sample.objects.filter(seconds=60).count() == 2
    assert Sample.objects.filter(seconds=3600).count() == 3


def it_asks_every_instance_that_is_made_and_managed(db: None) -> None:
    orders, watched = cluster_with_standbys("orders", standbys=1), cluster_with_standbys("watched", standbys=1)
    watched.adopted_at = timezone.now()
    watched.save()
    InstanceFactory(cluster=orders, name="new", role="standby", lifecycle="planned")
    assert [found.name for found in store.targets_read()] == sorted(orders.instances.exclude(name="new").values_list("name", flat=True))
