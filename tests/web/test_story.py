"""What a newcomer does, in a real browser, with a real worker and real PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from clusters.models import Instance
from tests.live import Valkey
from tests.ports import free_port
from tests.stage import Stage, stage
from tests.web.conftest import Panel, Worker

__all__ = ["stage"]
pytestmark = pytest.mark.needs("browser")

LONG = 90_000  # ms, on a busy machine


@pytest.fixture
def worker(stage: Stage, panel: Panel, broker: Valkey) -> Iterator[Worker]:
    with Worker(broker) as worker:
        yield worker


def ended(page: Page, status: str) -> None:
    """Wait, without a reload, until the job has ended; as it must have."""
    expect(page.locator("#job")).not_to_have_attribute("data-status", re.compile("queued|running|rolling_back"), timeout=LONG)
    assert page.locator("#job").get_attribute("data-status") == status, page.locator("#job-log").inner_text()


def ask_for_standby(page: Page, name: str, rate: str = "") -> None:
    page.goto("/clusters/orders/")
    page.get_by_role("link", name="Add standby", exact=True).click()
    page.get_by_label("Name of the standby").fill(name)
    page.get_by_label("Rate limit of the copy").fill(rate)
    page.get_by_text("Choices that the panel makes well by itself").click()
    page.get_by_label("Port").fill(str(free_port()))
    page.get_by_role("button", name="Show what will be done").click()
    expect(page.locator(".pg-plan")).to_contain_text("pg_basebackup")
    page.get_by_role("button", name="Add standby").click()
    expect(page).to_have_url(re.compile(r"/jobs/\d+/$"))


def test_a_cluster_and_its_standbys_are_made_watched_cancelled_resumed_and_removed(panel: Panel, stage: Stage, worker: Worker) -> None:
    page = panel.open("/admin/")
    page.get_by_role("link", name="Create cluster").click()
    for label, value in (("Name (needed)", "orders"), ("Database", "shop"), ("Owner role", "shop")):
        page.get_by_label(label).fill(value)
    page.get_by_text("Choices that the panel makes well by itself").click()
    page.get_by_label("Port").fill(str(free_port()))
    page.get_by_role("button", name="Show what will be done").click()
    page.get_by_role("button", name="Create cluster").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    page.evaluate("document.body.dataset.mark = 'same page'")
    ended(page, "done")
    assert page.evaluate("document.body.dataset.mark") == "same page"  # steps and log came without a reload
    expect(page.locator("#job-steps > li[data-status='done']")).to_have_count(page.locator("#job-steps > li").count())
    expect(page.locator("#job-log .line[data-level='command']").first).to_be_attached()

    ask_for_standby(page, "node2", rate="2M")
    bar = page.locator("#job-steps progress:visible")
    expect(bar).to_be_visible(timeout=LONG)
    seen = float(bar.get_attribute("value") or 0)
    expect(page.locator("[data-part='progress']:visible")).to_have_text(
        re.compile(r"\d+ % · .+ of .+ · .+/s · \d+:\d\d left"), timeout=LONG
    )
    expect(bar).not_to_have_attribute("value", str(seen), timeout=LONG)

    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    ended(page, "canceled")
    page.get_by_role("button", name="Resume…").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume the job").click()
    ended(page, "done")

    ask_for_standby(page, "node3")
    ended(page, "done")
    page.goto("/clusters/orders/")
    expect(page.locator(".pg-topology.pg-wide .pg-line")).to_have_count(2)
    expect(page.get_by_role("cell", name="streaming · async")).to_have_count(2)

    page.locator("#menu-node3 summary").click()
    page.get_by_role("link", name="Remove standby", exact=True).click()
    page.get_by_label("Confirmation").fill("node3")
    page.get_by_role("button", name="Remove standby").click()
    ended(page, "done")
    assert list(Instance.objects.order_by("name").values_list("name", flat=True)) == ["node1", "node2"]
