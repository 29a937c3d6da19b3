"""What a finished change of the primary shows on its job's page and in its audit entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tasks.audit import audit_close
from tasks.models import AuditEntry, Job
from tasks.outcome import outcome_of
from tests.factories import JobFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, queries_of, text_of

SWITCHED: dict[str, Any] = {
    "cluster": "orders",
    "old_primary": "orders-1",
    "new_primary": "orders-2",
    "epoch": 2,
    "old_timeline": 1,
    "timeline": 2,
    "shutdown_lsn": "0/5000028",
    "proven_lsn": "0/50000A0",
    "write_gap_ms": 140,
    "write_gap_by": "canary",
    "canary_acknowledged": 812,
    "canary_lost": 0,
    "verdicts": {"orders-1": "ok", "orders-3": "failed"},
    "not_streaming": ["orders-3"],
}
FAILED_OVER: dict[str, Any] = {
    "old_primary": "orders-1",
    "new_primary": "orders-2",
    "epoch": 2,
    "old_timeline": 1,
    "timeline": 2,
    "promoted_lsn": "0/5000028",
    "fence": "none",
    "flags": ["possible_data_loss", "unfenced_primary"],
    "evidence": {"heard": [], "server_reachable": False, "server_runs": False},
    "loss_bound": {"bytes": 2048, "exact": False, "commits": None},
    "verdicts": {},
}
LOST: dict[str, Any] = {
    "from_lsn": "0/5000028", "to_lsn": "0/5000828", "timeline": 1, "bytes": 2048, "commits": 7, "xids": [741, 742],
    "first_commit": "2026-12-01 03:00:01", "last_commit": "2026-12-01 03:00:02", "relation_count": 120, "incomplete": "",
    "relations": [
        {"database": "orders", "relation": "public.invoice", "file": "1663/5/16384"},
        {"database": "orders", "relation": None, "file": "1/2/3"},
    ],
}  # fmt: skip


def rows(kind: str, result: dict[str, Any]) -> dict[str, str]:
    outcome = outcome_of(kind, result)
    return {fact.label: fact.value for fact in outcome.facts} if outcome else {}


def it_says_what_a_switchover_came_to() -> None:
    assert rows("switchover", SWITCHED) == {
        "Primary": "orders-1 → orders-2",
        "Timeline": "1 → 2",
        "Epoch": "2",
        "The old primary ended at": "0/5000028",
        "The new primary had replayed up to": "0/50000A0",
        "Nobody could write for": "140 ms (felt by a canary writer)",
        "Canary": "812 commits acknowledged = found, 0 lost",
        "Verdicts": "orders-1: replicating, orders-3: not replicating",
        "Not replicating yet": "orders-3",
    }


def it_shouts_about_a_lost_row_of_the_canary() -> None:
    outcome = outcome_of("switchover", {**SWITCHED, "canary_lost": 2})
    assert outcome
    assert [(fact.value, fact.tone) for fact in outcome.facts if fact.label == "Canary"] == [
        ("812 commits acknowledged, 2 of them LOST", "failed")
    ]


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        ({"bytes": 2048, "exact": False, "commits": None}, "at least 2.0 kB (2048) of WAL, and what came after the last look"),
        ({"bytes": 2048, "exact": True, "commits": 1, "xids": [741]}, "exactly 2.0 kB (2048) of WAL, 1 commit"),
        ({"bytes": 0, "exact": True, "commits": 0}, "nothing that was acknowledged"),
        ({"bytes": None, "exact": False, "commits": None}, "not known: nobody could tell how far the old primary had come"),
    ],
)
def it_says_what_a_failover_lost(bound: dict[str, Any], words: str) -> None:
    found = rows("failover", {**FAILED_OVER, "loss_bound": bound})
    assert found["Lost"] == words
    assert found["What keeps the old primary from writing"] == "nobody made sure of it"
    assert found["How it was found dead"] == "nobody heard it; its server did not answer"
    assert found["Flags"] == "possible_data_loss, unfenced_primary"


@pytest.mark.parametrize("kind", ["switchover", "failover", "promote", "rejoin", "verify"])
def it_says_nothing_of_a_job_that_never_came_so_far(kind: str) -> None:
    assert outcome_of(kind, {}) is None
    assert outcome_of(kind, {"obstacles": []}) is None


@pytest.mark.django_db
def it_leads_from_the_job_to_its_audit_entry_which_says_the_same(get: Get) -> None:
    job = finished("failover", FAILED_OVER)
    page = get("vera", f"/jobs/{job.pk}/")
    assert "Outcome Entry of the audit trail Primary orders-1 → orders-2" in text_of(page).replace("check_circle ", "")
    address = f"/admin/tasks/auditentry/{AuditEntry.objects.get().pk}/change/"
    assert f'href="{address}"' in page
    told = text_of(get("vera", address))
    assert "orders-1 → orders-2" in told
    assert "at least 2.0 kB (2048) of WAL" in told


@pytest.mark.django_db
def it_lists_the_lost_writes_of_a_rejoin(get: Get) -> None:
    job = finished("rejoin", {"way": "rewind", "upstream": "orders-2", "fork_lsn": "0/5000028", "fork_timeline": 1, "lost_writes": LOST})
    words = text_of(get("vera", f"/jobs/{job.pk}/"))
    assert "7 commits in 2.0 kB of WAL, from 0/5000028 to 0/5000828 on timeline 1." in words
    assert "Transactions: 741, 742" in words
    assert "public.invoice" in words
    assert "no longer known by name" in words
    assert "120 relations in all." in words


@pytest.mark.django_db
def it_gives_the_runbook_beside_the_plan(get: Get, signed_in: Callable[[str], Client]) -> None:
    job = finished("switchover", SWITCHED)
    Job.objects.update(plan=[{"step": "x", "title": "Promote", "items": []}])
    assert f'href="/jobs/{job.pk}/runbook.sh"' in get("vera", f"/jobs/{job.pk}/?view=plan")
    assert f"job #{job.pk}" in signed_in("vera").get(f"/jobs/{job.pk}/runbook.sh").content.decode()


@pytest.mark.django_db
def it_takes_no_more_queries_with_an_outcome(signed_in: Callable[[str], Client]) -> None:
    small, big = finished("failover", {}), finished("failover", FAILED_OVER, "billing")
    client = signed_in("vera")
    assert len(queries_of(client, f"/jobs/{small.pk}/")) == len(queries_of(client, f"/jobs/{big.pk}/"))


def finished(kind: str, result: dict[str, Any], cluster: str = "orders") -> Job:
    job: Job = JobFactory(kind=kind, status="done", cluster=cluster_with_standbys(cluster), result=result)
    audit_close(job, "done", summary="It is done.", result=result)
    return job
