"""What an upgrade makes of rows that are there already."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

import pytest
from django.apps.registry import Apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from tests.factories import ChannelFactory, ClusterFactory

pytestmark = pytest.mark.django_db(transaction=True)

Back = Callable[[str, str], Apps]


@pytest.fixture
def back() -> Iterator[Back]:
    """Go back to an older state of one app; the models as they were then."""

    def to(app: str, name: str) -> Apps:
        executor = MigrationExecutor(connection)
        executor.migrate([(app, name)])
        return MigrationExecutor(connection).loader.project_state([(app, name)]).apps

    yield to
    forward()


def forward() -> None:
    call_command("migrate", verbosity=0)


def test_what_beat_once_rang_for_is_forgotten(back: Back) -> None:
    back("tasks", "0007_job_changed_lately")
    every, _made = IntervalSchedule.objects.get_or_create(every=5, period="seconds")
    for name in ("tasks.alerts", "tasks.notifications", "tasks.sweep"):
        PeriodicTask.objects.create(name=name, task=name, interval=every)
    forward()
    assert set(PeriodicTask.objects.filter(interval=every).values_list("task", flat=True)) == {"tasks.sweep"}


def test_a_channel_keeps_the_names_of_its_clusters(back: Back) -> None:
    ClusterFactory(name="orders")
    some, every = ChannelFactory(name="some", clusters=["gone", "orders"]), ChannelFactory(name="every")
    models = back("tasks", "0008_pulses")
    channel = models.get_model("tasks", "AlertChannel")
    assert [row.name for row in channel.objects.get(name="some").clusters.all()] == ["orders"]
    forward()
    some.refresh_from_db()
    every.refresh_from_db()
    assert (some.clusters, every.clusters) == (["orders"], [])


def test_clusters_get_schedules_and_lose_the_one_for_all(back: Back) -> None:
    row = ClusterFactory(name="orders")
    back("clusters", "0007_watching")
    assert not PeriodicTask.objects.filter(task="tasks.verify_cluster").exists()
    every, _made = IntervalSchedule.objects.get_or_create(every=5, period="minutes")
    PeriodicTask.objects.create(name="verify", task="tasks.verify_all", interval=every)
    forward()
    tasks = PeriodicTask.objects.filter(task="tasks.verify_cluster").order_by("name")
    assert [task.name for task in tasks] == [f"verify-{depth}-{row.pk}" for depth in ("content", "deep", "standing")]
    assert not PeriodicTask.objects.filter(task="tasks.verify_all").exists()
    standing = tasks.get(name__startswith="verify-standing")
    assert timezone.now() - standing.last_run_at < dt.timedelta(minutes=5)
