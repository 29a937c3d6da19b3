"""Every page in a real browser: wide and narrow, light and dark."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.utils import timezone
from playwright.sync_api import Page, expect

from clusters.models import Discovery
from clusters.schedules import schedules_make
from clusters.services import instance_record_promotable, verification_run_record
from tasks.kinds import Status
from tests.factories import (
    AlertFactory,
    AuditFactory,
    ChannelFactory,
    EventFactory,
    InstanceFactory,
    JobFactory,
    PairFactory,
    SilenceFactory,
    StepFactory,
    VerificationFactory,
    cluster_with_standbys,
)
from tests.rounds import rounds
from tests.unit.clusters.postgres.handmade import follower, line, well_made
from tests.unit.kept import keep
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
    keep([cluster], count=60)
    keep([cluster], seconds=3600, count=100)
    AuditFactory(cluster_name="orders", reason="Because " + "y" * 80)
    ended = timezone.now()
    done = JobFactory(kind="switchover", cluster=cluster, finished_at=ended, result={"new_primary": LONG})
    for position in (1, 2):
        StepFactory(job=done, position=position, title="z" * 60, status="done", started_at=ended - timedelta(minutes=1), finished_at=ended)
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
    alert = AlertFactory(cluster=cluster, instance_name=LONG, sentence="x" * 90, value="y" * 60, threshold="1")
    AlertFactory(cluster=None, condition="monitor_dead", severity="critical", instance_name="", sentence="No monitor goes round.")
    SilenceFactory(cluster=cluster, reason="Because " + "y" * 80)
    chat = ChannelFactory(name="chat", failure="The service did not take it: " + "z" * 90, tried_at=ended)
    chat.notifications.create(alert=alert, event="begin", next_at=ended, failure="z" * 90)
    server = cluster.instances.get(name="orders-2").server.name
    handmade = well_made(name=LONG, restart="always", hba=(line("all", "trust", "172.0.0.0", "255.0.0.0"),))
    Discovery.objects.create(job_id=41, servers={"alpha": ["y" * 90]}, found=[each.as_row() for each in (handmade, follower())])
    return [
        "/admin/", "/admin/?verdict=ok", "/clusters/orders/", "/clusters/create/", "/clusters/billing/add-standby/",
        "/clusters/orders/board/", "/clusters/orders/board/?act=failover",
        "/clusters/orders/charts/?range=24h", "/jobs/durations/", f"/jobs/{done.pk}/",
        "/clusters/orders/verifications/", "/clusters/orders/schedules/", "/clusters/orders/verify/", "/schedules/",
        "/clusters/billing/billing-2/stop/", "/clusters/orders/orders-2/stop/", f"/jobs/{running.pk}/", f"/jobs/{refused.pk}/",
        "/alerts/", "/alerts/history/", "/alerts/silences/", "/alerts/silences/add/", "/alerts/rules/", "/alerts/rules/lag_bytes/",
        "/alerts/channels/", "/alerts/channels/add/", "/alerts/channels/chat/",
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


#: The main pages are looked at in every theme and width, the others in one of each.
MAIN = re.compile(
    r"/admin/\?verdict=ok|/alerts/|/clusters/orders/(charts/\?range=.*)?|/clusters/billing/add-standby/|/jobs/(durations|\d+)/|/servers/.*"
    r"|/admin/(tasks/auditentry|clusters/verification)/"
)
AXE = Axe().axe_script
STRUCTURE = ["wcag2a", "wcag2aa", "wcag21aa"]
#: (width, theme, what is asked): how a page is built depends on the width, what stands out from what on the theme.
LOOKS = [
    (1440, "light", STRUCTURE), (1440, "dark", ["color-contrast"]), (390, "dark", STRUCTURE), (390, "light", ["color-contrast"]),
]  # fmt: skip


def test_no_page_shuts_out_those_who_cannot_see_it(panel: Panel) -> None:
    """axe finds no serious fault in the panel's own pages, nor in unfold's lists as the panel frames them."""
    addresses = [address for address in world() if not address.startswith("/admin/") or MAIN.fullmatch(address)]
    faults = unfit_in(panel.open("/admin/login/", who=""), LOOKS)
    page = panel.open("/admin/", who="adam")
    for number, address in enumerate(addresses):
        page.goto(address)
        faults += unfit_in(page, LOOKS if MAIN.fullmatch(address) else [LOOKS[number % 2 * 2]])
    assert "\n".join(faults) == ""


def unfit_in(page: Page, looks: list[tuple[int, str, list[str]]]) -> list[str]:
    """The serious faults of a page as it is open, in these widths and themes."""
    faults = list[str]()
    page.evaluate(AXE)
    for width, scheme, asked in looks:
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", scheme == "dark")
        found = page.evaluate("asked => axe.run({runOnly: asked, resultTypes: ['violations']}).then(told => told.violations)", asked)
        faults += [
            f"{page.url} {width} {scheme} {fault['id']}: {fault['nodes'][0]['html'][:160]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
    return faults


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


def test_a_chart_tells_its_values_and_takes_a_range_that_is_drawn(panel: Panel) -> None:
    """By pointer and by keyboard; and it says so aloud."""
    keep([cluster_with_standbys("orders")], count=1440)
    page = panel.open("/clusters/orders/charts/?range=24h", who="vera")
    plot = page.locator(".pg-plot").first
    plot.hover(position={"x": 300, "y": 50})
    expect(plot.locator(".pg-cross")).to_contain_text(re.compile(r"orders-2: [\d.,]+ [kM]?B"))
    page.mouse.move(5, 5)
    expect(plot.locator(".pg-cross")).to_have_count(0)
    slider = page.get_by_role("slider", name="Lag in bytes")
    slider.focus()
    expect(slider).to_have_attribute("aria-valuetext", re.compile("orders-2: "))
    newest = slider.get_attribute("aria-valuetext") or ""
    page.keyboard.press("Home")
    expect(slider).not_to_have_attribute("aria-valuetext", newest)
    expect(page.get_by_text("Or draw over a chart")).to_be_visible()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40)
    expect(plot.locator(".pg-chosen")).to_be_visible()
    page.mouse.up()
    page.wait_for_url(re.compile(r"from=.*to="))
    expect(page.locator("#charts .pg-sub").first).to_contain_text("one point for")
    first, last = (page.locator(f"[name={name}]").input_value() for name in ("from", "to"))
    assert timedelta(hours=11) < datetime.fromisoformat(last) - datetime.fromisoformat(first) < timedelta(hours=13)


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
