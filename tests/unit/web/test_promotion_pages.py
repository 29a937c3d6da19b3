"""Asking for a switchover, a failover, a promotion: what the board says of the candidate stands beside the plan."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from time_machine import TimeMachineFixture

from clusters.models import Cluster, Instance
from tasks.models import Job
from tests.unit.observed import change, observed_cluster
from tests.unit.web.conftest import Get, post, queries_of, text_of
from tests.unit.web.test_request_pages import hidden

pytestmark = pytest.mark.django_db
SWITCHOVER, FAILOVER = "/clusters/orders/switchover/", "/clusters/orders/failover/"
RUN = re.compile(r'<button name="action" value="run"[^>]*>')


@pytest.fixture
def orders() -> Cluster:
    return observed_cluster()


def preview(client: Client, address: str, **answers: Any) -> str:
    return str(post(client, address, {"action": "preview", **answers}).content.decode())


def is_enabled(page: str) -> bool:
    return "disabled" not in RUN.findall(page)[0]


def it_asks_for_the_candidate_first(get: Get, orders: Cluster) -> None:
    page = get("olga", SWITCHOVER)
    assert re.findall(r'<option value="(orders-\d)"', page) == ["orders-2", "orders-3"]
    assert 'href="/clusters/orders/board/?act=switchover"' in page
    assert 'name="flags"' not in page
    assert 'name="reason"' not in page
    assert "the most advanced one" in text_of(get("olga", FAILOVER))


def it_shows_the_boards_row_of_the_candidate_beside_the_plan(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    change(orders, "orders-1", long_transaction_seconds=90.0)
    page = preview(signed_in("olga"), SWITCHOVER, to="orders-2")
    words = text_of(page)
    assert "Can orders-2 take over?" in words
    assert "open for 90 seconds" in words
    assert "rules are well" in words
    assert words.index("Can orders-2 take over?") < words.index("Promote the candidate") < words.index("Type orders to confirm.")
    assert "nobody can write for a moment" in words
    assert is_enabled(page)


def it_keeps_the_button_shut_while_something_blocks(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    change(orders, "orders-2", settings={**orders.instances.get(name="orders-2").observed["settings"], "max_connections": "5"})
    client = signed_in("olga")
    page = preview(client, SWITCHOVER, to="orders-2")
    assert not is_enabled(page)
    assert re.search(r'id="blocked">.*max_connections = 5', page)
    assert is_enabled(preview(client, SWITCHOVER, to="orders-3"))
    later = (timezone.now() + timedelta(days=1)).isoformat()
    assert is_enabled(preview(client, SWITCHOVER, to="orders-2", at=later))  # what blocks now need not block then


def it_only_warns_where_the_look_is_old(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    change(orders, "orders-2", settings={**orders.instances.get(name="orders-2").observed["settings"], "max_connections": "5"})
    Instance.objects.update(observed_at=timezone.now() - timedelta(minutes=42))
    page = preview(signed_in("olga"), SWITCHOVER, to="orders-2")
    assert "The last look is old" in text_of(page)
    assert is_enabled(page)


def it_shows_what_a_failover_may_lose_and_which_flags_it_takes(
    signed_in: Callable[[str], Client], orders: Cluster, time_machine: TimeMachineFixture
) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    Instance.objects.filter(name="orders-1").update(observed_role="unreachable", observed_at=timezone.now() - timedelta(minutes=4))
    page = preview(signed_in("olga"), FAILOVER, to="")
    words = text_of(page)
    assert "What may be lost" in words
    assert re.search(r"The primary was last looked at 4 min ago ?, orders-2 just now", words)
    assert "By the last look orders-2 is the most advanced." in words
    needed, _, rest = page.partition('class="pg-field pg-long pg-flags')[2].partition("<details>")
    assert 'value="possible_data_loss"' in needed
    assert "checked" not in page.partition("pg-flags")[2].partition("</fieldset>")[0]
    assert 'value="not_most_advanced"' in rest


def it_says_that_nothing_is_lost_where_that_is_proven(signed_in: Callable[[str], Client]) -> None:
    observed_cluster(sync_mode="any", sync_count=1)
    assert "is proven to have it all" in text_of(preview(signed_in("olga"), FAILOVER, to="orders-2"))


def it_makes_the_job_with_each_flag_that_was_ticked(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("olga")
    sent = hidden(preview(client, FAILOVER, to="orders-2"))
    assert "reason" not in sent
    flags = ["possible_data_loss", "primary_seen_alive"]
    given = {**sent, "flags": flags, "reason": "alpha burns", "confirm": "orders", "action": "run"}
    without = post(client, FAILOVER, {**given, "reason": ""}).content.decode()
    assert 'id="id_reason_error1"' in without
    assert without.partition("pg-flags")[2].partition("</fieldset>")[0].count(" checked") == 2  # what was ticked stays
    answer = post(client, FAILOVER, given)
    job = Job.objects.get()
    assert (answer.status_code, job.params["flags"], job.reason) == (302, flags, "alpha burns")


def it_shows_the_row_of_a_standby_that_is_to_leave(get: Get, signed_in: Callable[[str], Client], orders: Cluster) -> None:
    page = preview(signed_in("olga"), "/clusters/orders/orders-2/promote/", new_cluster="copy")
    words = text_of(page)
    assert "Can orders-2 leave the cluster?" in words
    assert "leaves its cluster for good" in words
    assert is_enabled(page)


def it_gives_the_plan_as_a_runbook(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("olga")
    page = preview(client, SWITCHOVER, to="orders-2", stop_seconds="45")
    address = re.findall(r'href="(/clusters/orders/switchover/\?[^"]*runbook=1)"', page)[0].replace("&amp;", "&")
    answer = client.get(address)
    assert answer["Content-Disposition"] == 'attachment; filename="runbook-switchover-of-orders-orders-2.sh"'
    assert "data 45\n" in answer.content.decode()
    assert Job.objects.count() == 0
    assert signed_in("vera").get(address).status_code == 403


def it_names_what_is_wrong_with_what_a_runbook_was_asked_for(get: Get, orders: Cluster) -> None:
    assert "This cluster has no instance of this name." in text_of(get("olga", f"{SWITCHOVER}?to=nobody&runbook=1"))


def it_takes_as_many_queries_for_20_standbys_as_for_2(signed_in: Callable[[str], Client], orders: Cluster) -> None:
    client = signed_in("olga")
    observed_cluster("big", standbys=20)
    counts = [len(queries_of(client, f"/clusters/{name}/switchover/?to={name}-2")) for name in ("orders", "big")]
    assert counts[0] == counts[1] <= 14
