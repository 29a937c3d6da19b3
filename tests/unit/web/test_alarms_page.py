"""The page of a cluster at three in the morning: a primary that does not answer, two that accept writes, a quarantine, appointments."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from clusters.models import Cluster, Instance, InstanceState, Monitor
from clusters.services import instance_quarantine
from tasks.kinds import Status
from tests.factories import JobFactory
from tests.unit.observed import observed_cluster
from tests.unit.web.conftest import Get, post, queries_of, text_of

pytestmark = pytest.mark.django_db
ORDERS = "/clusters/orders/"


@pytest.fixture
def orders() -> Cluster:
    return observed_cluster()


def gone(state: str = "unreachable") -> None:
    """The primary was found gone just now; its standbys stand as they were looked at a minute before."""
    earlier = timezone.now() - timedelta(minutes=1)
    Instance.objects.filter(role="standby").update(observed_at=earlier)
    Instance.objects.filter(role="primary").update(observed_role=state, observed_at=timezone.now())


def panel(page: str) -> str:
    return page.partition('aria-labelledby="dead-title"')[2].partition("</section>")[0]


def it_leads_with_the_way_out_in_the_order_to_try(get: Get, orders: Cluster) -> None:
    assert panel(get("olga", ORDERS)) == ""
    gone()
    page = get("olga", ORDERS)
    words = text_of(f'id="content"{panel(page)}')
    assert "Neither orders-1 nor its server" in words
    order = [words.index(text) for text in ("Look again.", "Start it, if that can be done.", "Fail over to orders-2.")]
    assert order == sorted(order)
    assert "somebody at the server can" in words
    assert re.findall(r'(?:action|href)="([^"?]*\??[^"]*)"', panel(page)) == [
        "/clusters/orders/verify/",
        "/clusters/orders/orders-1/start/",
        "/clusters/orders/board/?act=failover",
        "/clusters/orders/failover/?to=orders-2",
    ]
    assert "What may be lost : orders-2" in words or "What may be lost: orders-2" in words


def it_says_that_it_only_stopped(get: Get, orders: Cluster) -> None:
    gone("stopped")
    words = text_of(f'id="content"{panel(get("olga", ORDERS))}')
    assert "orders-1 does not run; its server" in words
    assert "somebody at the server" not in words


def it_doubts_the_death_where_a_standby_still_receives(get: Get, orders: Cluster) -> None:
    gone()
    assert "still received from it" not in text_of(get("olga", ORDERS))
    Instance.objects.filter(name="orders-3").update(observed_at=timezone.now())
    assert "orders-3 still received from it: it may well be alive" in text_of(get("olga", ORDERS))


def it_says_why_a_viewer_cannot_and_who_holds_the_cluster(get: Get, orders: Cluster) -> None:
    gone()
    assert "tasks.run_failover" in text_of(f'id="content"{panel(get("vera", ORDERS))}')
    JobFactory(kind="add_standby", status="running", cluster=orders)
    held = panel(get("olga", ORDERS))
    assert "holds this cluster" in text_of(f'id="content"{held}')
    assert "/failover/?to=" not in held


def it_says_when_nobody_could_take_over(get: Get, orders: Cluster) -> None:
    gone()
    Instance.objects.filter(role="standby").update(observed_role="stopped")
    assert "By the last look no standby could take over" in text_of(f'id="content"{panel(get("olga", ORDERS))}')


def it_is_loud_about_two_that_accept_writes(get: Get, orders: Cluster) -> None:
    Instance.objects.filter(name="orders-2").update(observed_role="primary")
    page = get("vera", ORDERS)
    assert 'role="alert" aria-labelledby="writable-title"' in page
    words = text_of(page)
    assert "More than one instance accepts writes orders-1" in words
    assert words.index("More than one instance") < words.index("What to know")


def it_marks_what_is_in_quarantine_and_leads_back(get: Get, orders: Cluster) -> None:
    instance_quarantine(orders.instances.get(name="orders-2"), "Job #7 failed over to orders-3.")
    Instance.objects.filter(name="orders-2").update(observed_role="stopped")
    page = get("olga", ORDERS)
    row = page.partition('id="instance-orders-2"')[2].partition("</tr>")[0]
    assert "in quarantine" in row
    assert "Job #7 failed over to orders-3." in row
    assert 'href="/clusters/orders/orders-2/rejoin/">Rejoin it' in row
    assert "It is in quarantine, and stays stopped: Job #7" in text_of(page)
    Instance.objects.filter(name="orders-2").update(observed_role="primary")
    assert "It is in quarantine, and was seen running" in text_of(get("vera", ORDERS))


def it_lists_what_is_scheduled_and_cancels_it(get: Get, signed_in: Callable[[str], Client], orders: Cluster) -> None:
    at = timezone.now() + timedelta(hours=3, minutes=20, seconds=30)
    job = JobFactory(kind="switchover", status="scheduled", cluster=orders, not_before=at, reason="Kernel", started_at=None)
    words = text_of(get("olga", ORDERS))
    assert f"Scheduled #{job.pk} Switchover" in words
    assert f"{at:%Y-%m-%d %H:%M} UTC (in 3 h 20 min)" in words
    assert f'action="/jobs/{job.pk}/cancel/"' not in get("vera", ORDERS)
    told = text_of(get("vera", f"/jobs/{job.pk}/"))
    assert f"scheduled It waits until {at:%Y-%m-%d %H:%M} UTC (in 3 h 20 min)" in told
    assert "scheduled" in text_of(get("vera", "/admin/tasks/job/"))
    post(signed_in("olga"), f"/jobs/{job.pk}/cancel/")
    job.refresh_from_db()
    assert job.status == Status.CANCELED
    assert f'action="/jobs/{job.pk}/cancel/"' not in get("olga", ORDERS)


def it_gives_the_address_that_finds_the_primary_with_a_button_to_copy_it(get: Get, orders: Cluster) -> None:
    page = get("vera", ORDERS)
    code = re.findall(r'<code id="address-write"[^>]*>([^<]*)</code><button[^>]*data-copy="address-write"', page)[0]
    assert code.count(",") >= 2
    assert "target_session_attrs=read-write" in code


def it_takes_as_many_queries_for_20_standbys_as_for_2(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    observed_cluster("big", standbys=20)
    gone()
    client = signed_in("olga")
    counts = [len(queries_of(client, f"/clusters/{name}/")) for name in ("orders", "big")]
    assert counts[0] == counts[1] <= 26


def it_believes_a_monitor_that_watches_and_not_one_that_is_gone(get: Get, orders: Cluster) -> None:
    """Standbys that were looked at before the monitor found the primary silent say nothing of it."""
    Instance.objects.filter(role="primary").update(observed_role="unreachable", observed_at=timezone.now() - timedelta(minutes=3))
    Instance.objects.filter(role="standby").update(observed_at=timezone.now() - timedelta(minutes=2))
    silent = timezone.now() - timedelta(minutes=1)
    primary = Instance.objects.get(role="primary")
    InstanceState.objects.create(instance=primary, tried_at=timezone.now(), since=silent, role="unreachable", missed=12)
    monitor = Monitor.objects.create(pk=1, lease_until=timezone.now() + timedelta(seconds=15))
    assert "still received from it" not in panel(get("olga", ORDERS))
    monitor.lease_until = timezone.now() - timedelta(seconds=1)
    monitor.save()
    assert "still received from it" in panel(get("olga", ORDERS))
