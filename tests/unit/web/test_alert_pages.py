"""Alerts on pages, in the API and by command: shown, kept quiet, made stricter; channels whose address never comes out again."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from clusters.models import Cluster, Monitor
from tasks.alerting.selectors import PAGE
from tasks.models import Alert, AlertChannel, AlertRule, AuditEntry, Notification, Pulse, Silence
from tasks.pulses import Part, pulse_felt
from tests.factories import AlertFactory, ChannelFactory, SilenceFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, post, queries_of, text_of

pytestmark = pytest.mark.django_db

SECRET = "t0k3n-nobody-sees"
ADDRESS = f"jsons://panel:{SECRET}@hooks.example.com/{SECRET}"
SignedIn = Callable[[str], Client]


@pytest.fixture
def orders() -> Cluster:
    now = timezone.now()
    Monitor.objects.create(pk=1, lease_until=now + dt.timedelta(minutes=1), beat_at=now, interval=5.0)
    pulse_felt(Part.ALERTER)
    return cluster_with_standbys("orders")


# -- what is wrong


def it_says_that_nothing_is_wrong_and_who_looks(orders: Cluster, get: Get) -> None:
    assert "2 instances are watched" in text_of(get("vera", "/alerts/"))
    assert "Nothing is wrong that the panel knows of." in text_of(get("vera", "/alerts/"))
    Monitor.objects.update(lease_until=None)
    page = text_of(get("vera", "/alerts/"))
    assert "No monitor watches" in page
    assert "Nothing is wrong" not in page


def it_says_that_nobody_is_told_while_no_alerter_runs(orders: Cluster, get: Get) -> None:
    for address in ("/alerts/", "/admin/"):
        assert "No alerter runs" not in text_of(get("vera", address))
    Pulse.objects.update(at=timezone.now() - dt.timedelta(seconds=31))
    for address in ("/alerts/", "/admin/"):
        page = text_of(get("vera", address))
        assert "No alerter runs" in page
        assert "Nothing is wrong" not in page


def it_shows_open_alerts_the_gravest_first_where_one_looks(orders: Cluster, get: Get) -> None:
    AlertFactory(cluster=orders, sentence="orders-2 <b>gives</b> no answer.", value="3", threshold="1")
    AlertFactory(cluster=orders, condition="primary_down", severity="critical", instance_name="orders-1", sentence="orders-1 is gone.")
    AlertFactory(cluster=orders, raised_at=None, sentence="It is held.")
    AlertFactory(cluster=orders, ended_at=timezone.now(), sentence="It is over.")
    for address in ("/alerts/", "/clusters/orders/"):
        html = get("vera", address)
        page = text_of(html)
        assert page.index("orders-1 is gone.") < page.index("orders-2 <b>gives</b> no answer.")
        assert "&lt;b&gt;gives" in html
        assert "It is held." not in page
        assert "It is over." not in page
    assert "Found: 3 · limit: 1" in text_of(get("vera", "/alerts/"))
    fleet = text_of(get("vera", "/admin/"))
    assert "1 critical alert is open. 1 warning is open." in fleet
    assert "It is over." in text_of(get("vera", "/alerts/history/"))
    assert "It is over." not in text_of(get("vera", "/alerts/history/?severity=critical"))
    assert "There was no such alert." in text_of(get("vera", "/alerts/history/?cluster=other%00"))


def it_asks_the_same_number_of_questions_for_many_alerts(orders: Cluster, signed_in: SignedIn) -> None:
    AlertFactory(cluster=orders)
    few = {address: len(queries_of(signed_in("vera"), address)) for address in ("/alerts/", "/alerts/history/", "/admin/")}
    for _number in range(30):
        AlertFactory(cluster=orders)
    assert {address: len(queries_of(signed_in("vera"), address)) for address in few} == few


def it_turns_the_page_when_much_is_wrong(orders: Cluster, get: Get) -> None:
    AlertFactory.create_batch(PAGE, cluster=orders, sentence="It is a warning.")
    AlertFactory(cluster=orders, severity="critical", sentence="It is critical.")
    first, second = (text_of(get("vera", f"/alerts/?page={number}")) for number in (1, 2))
    assert "51 open alerts" in first
    assert "It is critical." in first
    assert "Page 1 of 2" in first
    assert (second.count("It is a warning."), "It is critical." in second) == (1, False)


def it_keeps_the_history_of_a_cluster_that_is_gone(orders: Cluster, get: Get) -> None:
    AlertFactory(cluster=orders, ended_at=timezone.now())
    assert 'href="/clusters/orders/"' in get("vera", "/alerts/history/")
    Alert.objects.update(cluster=None)
    page = get("vera", "/alerts/history/?cluster=orders")
    assert "orders/node2 · standby down" in text_of(page)
    assert 'href="/clusters/orders/"' not in page


# -- silences


def it_keeps_quiet_what_is_asked_for_and_ends_it(orders: Cluster, signed_in: SignedIn, get: Get) -> None:
    AlertFactory(cluster=orders)
    assert "/alerts/silences/add/?condition=standby_down&amp;cluster=orders" in get("olga", "/alerts/")
    assert "/alerts/silences/add/?" not in get("vera", "/alerts/")
    assert '<option value="orders" selected>' in get("olga", "/alerts/silences/add/?cluster=orders")
    answer = post(signed_in("olga"), "/alerts/silences/add/", {"cluster": "orders", "lasts": "4h", "weekly": "no", "reason": "New disks."})
    assert answer.status_code == 302
    row = Silence.objects.get()
    assert (row.cluster, row.condition, row.ends_at - row.starts_at, row.made_by) == (orders, "", dt.timedelta(hours=4), "olga")
    assert "silenced" in text_of(get("vera", "/alerts/"))
    assert post(signed_in("olga"), f"/alerts/silences/{row.pk}/end/").status_code == 302
    assert "silenced" not in text_of(get("vera", "/alerts/"))
    assert "Nothing is kept quiet." in text_of(get("vera", "/alerts/silences/"))
    made, ended = AuditEntry.objects.order_by("number")
    assert [made.action, ended.action, made.reason, made.cluster_name] == ["silence_make", "silence_end", "New disks.", "orders"]
    assert post(signed_in("olga"), f"/alerts/silences/{row.pk}/end/").status_code == 302
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("data", "field", "sentence"),
    [
        ({"reason": ""}, "reason", "this is missing. Fill it in."),
        ({"reason": " \n "}, "reason", "this is missing. Fill it in."),
        ({"reason": "y" * 501}, "reason", "it has 501 characters. Say it in at most 500."),
        ({"lasts": "1e9h"}, "lasts", "write how long as a number"),
        ({"lasts": "93d"}, "lasts", "at most 92d"),
        ({"lasts": "1w", "weekly": "yes"}, "lasts", "less than a week"),
        ({"cluster": "a;id"}, "cluster", "cluster"),
        ({"cluster": "absent"}, "cluster", "There is no cluster of this name"),
        ({"condition": "$(id)"}, "condition", "choose one of"),
        ({"starts_at": "yesterday"}, "starts_at", "write a time with its offset"),
        ({"weekly": "perhaps"}, "weekly", "write yes or no"),
    ],
)
def it_refuses_a_silence_by_its_field(orders: Cluster, bearer: Any, data: dict[str, Any], field: str, sentence: str) -> None:
    answer = bearer("olga").post("/api/v1/silences", {"reason": "x", **data}, content_type="application/json")
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["fields"][field][0]
    assert not Silence.objects.exists()


def it_plans_a_window_ahead_for_every_week(bearer: Any) -> None:
    start = timezone.now() + dt.timedelta(days=1)
    body = {"starts_at": start.isoformat(), "lasts": "2h", "weekly": "yes", "reason": "Every Saturday."}
    client = bearer("olga")
    answer = client.post("/api/v1/silences", body, content_type="application/json")
    assert answer.status_code == 201
    assert (answer.json()["weekly"], answer.json()["in_force_until"], answer.json()["past"]) == (True, None, False)
    assert client.post(f"/api/v1/silences/{answer.json()['id']}/end").json() == []
    assert not Silence.objects.exists(), "it had not begun"


def it_shows_when_a_weekly_window_comes_next(get: Get, bearer: Any) -> None:
    begin = (timezone.now() - dt.timedelta(days=70, hours=3)).replace(microsecond=0)
    SilenceFactory(starts_at=begin, ends_at=begin + dt.timedelta(hours=1), weekly=True, reason="Every week.")
    SilenceFactory(reason="Now.")
    first, second = bearer("vera").get("/api/v1/silences").json()
    assert (first["reason"], second["reason"]) == ("Now.", "Every week.")
    following = begin + dt.timedelta(days=77)
    assert dt.datetime.fromisoformat(second["window_begins_at"]) == following
    assert dt.datetime.fromisoformat(second["window_ends_at"]) == following + dt.timedelta(hours=1)
    page = text_of(get("vera", "/alerts/silences/"))
    assert f"{following:%Y-%m-%d %H:%M} UTC" in page
    assert f"{begin:%Y-%m-%d}" not in page


# -- rules


def it_changes_a_rule_and_takes_the_change_back(signed_in: SignedIn, get: Get) -> None:
    assert "lag in seconds" in text_of(get("vera", "/alerts/rules/"))
    data = {"enabled": "yes", "severity": "critical", "hold_seconds": "5", "threshold": "30"}
    assert post(signed_in("adam"), "/alerts/rules/lag_seconds/", data).status_code == 302
    row = AlertRule.objects.get()
    assert (row.condition, row.severity, row.hold_seconds, row.threshold) == ("lag_seconds", "critical", 5, 30.0)
    assert AuditEntry.objects.get().details == {"severity": ["warning", "critical"], "hold_seconds": [60, 5], "threshold": ["60", "30"]}
    assert "changed" in text_of(get("vera", "/alerts/rules/"))
    assert post(signed_in("adam"), "/alerts/rules/lag_seconds/", {"reset": "yes"}).status_code == 302
    assert not AlertRule.objects.exists()
    undone = AuditEntry.objects.get(action="alert_rule_reset")
    assert (undone.target, undone.details["threshold"]) == ("lag_seconds", ["30", "60"])
    assert signed_in("adam").get("/alerts/rules/absent/").status_code == 404


def it_says_that_a_rule_was_changed_only_while_it_is_another(bearer: Any) -> None:
    client = bearer("adam")

    def changed(**data: Any) -> list[tuple[str, float]]:
        """Of lag_bytes, which comes with 1024 MiB: what is kept after this was sent."""
        answer = client.patch("/api/v1/alert-rules/lag_bytes", data, content_type="application/json")
        assert answer.status_code == 200
        kept = list(AlertRule.objects.values_list("condition", "threshold"))
        assert [rule["condition"] for rule in answer.json() if rule["changed"]] == [name for name, _threshold in kept]
        return kept

    assert changed() == changed(threshold="1024") == []
    assert not AuditEntry.objects.filter(action__startswith="alert_rule").exists()
    assert changed(threshold=12.5) == [("lag_bytes", 12.5)]
    assert changed(threshold=1024, hold_seconds=60) == []
    assert [entry.details for entry in AuditEntry.objects.filter(action="alert_rule_change").order_by("number")] == [
        {"threshold": ["1024", "12.5"]},
        {"threshold": ["12.5", "1024"]},
    ]


@pytest.mark.parametrize(
    ("condition", "data", "field"),
    [
        ("lag_seconds", {"threshold": "-1"}, "threshold"),
        ("lag_seconds", {"threshold": "1e9"}, "threshold"),
        ("lag_seconds", {"threshold": "nan"}, "threshold"),
        ("lag_seconds", {"threshold": True}, "threshold"),
        ("lag_bytes", {"threshold": 1e-9}, "threshold"),
        ("lag_bytes", {"threshold": 2_000_000_000}, "threshold"),
        ("disk_full", {"threshold": "100.5"}, "threshold"),
        ("lag_seconds", {"hold_seconds": "90000"}, "hold_seconds"),
        ("lag_seconds", {"severity": "fatal"}, "severity"),
        ("primary_down", {"threshold": "3"}, "threshold"),
    ],
)
def it_refuses_a_rule_by_its_field(bearer: Any, condition: str, data: dict[str, Any], field: str) -> None:
    client = bearer("adam")
    answer = client.patch(f"/api/v1/alert-rules/{condition}", data, content_type="application/json")
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (422, [field])
    assert not AlertRule.objects.exists()
    assert client.patch("/api/v1/alert-rules/absent", {}, content_type="application/json").status_code == 404


# -- channels

CHANNEL = {
    "name": "chat",
    "address": ADDRESS,
    "enabled": "yes",
    "least": "critical",
    "clusters": "orders",
    "language": "en",
    "remind_minutes": "60",
}


def outputs(get: Get, bearer: Any) -> str:
    pages = [get("adam", address) for address in ("/alerts/channels/", "/alerts/channels/chat/", "/admin/tasks/auditentry/")]
    told = io.StringIO()
    call_command("alert", "channels", "--json", stdout=told)
    return " ".join([*pages, told.getvalue(), bearer("adam").get("/api/v1/alert-channels").content.decode()])


def it_makes_a_channel_whose_address_never_comes_out(orders: Cluster, signed_in: SignedIn, get: Get, bearer: Any) -> None:
    assert "told to nobody" in text_of(get("adam", "/alerts/channels/"))
    wrong = post(signed_in("adam"), "/alerts/channels/add/", {**CHANNEL, "least": "x"})
    assert wrong.status_code == 200
    assert SECRET not in wrong.content.decode()
    assert post(signed_in("adam"), "/alerts/channels/add/", CHANNEL).headers["Location"] == "/alerts/channels/chat/"
    row = AlertChannel.objects.get()
    assert (row.service, row.address.reveal(), row.least, row.remind_minutes) == ("jsons", ADDRESS, "critical", 60)
    assert row.clusters == ["orders"]
    assert post(signed_in("adam"), "/alerts/channels/chat/", {**CHANNEL, "address": "", "least": "warning"}).status_code == 302
    row.refresh_from_db()
    assert (row.address.reveal(), row.least) == (ADDRESS, "warning")
    Cluster.objects.filter(pk=orders.pk).update(name="other")
    assert post(signed_in("adam"), "/alerts/channels/chat/", {**CHANNEL, "address": ""}).status_code == 302
    assert AlertChannel.objects.get().clusters == ["orders"], "it is not for all of them now"
    other = ADDRESS.replace("hooks", "other")
    assert post(signed_in("adam"), "/alerts/channels/chat/", {**CHANNEL, "address": other}).status_code == 302
    assert AlertChannel.objects.get().address.reveal() == other
    assert [entry.action for entry in AuditEntry.objects.order_by("number")] == [
        "alert_channel_add", "alert_channel_change", "alert_channel_change", "alert_channel_change",
    ]  # fmt: skip
    shown = outputs(get, bearer) + json.dumps([entry.details for entry in AuditEntry.objects.all()])
    assert SECRET not in shown
    assert "example.com" not in shown


@pytest.mark.parametrize(
    ("data", "field", "sentence"),
    [
        ({"address": "file:///etc/passwd"}, "address", "no address that Apprise understands"),
        ({"address": "syslog://"}, "address", "write an Apprise address"),
        ({"address": "jsons://h/\r\nX: y"}, "address", "write an Apprise address"),
        ({"address": "jsons://" + "x" * 3000}, "address", "at most 2000 characters"),
        ({"address": f"{ADDRESS}?verify=no"}, "address", "Certificates must be checked"),
        ({"name": "../x"}, "name", "name"),
        ({"name": "taken"}, "name", "There is a channel of this name already"),
        ({"clusters": "absent"}, "clusters", "There is no cluster of this name: absent"),
        ({"language": "xx"}, "language", "choose one of"),
        ({"remind_minutes": "-5"}, "remind_minutes", "write a whole number of minutes"),
    ],
)
def it_refuses_a_channel_by_its_field(orders: Cluster, bearer: Any, data: dict[str, str], field: str, sentence: str) -> None:
    ChannelFactory(name="taken")
    answer = bearer("adam").post("/api/v1/alert-channels", {**CHANNEL, "clusters": [], **data}, content_type="application/json")
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["fields"][field][0]
    assert SECRET not in answer.content.decode()
    assert AlertChannel.objects.count() == 1


def it_sends_tests_but_not_too_many_and_says_how_they_went(signed_in: SignedIn, get: Get, bearer: Any) -> None:
    channel = ChannelFactory(name="chat")
    browser = signed_in("adam")
    for _number in range(6):
        assert post(browser, "/alerts/channels/chat/test/").status_code == 302
    assert Notification.objects.filter(event="test", requested_by="adam").count() == 5
    assert "Wait a little." in browser.get("/alerts/channels/chat/").content.decode()
    Notification.objects.update(given_up_at=timezone.now(), failure="The service did not take it: error=401")
    AlertChannel.objects.update(failure="The service did not take it: error=401", tried_at=timezone.now())
    assert "given up The service did not take it: error=401" in text_of(get("adam", "/alerts/channels/chat/"))
    assert bearer("adam").get("/api/v1/alert-channels").json()[0]["failure"] == "The service did not take it: error=401"
    assert post(signed_in("adam"), "/alerts/channels/chat/remove/").status_code == 302
    assert not AlertChannel.objects.filter(pk=channel.pk).exists()
    assert signed_in("adam").get("/alerts/channels/chat/").status_code == 404


# -- by command and API


def said(*words: str) -> Any:
    out = io.StringIO()
    call_command("alert", *words, "--json", stdout=out)
    return json.loads(out.getvalue())


def it_does_the_same_by_command(orders: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    alert: Alert = AlertFactory(cluster=orders)
    SilenceFactory(ends_at=timezone.now() - dt.timedelta(seconds=1), starts_at=timezone.now() - dt.timedelta(hours=1))
    assert [row["id"] for row in said("list")] == [alert.pk]
    assert said("list", "--cluster", "other") == []
    made = said("silence", "--cluster", "orders", "--for", "2h", "--reason", "x")
    assert [row["id"] for row in said("silences")] == [made["id"]]
    assert said("list")[0]["silenced_until"] is not None
    said("unsilence", str(made["id"]))
    assert said("silences") == []
    rule = said("rule", "lag_bytes", "--threshold", "12.5")
    assert (rule["threshold"], rule["changed"]) == (12.5, True)
    assert said("rule", "lag_bytes", "--reset")["changed"] is False
    assert len(said("rules")) == 26
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{ADDRESS}\n"))
    assert said("channel-add", "chat", "--cluster", "orders")["service"] == "jsons"
    assert said("channel-change", "chat", "--enabled", "no")["enabled"] is False
    assert SECRET not in json.dumps(said("channel-test", "chat"))
    said("channel-remove", "chat")
    assert said("channels") == []


def it_pages_alerts_by_their_number(orders: Cluster, bearer: Any) -> None:
    rows = [AlertFactory(cluster=orders, severity="critical" if number else "warning") for number in range(3)]
    client = bearer("vera")
    first = client.get("/api/v1/alerts?limit=2").json()
    assert [row["id"] for row in first] == [rows[2].pk, rows[1].pk]
    assert [row["id"] for row in client.get(f"/api/v1/alerts?before={rows[1].pk}").json()] == [rows[0].pk]
    assert len(client.get("/api/v1/alerts?severity=critical").json()) == 2
    assert client.get(f"/api/v1/alerts/{rows[0].pk}").json()["label"] == "standby down"
    assert client.get("/api/v1/alerts/999999").status_code == 404
    Alert.objects.update(ended_at=timezone.now())
    assert client.get("/api/v1/alerts").json() == []
    assert len(client.get("/api/v1/alerts?state=all").json()) == 3
