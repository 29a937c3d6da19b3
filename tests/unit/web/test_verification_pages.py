"""The pages about verifications: schedules, history, the badge of a standby."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from clusters import services
from clusters.models import Cluster, Instance, VerificationRun
from clusters.schedules import schedules_make, schedules_of
from tasks.models import AuditEntry
from tests.factories import JobFactory, VerificationFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, post, queries_of, text_of

pytestmark = pytest.mark.django_db
CHANGE = "/clusters/orders/schedules/"
DRIFT = {
    "name": "file_drifted", "severity": "warns", "sentence": "pg_hba.conf differs.", "value": "trust", "threshold": "reject",
    "cure": "Undo it.", "instance": "orders-2",
}  # fmt: skip


@pytest.fixture
def orders() -> Cluster:
    cluster = cluster_with_standbys("orders")
    schedules_make(cluster)
    return cluster


def fields(**changes: str) -> dict[str, str]:
    values = {"standing_enabled": "yes", "standing_minutes": "5", "deep_enabled": "yes", "deep_at": "03:30"}
    values |= {"content_enabled": "yes", "content_day": "0", "content_at": "02:00", "content_tables": ""}
    return values | changes


def it_lists_the_schedules_of_every_cluster(get: Get, orders: Cluster) -> None:
    cluster_with_standbys("without")
    PeriodicTask.objects.update(start_time=timezone.now() - timedelta(hours=1))
    page = get("vera", "/schedules/")
    words = text_of(page)
    assert "every 5 min" in words
    assert "does not run" in words
    assert "It has no schedule." in words
    assert CHANGE not in page
    assert CHANGE in get("adam", "/schedules/")
    late = "The schedule is not running"
    assert late in text_of(get("vera", "/clusters/orders/"))
    assert late in text_of(get("vera", "/clusters/orders/verifications/"))
    services.verification_run_record(orders, depth="standing", verdict="ok", findings=[], job_id=1)
    assert late not in text_of(get("vera", "/clusters/orders/"))


def it_takes_the_same_queries_for_many_clusters(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("vera")
    few = len(queries_of(client, "/schedules/"))
    for number in range(8):
        schedules_make(cluster_with_standbys(f"more-{number}"))
    assert len(queries_of(client, "/schedules/")) == few
    runs = "/clusters/orders/verifications/"
    services.verification_run_record(orders, depth="standing", verdict="ok", findings=[], job_id=1)
    few = len(queries_of(client, runs))
    for number in range(2, 12):
        services.verification_run_record(orders, depth="deep", verdict="warning", findings=[DRIFT], job_id=number)
    assert len(queries_of(client, runs)) == few


def it_changes_the_schedules_and_writes_it_down(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("adam")
    changed = fields(standing_minutes="15", deep_at="04:10", content_enabled="no", content_day="3", content_tables="public.items\nodd.b")
    assert post(client, CHANGE, changed).status_code == 302
    found = {depth: each.planned for depth, each in schedules_of([orders.pk])[orders.pk].items()}
    assert (found["standing"].minutes, found["deep"].at, found["content"].enabled, found["content"].day) == (15, "04:10", False, 3)
    assert found["content"].tables == ("public.items", "odd.b")
    entry = AuditEntry.objects.get(action="schedule_change")
    assert (entry.actor, entry.cluster_name, entry.details["standing_minutes"]) == ("adam", "orders", [5, 15])
    assert post(client, CHANGE, changed).status_code == 302
    assert AuditEntry.objects.filter(action="schedule_change").count() == 1
    assert client.post(CHANGE, changed).status_code == 403, "without the token of the form"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("standing_minutes", "0", "a whole number of minutes from 1 to 1440"),
        ("standing_enabled", "maybe", "write yes or no"),
        ("deep_at", "25:00", "for example 03:30"),
        ("content_day", "7", "from 0 (Sunday) to 6 (Saturday)"),
        ("content_tables", "items", "Write schema.table"),
        ("deep_at", "", "this is missing"),
    ],
)
def it_refuses_what_cannot_be_used(signed_in: Callable[[str], Client], orders: Cluster, field: str, value: str, words: str) -> None:
    response = post(signed_in("adam"), CHANGE, fields(**{field: value}))
    said = text_of(response.content.decode())
    assert response.status_code == 200
    assert f"{field.replace('_', ' ')}: " in said
    assert words in said
    assert not AuditEntry.objects.exists()


def it_gives_programs_the_same(bearer: Callable[..., Client], orders: Cluster) -> None:
    client, address = bearer("adam"), "/api/v1/clusters/orders/schedules"
    assert [row["depth"] for row in client.get(address).json()] == ["standing", "deep", "content"]
    changed = client.patch(address, {"standing_minutes": 7, "content_tables": ["public.items"]}, content_type="application/json")
    assert (changed.json()[0]["every_minutes"], changed.json()[2]["tables"]) == (7, ["public.items"])
    refused = client.patch(address, {"standing_minutes": "x"}, content_type="application/json")
    assert refused.status_code == 422
    assert bearer("olga").patch(address, {"standing_minutes": 7}, content_type="application/json").status_code == 403


def it_shows_the_history_newest_first_with_what_was_found(get: Get, orders: Cluster) -> None:
    job = JobFactory(kind="verify", cluster=orders)
    VerificationFactory(pair=Instance.objects.get(name="orders-2").pair, job_id=job.pk, findings=[{**DRIFT, "sentence": "It lags."}])
    old = services.verification_run_record(orders, depth="deep", verdict="warning", findings=[DRIFT], job_id=job.pk)
    VerificationRun.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=1))
    services.verification_run_record(orders, depth="standing", verdict="ok", findings=[], job_id=JobFactory(cluster=orders).pk)
    page = get("vera", "/clusters/orders/verifications/")
    words = text_of(page)
    for said in ("orders-2: pg_hba.conf differs.", "Found: trust · wanted: reject", "Undo it.", "It lags.", "nothing found"):
        assert said in words
    assert page.index("nothing found</span>") < page.index("to look at</span>")
    assert f"/jobs/{job.pk}/" in page
    assert "pg_hba.conf" not in get("vera", "/clusters/orders/verifications/?depth=standing")
    assert "pg_hba.conf" in get("vera", "/clusters/orders/verifications/?depth=deep&verdict=warning")
    assert "There is no such verification." in text_of(get("vera", "/clusters/orders/verifications/?depth=content"))
    assert "/clusters/orders/verifications/" in get("vera", "/clusters/orders/")


def it_tells_honestly_whether_a_standby_is_proven(get: Get, orders: Cluster) -> None:
    standby = Instance.objects.get(name="orders-2")

    def words() -> str:
        return text_of(get("vera", "/clusters/orders/"))

    assert "not proven promotable yet" in words()
    first = timezone.now() - timedelta(days=9)
    services.instance_record_promotable(standby, "", at=first)
    assert "last proven promotable 9 days ago No deep verification has looked since then." in words()
    assert "0 proven promotable" in text_of(get("vera", "/admin/"))
    services.instance_record_promotable(standby, "")
    assert f"promotable since {first:%Y-%m-%d %H:%M} UTC · last proven just now" in words()
    assert "1 proven promotable" in text_of(get("vera", "/admin/"))
    services.instance_record_promotable(standby, "Replay does not go on.")
    assert "last proven promotable just now Replay does not go on." in words()
    services.instance_record_promotable(standby, "")
    standby.refresh_from_db()
    assert standby.promotable_since > first, "the row was broken"
    services.instance_record_promotable(standby, None)
    services.instance_record_promotable(standby, "Replay does not go on.")
    assert "never proven promotable Replay does not go on." in words()
