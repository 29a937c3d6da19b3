"""What waits is sent once, together, not too often, and tried again; to real servers on loopback."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from clusters.secrets import Secret
from tasks.alerting import delivery_services, sender
from tasks.alerting.delivery_process import fitted
from tasks.alerting.delivery_services import Answer, address_check, deliver
from tasks.alerting.messages import Message
from tasks.alerting.sender import Sender, notifications_prune
from tasks.models import AlertChannel, Notification
from tests.factories import AlertFactory, ChannelFactory
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db

SECRET = "s3cr3t-t0ken"
MESSAGE = Message("title", ["body"], ["", ""])


@dataclass
class Hook:
    """A web hook on loopback: answers with the statuses it is given, then with 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    hang: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False

    def address(self, path: str = SECRET) -> Secret:
        return Secret(f"json://127.0.0.1:{self.port}/{path}")


@pytest.fixture
def hook() -> Iterator[Hook]:
    here = Hook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if here.hangs:
                here.hang.wait(30)
            status = here.statuses.pop(0) if here.statuses else 200
            self.send_response(status)
            if here.location:
                self.send_header("Location", here.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if status == 200:
                here.got.append(json.loads(body))

        def log_message(self, *_words: object) -> None:
            """Not into the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield here
        here.hang.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def loopback(settings: Settings) -> None:
    settings.ALERT_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def channel(hook: Hook, loopback: None) -> AlertChannel:
    found: AlertChannel = ChannelFactory(name="hook", address=hook.address())
    return found


def send_waiting() -> int:
    """One step, and what it has begun to its end. How many messages went out."""
    sending = Sender()
    return sending.step() + sending.finish(30)


def put(channel: AlertChannel, event: str = "begin", **of: Any) -> Notification:
    return Notification.objects.create(channel=channel, alert=AlertFactory(**of), event=event, next_at=timezone.now())


def test_one_is_told_with_sentence_cure_and_link(channel: AlertChannel, hook: Hook, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://panel.example.com"
    row = put(channel, cluster__name="orders", severity="critical", value="3", threshold="1")
    assert send_waiting() == 1
    (got,) = hook.got
    assert got["title"] == "[critical] orders/node2: standby down"
    assert got["message"].splitlines()[1:4] == [
        "node2 gives no answer.",
        "See whether its server is up, and what its log says; start it if nobody stopped it on purpose.",
        "Value: 3, limit: 1.",
    ]
    assert got["message"].endswith("\nhttps://panel.example.com/clusters/orders/")
    row.refresh_from_db()
    channel.refresh_from_db()
    assert (row.attempts, row.failure, row.claimed_until) == (1, "", None)
    assert row.sent_at == channel.delivered_at == channel.tried_at
    assert send_waiting() == 0
    assert len(hook.got) == 1


def test_several_go_in_one_message_the_gravest_first(channel: AlertChannel, hook: Hook) -> None:
    for _number in range(22):
        put(channel)
    put(channel, "end", ended_at=timezone.now())
    put(channel, severity="critical", condition="primary_down")
    assert send_waiting() == 1
    (got,) = hook.got
    assert got["title"] == "23 alerts, 1 over"
    assert got["message"].startswith("[critical] ")
    assert got["message"].endswith("And 4 more.")


def test_a_failure_is_tried_again_later_and_tells_nothing_of_the_address(channel: AlertChannel, hook: Hook) -> None:
    hook.statuses = [500]
    row = put(channel)
    assert send_waiting() == 0
    row.refresh_from_db()
    channel.refresh_from_db()
    assert row.failure == channel.failure
    assert row.failure.startswith("The service did not take it: ")
    assert "500" in row.failure
    assert SECRET not in row.failure
    assert "127" not in row.failure
    assert dt.timedelta(seconds=5) < row.next_at - timezone.now() <= dt.timedelta(seconds=30)
    assert send_waiting() == 0, "it waits"
    Notification.objects.update(next_at=timezone.now())
    assert send_waiting() == 1
    channel.refresh_from_db()
    assert channel.failure == ""


def test_what_fails_for_a_day_is_given_up_and_a_test_at_once(channel: AlertChannel, hook: Hook) -> None:
    hook.statuses = [500, 500]
    row = put(channel)
    Notification.objects.update(made_at=timezone.now() - dt.timedelta(hours=25))
    send_waiting()
    row.refresh_from_db()
    assert row.given_up_at is not None
    test = Notification.objects.create(channel=channel, event="test", requested_by="olga", next_at=timezone.now())
    send_waiting()
    test.refresh_from_db()
    assert test.given_up_at is not None
    assert "500" in test.failure


def test_a_channel_that_is_switched_off_sends_tests_alone(channel: AlertChannel, hook: Hook) -> None:
    AlertChannel.objects.update(enabled=False)
    put(channel)
    assert send_waiting() == 0
    Notification.objects.create(channel=channel, event="test", requested_by="olga", next_at=timezone.now())
    assert send_waiting() == 1
    (got,) = hook.got
    assert (got["title"], got["message"]) == ("Test from pgreplica-admin", "This channel works. olga has asked for this test.")


def test_a_message_is_in_the_language_of_its_channel(channel: AlertChannel, hook: Hook) -> None:
    AlertChannel.objects.update(language="pt-br")
    Notification.objects.create(channel=channel, event="test", next_at=timezone.now())
    send_waiting()
    assert hook.got[0]["title"] == "Teste do pgreplica-admin"


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Deliveries that succeed at once; the titles of their messages."""
    titles: list[str] = []

    def at_once(_address: Secret, message: Message) -> Answer:
        titles.append(message.title)
        return Answer("json", "")

    monkeypatch.setattr(sender, "deliver", at_once)
    return titles


def test_no_channel_gets_too_many_messages(channel: AlertChannel, delivered: list[str]) -> None:
    for _number in range(12):
        put(channel)
        send_waiting()
    assert len(delivered) == 10
    Notification.objects.filter(sent_at__isnull=False).update(sent_at=timezone.now() - dt.timedelta(minutes=11))
    send_waiting()
    assert delivered[10] == "2 alerts"


def test_two_workers_send_it_once_and_what_a_killed_one_left_is_sent_later(channel: AlertChannel, delivered: list[str]) -> None:
    row = put(channel)
    taken = sender._claim(channel, timezone.now())
    assert taken is not None
    assert send_waiting() == 0
    Notification.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    assert send_waiting() == 1
    row.refresh_from_db()
    assert row.attempts == 2


def test_nobody_sends_through_a_channel_that_somebody_is_sending_through(channel: AlertChannel, delivered: list[str]) -> None:
    put(channel)
    assert sender._claim(channel, timezone.now()) is not None
    put(channel)
    assert send_waiting() == 0
    Notification.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    assert send_waiting() == 1
    assert delivered == ["2 alerts"]


def test_a_service_that_hangs_keeps_only_its_own_channel_waiting(channel: AlertChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, well_again, asked = ChannelFactory(name="hung", address=Secret("json://hung")), threading.Event(), []

    def deliver(address: Secret, _message: Message) -> Answer:
        asked.append(address.reveal())
        if address.reveal() == "json://hung":
            well_again.wait(30)
        return Answer("json", "")

    monkeypatch.setattr(sender, "deliver", deliver)
    sending = Sender()
    put(hung)
    assert sending.step() == 0
    put(channel)
    put(hung)
    sending.step()
    wait_until(lambda: len(asked) == 2, "the other one is not waiting", 5)
    wait_until(lambda: Notification.objects.filter(channel=channel, sent_at=None).count() == 0 or sending.step() == 1, "it is sent", 5)
    assert Notification.objects.filter(channel=hung, sent_at=None).count() == 2
    assert asked.count("json://hung") == 1
    well_again.set()
    assert sending.finish(30) == 1
    sending.step()
    assert sending.finish(30) == 1, "what came meanwhile"
    assert Notification.objects.filter(sent_at=None).count() == 0


def test_what_was_sent_is_put_down_as_soon_as_the_database_is_back(
    channel: AlertChannel, delivered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(channel)
    sending = Sender()
    sending.step()
    with monkeypatch.context() as gone:
        gone.setattr(sender, "_put_down", gone_away)
        with pytest.raises(OperationalError):
            sending.finish(30)
    assert sending.step() == 1
    assert sending.step() == 0
    assert len(delivered) == 1


def test_what_waited_for_a_day_while_its_channel_was_off_is_news_no_more(channel: AlertChannel, delivered: list[str]) -> None:
    put(channel)
    Notification.objects.update(made_at=timezone.now() - dt.timedelta(days=2))
    assert send_waiting() == 0
    assert Notification.objects.get().given_up_at is not None
    put(channel)
    assert send_waiting() == 1


def test_a_clock_that_was_set_back_keeps_no_channel_closed(channel: AlertChannel, delivered: list[str]) -> None:
    later = timezone.now() + dt.timedelta(hours=3)
    for number in range(10):
        put(channel)
        Notification.objects.filter(sent_at=None).update(sent_at=later + dt.timedelta(seconds=number))
    put(channel)
    Notification.objects.filter(sent_at=None).update(claimed_until=later)
    assert send_waiting() == 1


@pytest.mark.parametrize(("most", "expected"), [(100, "aa\n\nbb\n\nrest 0"), (12, "aa\n\nrest 1"), (6, "aa\n\nrest 1"[:2]), (1, "aa")])
def test_a_service_gets_as_many_as_it_takes(most: int, expected: str) -> None:
    assert fitted(["aa", "bb"], ["rest 2", "rest 1", "rest 0"], most) == expected


def test_what_a_server_says_rings_nobody(channel: AlertChannel, hook: Hook) -> None:
    put(channel, sentence="node2 gives no answer: @everyone <!here> a@example.com")
    send_waiting()
    assert "@\u200beveryone <!\u200bhere> a@example.com" in hook.got[0]["message"]


def gone_away(*_what: object) -> None:
    raise OperationalError("the connection is closed")


def test_a_channel_whose_address_cannot_be_read_keeps_no_other_one(
    channel: AlertChannel, delivered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ChannelFactory(name="broken")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tasks_alertchannel SET address = 'gAAAAx' WHERE name = 'broken'")
    put(channel)
    put(broken)
    assert send_waiting() == 1
    broken = AlertChannel.objects.defer("address").get(name="broken")
    assert broken.failure.startswith("A stored secret cannot be decrypted")


def test_a_message_that_cannot_be_made_keeps_no_other_one_and_makes_none_come_twice(
    channel: AlertChannel, delivered: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poisoned = ChannelFactory(name="poisoned", language="pt-br")
    real = sender.message_of

    def message_of(rows: Any, language: str) -> Message:
        if language == "pt-br":
            raise ValueError("poison")
        return real(rows, language)

    monkeypatch.setattr(sender, "message_of", message_of)
    put(poisoned)
    put(channel)
    assert send_waiting() == 1
    assert send_waiting() == 0
    poisoned.refresh_from_db()
    assert poisoned.failure == "The panel could not make or hand over this message. Its log says why."
    assert "poison" in caplog.text


def test_old_notifications_are_forgotten(channel: AlertChannel, delivered: list[str]) -> None:
    put(channel)
    put(channel, ended_at=timezone.now())
    send_waiting()
    assert notifications_prune() == 0
    assert notifications_prune(timezone.now() + dt.timedelta(days=31)) == 1


# -- what a message may reach


def failure_of(address: str) -> str:
    return deliver(Secret(address), MESSAGE).failure


@pytest.mark.parametrize(
    "address",
    [
        "json://127.0.0.1:{port}/x", "json://127.1:{port}/x", "json://2130706433:{port}/x", "json://localhost:{port}/x",
        "json://[::1]:{port}/x", "json://[::ffff:127.0.0.1]:{port}/x", "json://user@127.0.0.1:{port}/x", "json://0.0.0.0:{port}/x",
        "json://0x7f.1:{port}/x",
    ],
)  # fmt: skip
def test_this_machine_is_not_reached_however_it_is_written(hook: Hook, address: str) -> None:
    failure = failure_of(address.format(port=hook.port))
    assert failure
    assert hook.got == []


def test_an_address_outside_the_internet_is_named_with_the_cure(hook: Hook) -> None:
    assert failure_of(f"json://127.0.0.1:{hook.port}/x") == (
        "127.0.0.1 would be sent to unencrypted. Use the encrypted form, or let PGREPLICA_ALERT_NETWORKS name its network."
    )
    assert failure_of(f"jsons://127.0.0.1:{hook.port}/x") == (
        "127.0.0.1 is not in the public Internet. If it is meant, let PGREPLICA_ALERT_NETWORKS name its network."
    )
    assert "PGREPLICA_ALERT_NETWORKS" in failure_of("mailto://user:pw@127.0.0.1:2525?from=a@example.com&to=b@example.com")


def test_a_redirect_leads_nowhere_else(hook: Hook, settings: Settings) -> None:
    settings.ALERT_NETWORKS = ["127.0.0.1/32"]
    hook.statuses, hook.location = [307], f"http://127.0.0.2:{hook.port}/metadata"
    failure = failure_of(hook.address().reveal())
    assert failure
    assert hook.got == []


def test_link_local_addresses_are_refused_even_where_they_are_allowed(settings: Settings) -> None:
    settings.ALERT_NETWORKS = ["169.254.0.0/16", "0.0.0.0/0"]
    assert failure_of("json://169.254.169.254/latest").startswith("169.254.169.254 ")


def test_who_hangs_costs_a_bounded_time(hook: Hook, loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_services, "SECONDS", 3.0)
    hook.hangs = True
    assert failure_of(hook.address().reveal()) == "There was no answer within 3 seconds."


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("syslog://", "This service is not among those"),
        ("file:///etc/passwd", "This is no address that Apprise understands"),
        ("gopher://127.0.0.1/x", "This is no address that Apprise understands"),
        ("dbus://", "This"),
        ("jsons://hooks.example.com/x?verify=no", "Certificates must be checked"),
        ("jsons://hooks.example.com/x?Template=/etc/passwd", "template in an address names a file"),
        ("mailtos://u:pw@smtp.example.com?mode=insecure&to=b@example.com", "This would send unencrypted."),
        ("slack://not-a-token", "This is no address that Apprise understands"),
    ],
)
def test_addresses_that_a_channel_may_not_have(address: str, sentence: str) -> None:
    assert address_check(Secret(address)).failure.startswith(sentence)


def test_every_service_is_one_that_apprise_knows() -> None:
    asked = "import json, apprise; print(json.dumps(sorted(apprise.plugins.N_MGR.schemas())))"
    listed = subprocess.run([sys.executable, "-I", "-c", asked], capture_output=True, text=True, check=True).stdout
    known = set(json.loads(listed))
    assert set(delivery_services.SERVICES) - known == set()
    assert set(delivery_services.INSECURE) <= set(delivery_services.SERVICES)
    assert address_check(Secret("mailtos://user:pw@example.com")) == Answer("mailtos", "")


def test_nothing_of_the_address_is_in_the_process_list(hook: Hook, loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real: Callable[..., Any] = delivery_services.subprocess.run

    def watched(argv: list[str], **options: Any) -> Any:
        seen.append((argv, options["env"]))
        return real(argv, **options)

    monkeypatch.setattr(delivery_services.subprocess, "run", watched)
    assert failure_of(hook.address().reveal()) == ""
    assert SECRET not in str(seen)
    assert set(seen[0][1]) <= {"HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
