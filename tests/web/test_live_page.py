"""The live job page in a real browser, on a real web process."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from playwright.sync_api import Page, expect

from tasks.feeds import give_back_connections
from tasks.models import Job, JobStep
from tests.factories import UserFactory
from tests.live import Valkey, Web, Writer

pytestmark = [pytest.mark.needs("browser"), pytest.mark.django_db(transaction=True)]
T = TypeVar("T")
expect.set_options(timeout=30_000)  # a busy machine is not a fault

#: The text of every line, as the page has it.
LINES = "() => [...document.querySelectorAll('#job-log .line')].map((line) => line.textContent)"
FROM_THE_END = "() => { const box = document.getElementById('job-log'); return box.scrollHeight - box.scrollTop - box.clientHeight; }"
UP = "() => { const box = document.getElementById('job-log'); box.scrollTop -= 400; return box.scrollTop; }"
TOP = "() => document.getElementById('job-log').scrollTop"


def aside(function: Callable[..., T], *args: Any) -> T:
    """Playwright's event loop runs in this thread, where Django then refuses to read the database: read it in another."""

    def then_close() -> T:
        try:
            return function(*args)
        finally:
            give_back_connections()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(then_close).result()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: Any, valkey: Valkey) -> Iterator[Web]:
    with django_db_blocker.unblock(), Web(valkey.url, PGREPLICA_DEBUG="1") as web:  # static files from their sources
        yield web


@pytest.fixture
def job(transactional_db: None) -> Job:
    def create() -> Job:
        job = Job.objects.create(kind="verify", status="running", mutating=False, source="live")
        JobStep.objects.create(job=job, position=1, name="look", title="Look", status="running")
        return job

    return aside(create)


@pytest.fixture
def writer(job: Job, valkey: Valkey) -> Writer:
    return Writer(job, valkey.url)


@pytest.fixture
def session(transactional_db: None) -> str:
    def sign_in() -> str:
        user = UserFactory(permissions=["tasks.view_job"])
        client = Client()
        client.force_login(user)
        return client.cookies["sessionid"].value

    return aside(sign_in)


@pytest.fixture
def errors(page: Page) -> Iterator[list[str]]:
    """No test may leave an uncaught error on the page."""
    seen: list[str] = []
    page.on("pageerror", lambda error: seen.append(str(error)))
    yield seen
    assert seen == []


@pytest.fixture
def visit(page: Page, web: Web, job: Job, session: str, errors: list[str]) -> Callable[[], None]:
    def visit(port: int = web.port) -> None:
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://127.0.0.1:{port}"}])
        page.goto(f"http://127.0.0.1:{port}/jobs/{job.pk}/")

    return visit


def numbered(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last + 1)]


def expect_lines(page: Page, number: int) -> None:
    expect(page.locator("#job-lines")).to_have_text(re.compile(rf"^{number:,} "))


def test_20_000_lines_come_in_order_and_the_page_stays_at_their_end(page: Page, visit: Callable[[], None], writer: Writer) -> None:
    for first in range(1, 20_001, 2000):
        aside(writer.lines, numbered(first, first + 1999))
    visit()
    expect_lines(page, 20_000)
    aside(writer.lines, numbered(20_001, 20_010))
    expect_lines(page, 20_010)
    assert page.evaluate(LINES) == numbered(1, 20_010)
    page.wait_for_function(f"({FROM_THE_END})() < 2")


def test_scrolling_up_lets_go_of_the_end_and_the_button_takes_hold_again(page: Page, visit: Callable[[], None], writer: Writer) -> None:
    aside(writer.lines, numbered(1, 500))
    visit()
    expect_lines(page, 500)
    page.wait_for_function(f"({FROM_THE_END})() < 2")
    top = page.evaluate(UP)
    expect(page.locator("#job-follow")).to_have_attribute("aria-pressed", "false")
    aside(writer.lines, numbered(501, 700))
    expect_lines(page, 700)
    assert page.evaluate(TOP) == top
    page.click("#job-follow")
    expect(page.locator("#job-follow")).to_have_attribute("aria-pressed", "true")
    aside(writer.lines, numbered(701, 800))
    expect_lines(page, 800)
    page.wait_for_function(f"({FROM_THE_END})() < 2")


def test_steps_progress_and_status_move_without_a_reload(page: Page, visit: Callable[[], None], job: Job, writer: Writer) -> None:
    visit()
    expect(page.locator("#job-connection")).to_have_attribute("data-state", "live")
    progress = {"done": 430 << 20, "total": 1 << 30, "unit": "bytes", "rate": 85 << 20, "seconds_left": 7.4}
    aside(lambda: job.steps.update(progress=progress))
    aside(writer.nudge)
    step = page.locator('#job-steps [data-step="1"]')
    expect(step.locator('[data-part="progress"]')).to_have_text("41 % · 430 MB of 1.0 GB · 85.0 MB/s · 0:07 left")
    assert step.locator('[data-part="bar"]').evaluate("(bar) => bar.value.toFixed(2)") == "0.42"
    aside(lambda: job.steps.update(status="done", sentence="The pair is streaming."))
    aside(lambda: Job.objects.filter(pk=job.pk).update(summary="All is well."))
    aside(writer.end)
    expect(step).to_have_attribute("data-status", "done")
    expect(step.locator('[data-part="sentence"]')).to_have_text("The pair is streaming.")
    expect(step.locator('[data-part="progress"]')).to_be_hidden()
    expect(page.locator("#job")).to_have_attribute("data-status", "done")
    expect(page.locator("#job-summary")).to_have_text("All is well.")
    expect(page.locator("#job-connection")).to_have_attribute("data-state", "ended")


def test_a_hostile_line_is_shown_and_does_nothing(page: Page, visit: Callable[[], None], writer: Writer) -> None:
    hostile = ["<img src=x onerror=\"document.title='owned'\">", "{{ 7*7 }} <script>document.title='owned'</script>", "a\\nb &amp; ‮c"]
    aside(writer.lines, hostile)
    visit()
    expect_lines(page, 3)
    assert page.evaluate(LINES) == hostile
    assert page.locator("#job-log img, #job-log script").count() == 0
    assert "owned" not in page.title()


def test_a_restarted_web_process_leaves_no_gap_and_no_repeat(
    page: Page, visit: Callable[[int], None], valkey: Valkey, writer: Writer
) -> None:
    with Web(valkey.url, PGREPLICA_DEBUG="1") as web:
        aside(writer.lines, numbered(1, 30))
        visit(web.port)
        expect_lines(page, 30)
        web.stop(signal.SIGKILL)
        expect(page.locator("#job-connection")).to_have_attribute("data-state", "waiting")
        aside(writer.lines, numbered(31, 60))
        web.start()
        expect_lines(page, 60)
        aside(writer.lines, numbered(61, 90))
        expect_lines(page, 90)
        expect(page.locator("#job-connection")).to_have_attribute("data-state", "live")
    assert page.evaluate(LINES) == numbered(1, 90)


def test_where_streams_do_not_get_through_the_page_polls(page: Page, visit: Callable[[], None], writer: Writer) -> None:
    page.route("**/stream?*", lambda route: route.fulfill(status=502, body="no streams here"))
    aside(writer.lines, numbered(1, 1500))
    visit()
    expect(page.locator("#job-connection")).to_have_attribute("data-state", "polling")
    aside(writer.lines, numbered(1501, 1600))
    expect_lines(page, 1600)
    aside(writer.end)
    expect(page.locator("#job-connection")).to_have_attribute("data-state", "ended")
    assert page.evaluate(LINES) == numbered(1, 1600)


def test_a_job_that_is_resumed_comes_to_life_on_the_open_page(page: Page, visit: Callable[[], None], job: Job, writer: Writer) -> None:
    page.clock.install()
    aside(writer.lines, numbered(1, 5))
    aside(writer.end, "failed")
    visit()
    expect(page.locator("#job-connection")).to_have_attribute("data-state", "ended")
    aside(lambda: Job.objects.filter(pk=job.pk).update(status="running"))
    aside(writer.lines, numbered(6, 9))
    page.clock.fast_forward(16_000)
    expect(page.locator("#job-connection")).to_have_attribute("data-state", "live")
    expect(page.locator("#job")).to_have_attribute("data-status", "running")
    page.clock.fast_forward(1000)
    assert page.evaluate(LINES) == numbered(1, 9)


def test_who_may_no_longer_look_is_told_so(page: Page, visit: Callable[[int], None], valkey: Valkey, session: str) -> None:
    with Web(valkey.url, PGREPLICA_DEBUG="1", PGREPLICA_STREAM_HEARTBEAT_SECONDS="0.2") as web:
        visit(web.port)
        expect(page.locator("#job-connection")).to_have_attribute("data-state", "live")
        aside(Session.objects.filter(pk=session).delete)
        expect(page.locator("#job-connection")).to_have_attribute("data-state", "refused")
    expect(page.locator("#job-connection")).to_have_text("You may no longer see this job. Sign in again, or ask an administrator.")
