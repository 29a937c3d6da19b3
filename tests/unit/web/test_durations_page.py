"""How long jobs take."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from tasks.models import Job
from tests.factories import ClusterFactory, JobFactory, StepFactory
from tests.unit.web.conftest import Get, queries_of, text_of

pytestmark = pytest.mark.django_db
PAGE = "/jobs/durations/"


def ended(kind: str, *seconds: float, **fields: object) -> None:
    now, cluster = timezone.now(), ClusterFactory()
    Job.objects.bulk_create(
        Job(
            kind=kind,
            cluster=cluster,
            cluster_name="orders",
            started_at=at - dt.timedelta(seconds=took),
            finished_at=at,
            **{"status": "done", **fields},
        )
        for number, took in enumerate(seconds)
        for at in [now - dt.timedelta(minutes=len(seconds) - number)]
    )


def it_tells_median_and_95_percent_of_each_kind_and_draws_one(get: Get) -> None:
    ended("verify", *range(1, 101))
    ended("switchover", 2, 4, 60)
    ended("switchover", 3000, status="refused")
    page = get("vera", PAGE)
    words = text_of(page)
    assert "Verify 100 50 s 1 min 35 s" in words
    assert "Switchover 3 4.0 s 54 s" in words
    assert page.count('class="pg-dot-done" d="M') == 100 + 1  # and one in the legend
    assert "Switchover: the last 3" not in words
    switchovers = get("vera", PAGE + "?kind=switchover")
    assert "Switchover: the last 4" in text_of(switchovers)  # the refused one is shown as what it is
    assert re.search(r'class="pg-dot-other" d="M[\d.]+ \d+h0"', switchovers)
    assert "1 min 00 s" in text_of(switchovers)


def it_asks_as_often_for_many_jobs_and_says_when_there_is_none(signed_in: Callable[[str], Client], get: Get) -> None:
    assert "No job has ended yet." in text_of(get("vera", PAGE))
    client = signed_in("vera")
    ended("verify", 1, 2)
    few = len(queries_of(client, PAGE))
    ended("verify", *[1.5] * 400)
    ended("add_standby", *[600.0] * 40)
    assert len(queries_of(client, PAGE)) == few <= 14


def it_shows_how_long_each_step_of_an_ended_job_took(get: Get) -> None:
    start = timezone.now() - dt.timedelta(minutes=10)
    job = JobFactory(kind="add_standby", status="done", started_at=start, finished_at=start + dt.timedelta(seconds=100))
    for position, (begin, end) in enumerate([(0, 25), (25, 100)], 1):
        moments = {"started_at": start + dt.timedelta(seconds=begin), "finished_at": start + dt.timedelta(seconds=end)}
        StepFactory(job=job, position=position, title=f"Step {position}", status="done", **moments)
    page = get("vera", f"/jobs/{job.pk}/")
    assert re.findall(r'class="pg-bar pg-ok" style="([^"]*)"', page) == ["left:0.0%;width:25.0%", "left:25.0%;width:75.0%"]
    assert "Step 1 25 s Step 2 1 min 15 s" in text_of(page)
    job.steps.filter(position=2).update(status="running", finished_at=None)
    Job.objects.filter(pk=job.pk).update(status="running", finished_at=None)
    assert "How long each step took" not in text_of(get("vera", f"/jobs/{job.pk}/"))
