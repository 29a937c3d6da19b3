"""The charts of a cluster, as a page and over the API."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from clusters.models import Cluster, Sample
from clusters.samples import MEASURES, range_of
from tasks.ranges import LENGTHS
from tests.factories import JobFactory, cluster_with_standbys
from tests.unit.kept import keep, keep_fine
from tests.unit.web.conftest import Get, queries_of, text_of

pytestmark = pytest.mark.django_db
CHARTS = "/clusters/orders/charts/"
API = "/api/v1/clusters/orders/samples"


@pytest.fixture
def orders() -> Cluster:
    return cluster_with_standbys("orders", standbys=2)


def plots(page: str) -> list[str]:
    return re.findall(r'data-chart="(\w+)"', page)


def it_draws_a_chart_of_each_measure_with_its_words_and_its_table(get: Get, orders: Cluster) -> None:
    keep([orders], count=400, disk=3 * 1024**3)
    keep_fine(orders)
    page = get("vera", CHARTS + "?range=6h")
    assert plots(page) == [name for name in MEASURES if name != "retained_bytes"]
    assert len(re.findall(r'<svg viewBox="[^"]*" preserveAspectRatio="none" role="img" aria-labelledby="(\w+)-name \1-about">', page)) == 6
    words = text_of(page)
    for sentence in ("Lag in bytes", "orders-2: last ", "orders-1: last 3.0 GB, lowest 3.0 GB.", "The figures as a table", "not asked"):
        assert sentence in words
    assert 'class="pg-silent"' in page
    assert 'class="pg-not-asked"' in page
    assert 10 < page.count("<tbody><tr>") + page.count("</tr><tr>") < 7 * 40


def it_says_that_nothing_is_known_instead_of_an_empty_chart(get: Get, orders: Cluster) -> None:
    keep([orders], count=30)
    keep_fine(orders, minutes=30)
    page = get("vera", CHARTS + "?range=1h")
    assert plots(page) == [name for name in MEASURES if name not in ("disk_free_bytes", "retained_bytes")]
    assert "Free space of the file system with the data directory. Nothing is known of it for this time." in text_of(page)
    assert plots(get("vera", CHARTS + "?from=2020-01-01T00:00&to=2020-01-02T00:00")) == []


def it_takes_the_finest_rows_that_are_there_and_never_too_many_points() -> None:
    now = timezone.now()
    found = {name: range_of(now - length, now, now) for name, (length, _words) in LENGTHS.items()}
    assert {name: (shown.step, shown.rows) for name, shown in found.items()} == {
        "1h": (5, 0), "6h": (30, 0), "24h": (120, 60), "7d": (900, 60), "31d": (3600, 3600), "2y": (86_400, 3600),
    }  # fmt: skip
    assert all(shown.count <= 750 for shown in found.values())
    old = now - dt.timedelta(days=3)
    assert range_of(old, old + dt.timedelta(minutes=30), now).rows == 60
    older = now - dt.timedelta(days=40)
    assert range_of(older, older + dt.timedelta(minutes=30), now).rows == 3600


def it_marks_who_became_the_primary_and_when(get: Get, orders: Cluster) -> None:
    keep([orders], count=60)
    keep_fine(orders)
    ended = timezone.now() - dt.timedelta(minutes=30)
    job = JobFactory(kind="switchover", cluster=orders, finished_at=ended, result={"new_primary": "orders-2"})
    JobFactory(kind="failover", cluster=orders, finished_at=ended - dt.timedelta(days=2))
    JobFactory(kind="failover", cluster=orders, finished_at=ended, status="failed")
    page = get("vera", CHARTS + "?range=1h")
    marks = re.findall(r'<span class="pg-mark[^>]*><a href="([^"]*)">([^<]*)</a>', page)
    assert set(marks) == {(f"/jobs/{job.pk}/", "switchover → orders-2")}


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"from": "yesterday"}, "from", "“from” is not a date and time."),
        ({"to": "2026-01-01T00:00"}, "from", "“from” is not a date and time."),
        ({"from": "2026-01-01T00:00", "to": "2026-13-01T00:00"}, "to", "“to” is not a date and time."),
        ({"from": "9999-12-31T23:59"}, "from", "“from” is not a date and time."),
        ({"from": "0001-01-01T00:00+14:00"}, "from", "“from” is not a date and time."),
        ({"from": "8000-01-01T00:00"}, "from", "“from” lies ahead"),
        ({"from": "2026-01-02T00:00", "to": "2026-01-01T00:00"}, "to", "“to” has to be at least a minute after “from”."),
        ({"from": "2020-01-01T00:00", "to": "2024-01-01T00:00"}, "from", "more than two years apart"),
        ({"from": "<script>\0" + "x" * 9999}, "from", "“from” is not a date and time."),
    ],
)
def it_names_the_field_of_a_range_that_cannot_be(
    get: Get, bearer: Callable[..., Client], orders: Cluster, query: dict[str, str], field: str, words: str
) -> None:
    page = get("vera", f"{CHARTS}?{urlencode(query)}")
    assert words in re.search(rf'id="{field}_error">.*?<span>(.*?)</span></p>', page)[1]  # type: ignore[index]
    assert "<script>\0" not in page
    if len(query.get("from", "")) < 41:
        answer = bearer("vera").get(API, {"measure": "answers", **query})
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (422, [field])
        assert words in answer.json()["error"]["fields"][field][0]


def it_shows_another_range_and_keeps_it_in_its_fields(get: Get, orders: Cluster) -> None:
    keep([orders], count=600)
    keep_fine(orders, minutes=600)
    begin = (timezone.now() - dt.timedelta(hours=8)).replace(microsecond=0)
    page = get("vera", f"{CHARTS}?{urlencode({'from': begin.isoformat(), 'to': (begin + dt.timedelta(hours=4)).isoformat()})}")
    assert f'name="from" type="datetime-local" step="1" value="{begin:%Y-%m-%dT%H:%M:%S}"' in page
    assert "data-refresh" not in page  # what is over does not change
    assert "lag_bytes" in plots(page)


def it_asks_the_database_as_often_for_ten_instances_and_two_years(signed_in: Callable[[str], Client]) -> None:
    small, large = cluster_with_standbys("orders", standbys=1), cluster_with_standbys("billing", standbys=9)
    keep([small, large], count=30)
    keep([small, large], seconds=3600, count=30)
    client = signed_in("vera")
    pages = {(name, key): f"/clusters/{name}/charts/?range={key}" for name in ("orders", "billing") for key in LENGTHS}
    asked = {which: len(queries_of(client, address)) for which, address in pages.items()}
    assert {asked["orders", key] - asked["billing", key] for key in LENGTHS} == {0}
    assert max(asked.values()) <= 14
    assert max(asked.values()) - min(asked.values()) <= 1  # fine samples have a table of their own


def test_the_api_tells_the_lowest_and_the_highest_of_each_bucket(bearer: Callable[..., Client], orders: Cluster) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    keep_fine(orders, minutes=30, now=now)
    keep([orders], count=30, now=now)
    begin = now - dt.timedelta(minutes=20)
    client = bearer("vera")

    def told(measure: str, first: dt.datetime = begin) -> dict[str, Any]:
        answer = client.get(API, {"measure": measure, "from": first.isoformat(), "to": now.isoformat()})
        assert answer.status_code == 200, answer.content
        return dict(answer.json())

    lag = told("lag_bytes")
    assert (lag["step_seconds"], lag["points"], lag["rows"], lag["unit"]) == (5, 240, "samples", "bytes")
    assert [each["instance"] for each in lag["series"]] == ["orders-1", "orders-2", "orders-3"]
    assert lag["series"][0]["low"][:13] == [None, *range(1, 12), None] == lag["series"][0]["high"][:13]
    assert told("connections")["rows"] == "minutes"
    assert {value for each in told("answers")["series"] for value in each["low"]} <= {0.0, 1.0, None}
    assert client.get(API, {"measure": "nonsense"}).status_code == 422
    assert client.get("/api/v1/clusters/nowhere/samples", {"measure": "answers"}).status_code == 404


def test_the_hours_that_no_row_is_made_of_yet_come_from_their_minutes(bearer: Callable[..., Client], orders: Cluster) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    standby = orders.instances.get(name="orders-2")
    for seconds, ago, lag in ((3600, 120, 5), (60, 110, 99), (60, 50, 7), (60, 20, 8)):
        Sample.objects.create(instance=standby, seconds=seconds, at=hour - dt.timedelta(minutes=ago), looks=1, answers=1, lag_bytes=lag)
    answer = bearer("vera").get(API, {"measure": "lag_bytes", "from": (hour - dt.timedelta(days=31)).isoformat()}).json()
    assert (answer["rows"], answer["step_seconds"]) == ("hours", 3600)
    ((low, high),) = [(each["low"], each["high"]) for each in answer["series"]]
    assert (high[-3:], low[-3:]) == ([5, 8, None], [5, 7, None])
