"""Every page in a real browser: wide and narrow, light and dark."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Page, expect

from clusters.models import Discovery
from clusters.schedules import schedules_make
from clusters.services import instance_record_promotable, verification_run_record
from tasks.kinds import Status
from tests.factories import EventFactory, InstanceFactory, JobFactory, PairFactory, StepFactory, VerificationFactory, cluster_with_standbys
from tests.rounds import rounds
from tests.unit.clusters.postgres.handmade import follower, line, well_made
from tests.web.conftest import Panel

pytestmark = pytest.mark.needs("browser")

VARIANTS = rounds([(1440, "dark"), (390, "light")], [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
LONG = "a-name-of-forty-one-characters-to-the-end"


def world() -> list[str]:
    """Rows that put pages to the test (long names, faults, obstacles), and the pages' addresses."""
    cluster = cluster_with_standbys("orders", standbys=2)
    third = InstanceFactory(cluster=cluster, name=LONG, role="standby", observed_role="unreachable")
    pair = PairFactory(upstream=cluster.instances.get(name="orders-2"), standby=third, state="", lag_bytes=None, lag_seconds=None)
    finding = {
        "severity": "blocks",
        "sentence": "x" * 90,
        "value": "0 connections",
        "threshold": "1 connection",
        "cure": "Look at its log.",
    }
    verification = VerificationFactory(pair=pair, verdict="failed", findings=[finding])
    schedules_make(cluster)
    deep = {**finding, "severity": "warns", "instance": LONG}
    verification_run_record(cluster, depth="deep", verdict="warning", findings=[deep], job_id=40)
    instance_record_promotable(third, "x" * 90)
    instance_record_promotable(cluster.instances.get(name="orders-2"), "")
    cluster_with_standbys("billing")
    running = JobFactory(kind="add_standby", status=Status.RUNNING, cluster=cluster, instance=third, reason="Because " + "y" * 80)
    StepFactory(job=running, position=1, title="Look around", status="done", sentence="/srv/" + "z" * 120)
    StepFactory(
        job=running,
        position=2,
        title="Copy",
        status="running",
        progress={"done": 18, "total": 41, "unit": "bytes", "rate": 5, "seconds_left": 9},
    )
    EventFactory(job=running, seq=1, level="command", text="pg_basebackup " + "--option=value " * 30)
    refused = JobFactory(kind="add_standby", status=Status.REFUSED, cluster=cluster, summary="Refused.", result={"obstacles": [finding]})
    server = cluster.instances.get(name="orders-2").server.name
    handmade = well_made(name=LONG, restart="always", hba=(line("all", "trust", "172.0.0.0", "255.0.0.0"),))
    Discovery.objects.create(job_id=41, servers={"alpha": ["y" * 90]}, found=[each.as_row() for each in (handmade, follower())])
    return [
        "/admin/", "/admin/?verdict=ok", "/clusters/orders/", "/clusters/create/", "/clusters/billing/add-standby/",
        "/clusters/orders/board/", "/clusters/orders/board/?act=failover",
        "/clusters/orders/verifications/", "/clusters/orders/schedules/", "/clusters/orders/verify/", "/schedules/",
        "/clusters/billing/billing-2/stop/", "/clusters/orders/orders-2/stop/", f"/jobs/{running.pk}/", f"/jobs/{refused.pk}/",
        "/adopt/", "/adopt/41/", f"/jobs/{running.pk}/?view=plan", f"/servers/{server}/", "/admin/tasks/job/", "/admin/clusters/server/",
        "/admin/clusters/verification/",
        f"/admin/clusters/verification/{verification.pk}/change/", "/admin/tasks/auditentry/", "/admin/auth/user/", "/admin/auth/user/add/",
        "/admin/auth/group/", "/admin/tasks/apitoken/add/", "/admin/django_celery_beat/periodictask/", "/admin/password_change/",
    ]  # fmt: skip


def overflow(page: Page) -> int:
    """Pixels that stand out of the page on its right."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize(("width", "scheme"), VARIANTS)
def test_no_page_overflows_or_breaks_its_policy(panel: Panel, width: int, scheme: str) -> None:
    addresses = world()
    page = panel.open("/admin/", who="adam", width=width, scheme=scheme)
    wide: list[str] = []
    for address in addresses:
        assert page.goto(address).status == 200, address
        expect(page.locator("html")).to_have_class(re.compile("dark") if scheme == "dark" else re.compile("light|^$"))
        if overflow(page) > 0:
            wide.append(f"{address}: {overflow(page)}")
    assert "\n".join(wide) == ""


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_no_page_shuts_out_those_who_cannot_see_it(panel: Panel, width: int, scheme: str) -> None:
    """axe finds no serious fault in what is the panel's own: its pages and its frame."""
    addresses = [address for address in world() if not address.startswith("/admin/") or address == "/admin/"]
    page, axe, faults = panel.open("/admin/", who="adam", width=width, scheme=scheme), Axe(), list[str]()
    for address in addresses:
        page.goto(address)
        found = axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
        faults += [
            f"{address} {fault['id']}: {fault['nodes'][0]['html'][:120]}" for fault in found if fault["impact"] in ("serious", "critical")
        ]
    assert "\n".join(faults) == ""


def test_a_keyboard_reaches_the_content_and_the_menus(panel: Panel) -> None:
    cluster_with_standbys("orders")
    page = panel.open("/clusters/orders/")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.locator("#menu-orders-2 summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#menu-orders-2 ul")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#menu-orders-2 ul")).to_be_hidden()
    expect(page.locator("#menu-orders-2 summary")).to_be_focused()


def test_the_side_bar_opens_and_closes_on_a_telephone(panel: Panel) -> None:
    page = panel.open("/admin/", width=390)
    bar = page.locator("#nav-sidebar")
    expect(bar).to_be_hidden()
    page.get_by_role("button", name="Show or hide the side bar").click()
    expect(bar).to_be_visible()
    page.get_by_role("button", name="Close the side bar").click()
    expect(bar).to_be_hidden()


def test_the_fleet_renews_itself(panel: Panel) -> None:
    cluster = cluster_with_standbys("orders")
    page = panel.open("/admin/", who="vera")
    expect(page.locator("table .pg-badge").first).to_contain_text("replicating")
    cluster.instances.filter(name="orders-2").update(observed_role="stopped")
    page.evaluate("document.getElementById('fleet').dataset.mark = 'same page'")
    expect(page.locator("table .pg-badge").first).to_contain_text("a standby is down", timeout=25_000)
    expect(page.locator("#fleet")).to_have_attribute("data-mark", "same page")


def test_the_connection_string_is_copied(panel: Panel) -> None:
    cluster_with_standbys("orders")
    page = panel.open("/clusters/orders/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#address-write").inner_text()


def test_a_hostile_line_is_shown_as_text(panel: Panel) -> None:
    job = JobFactory(status=Status.RUNNING, cluster=cluster_with_standbys("orders"))
    line = "<script>document.title='owned'</script><img src=x onerror=alert(1)>{{ 7*7 }}"
    EventFactory(job=job, seq=1, level="output", text=line)
    type(job).objects.filter(pk=job.pk).update(last_event=1)
    page = panel.open(f"/jobs/{job.pk}/", who="vera")
    expect(page.locator("#job-log .line")).to_have_text(line)
    expect(page).to_have_title(f"#{job.pk} Verify | pgreplica-admin")


def test_the_sign_in_page_leads_to_where_one_wanted_to_go(panel: Panel) -> None:
    cluster_with_standbys("orders")
    password = PBKDF2PasswordHasher().encode("a-Long-Enough-1", "salt", 1000)  # the web process has Django's own hashers, not the tests'
    type(panel.people["olga"]).objects.filter(username="olga").update(password=password)
    page = panel.open("/clusters/orders/", who="")
    page.get_by_label("Username").fill("olga")
    page.get_by_label("Password").fill("a-Long-Enough-1")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="orders", exact=True)).to_be_visible()


def test_the_browsers_language_is_spoken(panel: Panel) -> None:
    cluster_with_standbys("orders")
    page = panel.open("/clusters/orders/", language="pt-BR")
    expect(page.locator("html")).to_have_attribute("lang", "pt-br")
    expect(page.get_by_role("heading", name="Topologia")).to_be_visible()
