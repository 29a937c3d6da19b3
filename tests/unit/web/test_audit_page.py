"""The audit trail's list: filtered, given out, verified."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pgtrigger
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import call_command
from django.test import Client

from tasks.audit import audit_append
from tasks.models import AuditEntry
from tests.unit.web.conftest import Get, text_of

pytestmark = pytest.mark.django_db
LIST = "/admin/tasks/auditentry/"
UNPROTECTED = "tasks.AuditEntry:append_only"


@pytest.fixture
def trail() -> list[AuditEntry]:
    given = [
        ("olga", "switchover", "opened", "orders", "=cmd()"),
        ("olga", "switchover", "closed", "orders", ""),
        ("adam", "rejoin", "opened", "billing", "It is back"),
        ("adam", "token_create", "single", "", ""),
    ]
    return [
        audit_append(actor=actor, source="web", action=action, phase=phase, cluster_name=cluster, reason=reason, details={"gap": 140})
        for actor, action, phase, cluster, reason in given
    ]


@pytest.fixture(autouse=True)
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reader threads would not see the rows of this test's transaction. Pages of two, so that there are several."""
    monkeypatch.setattr("tasks.trail.read", lambda function, *args: sync_to_async(function)(*args))
    monkeypatch.setattr("tasks.trail.PAGE", 2)


def read_out(answer: Any) -> str:
    async def parts() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(parts)().decode()


def numbers(page: str) -> list[int]:
    """Those of the entries in the list."""
    return sorted(int(number) for number in re.findall(r"/admin/tasks/auditentry/\d+/change/[^>]*>(\d+)<", page))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [1, 2, 3, 4]),
        ("cluster=orders", [1, 2]),
        ("cluster=", [1, 2, 3, 4]),
        ("actor=adam", [3, 4]),
        ("action=rejoin", [3]),
        ("phase=opened", [1, 3]),
        ("phase=opened&actor=olga&cluster=orders", [1]),
        ("q=back", [3]),
        ("cluster=%00", [1, 2, 3, 4]),
    ],
)
def it_is_filtered(get: Get, trail: list[AuditEntry], query: str, found: list[int]) -> None:
    assert numbers(get("vera", f"{LIST}?{query}")) == found


def it_is_filtered_by_days_to_the_end_of_the_last_one(get: Get, trail: list[AuditEntry]) -> None:
    today = datetime.now(UTC).date()
    day = timedelta(days=1)
    assert numbers(get("vera", f"{LIST}?at_from={today}&at_to={today}")) == [1, 2, 3, 4]
    assert numbers(get("vera", f"{LIST}?at_from={today + day}")) == []
    assert numbers(get("vera", f"{LIST}?at_to={today - day}")) == []
    assert numbers(get("vera", f"{LIST}?at_from=nonsense")) == [1, 2, 3, 4]


def it_gives_out_what_the_list_shows(get: Get, signed_in: Callable[[str], Client], trail: list[AuditEntry]) -> None:
    page = get("vera", f"{LIST}?cluster=orders&phase=opened&at_from={datetime.now(UTC).date()}")
    addresses = [address.replace("&amp;", "&") for address in re.findall(r'href="(/api/v1/audit/export[^"]*)"', page)]
    lines, table = (read_out(signed_in("vera").get(address)) for address in addresses)
    entry = json.loads(lines)
    assert (entry["number"], entry["details"], entry["hash"]) == (1, {"gap": 140}, trail[0].hash)
    assert entry["at"] == trail[0].at.isoformat(timespec="microseconds")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["number"], row["reason"], row["details"]) for row in rows] == [("1", "'=cmd()", '{"gap": 140}')]
    assert signed_in("otto").get(addresses[0]).status_code == 403


def it_is_given_out_whole_and_in_order(bearer: Callable[..., Client], trail: list[AuditEntry], capsys: pytest.CaptureFixture[str]) -> None:
    answer = bearer("vera", "read").get("/api/v1/audit/export")
    assert answer["Content-Type"] == "application/jsonl; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="audit.jsonl"'
    whole = read_out(answer)
    assert [json.loads(line)["number"] for line in whole.splitlines()] == [1, 2, 3, 4, 5]  # the token of this test too
    call_command("audit", "export")
    assert capsys.readouterr().out == whole
    call_command("audit", "export", "--format", "csv", "--actor", "adam", "--since", "2026-01-01", "--until", "2999-01-01T00:00+00:00")
    assert [row["number"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == ["3", "4"]


def it_is_verified_on_request(get: Get, trail: list[AuditEntry]) -> None:
    assert 'href="/audit/verify/"' in get("vera", LIST)
    page = text_of(get("vera", "/audit/verify/"))
    assert "The trail holds: 4 entries" in page
    assert trail[-1].hash in page
    with pgtrigger.ignore(UNPROTECTED):
        AuditEntry.objects.filter(number=3).update(reason="mallory")
    page = text_of(get("vera", "/audit/verify/"))
    assert "The trail does not hold from entry 3 on." in page
    assert "Entry 3 was changed after it was written." in page
