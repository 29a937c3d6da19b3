"""The only writer of the audit trail: a chain of entries, each with the hash of the one before.

    hash = sha256(previous hash as text + canonical JSON of the entry's fields)

A decision that takes time is opened before the act and closed after it; what is over at once is single.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.db import connection, transaction

from tasks.actor import Actor
from tasks.models import AuditEntry, Job
from tasks.plan import canonical_json

GENESIS: Final = "0" * 64
LOCK: Final = 0x70677265_61756474  # "pgreaudt": the one advisory lock of the trail
FIELDS: Final = (
    "number", "at", "actor", "source", "action", "phase", "cluster_name", "target", "reason", "job_id", "plan_hash", "details",
)  # fmt: skip
CHUNK: Final = 5_000


@dataclass(frozen=True)
class Verified:
    """The whole trail holds: how many entries, and the hash of the last one."""

    count: int
    head: str


@dataclass(frozen=True)
class Fault:
    """The first entry that does not hold, and why."""

    number: int
    sentence: str


def audit_append(
    *,
    actor: str,
    source: str,
    action: str,
    phase: str = "single",
    cluster_name: str = "",
    target: str = "",
    reason: str = "",
    job_id: int | None = None,
    plan_hash: str = "",
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """One more entry, in the caller's transaction. Writers wait for each other until they commit, so the numbers have no gap."""
    with transaction.atomic():
        number, previous = _head()
        entry = AuditEntry(
            number=number + 1,
            at=datetime.now(UTC),
            actor=actor,
            source=source,
            action=action,
            phase=phase,
            cluster_name=cluster_name,
            target=target,
            reason=reason,
            job_id=job_id,
            plan_hash=plan_hash,
            details=_exact(details or {}),
            previous_hash=previous,
        )
        entry.hash = entry_hash(previous, {field: getattr(entry, field) for field in FIELDS})
        entry.save(force_insert=True)
        return entry


def audit_open(job: Job, actor: Actor, **details: Any) -> AuditEntry:
    """A mutating job was requested (or, having ended, resumed)."""
    return _of_job(job, actor=actor.name, source=actor.source, action=job.kind, phase="opened", reason=job.reason, details=details)


def audit_close(job: Job, status: str, **details: Any) -> AuditEntry:
    """The job ended. In the name of who requested it."""
    details = {"status": status, **details}
    return _of_job(job, actor=job.requested_by_name, source=job.source, action=job.kind, phase="closed", reason="", details=details)


def audit_single(job: Job, actor: Actor, action: str, reason: str = "", **details: Any) -> AuditEntry:
    """A decision about a job that is over at once: cancel, resume, give up."""
    return _of_job(job, actor=actor.name, source=actor.source, action=action, phase="single", reason=reason, details=details)


def audit_verify(*, expected: Verified | None = None) -> Verified | Fault:
    """Read the whole trail in order and compute each hash again.

    `expected`, a result noted elsewhere earlier, also finds a trail that was cut off at its end and continued or not.
    """
    head, count = GENESIS, 0
    rows = AuditEntry.objects.order_by("number").values(*FIELDS, "previous_hash", "hash")
    for count, row in enumerate(rows.iterator(chunk_size=CHUNK), start=1):
        fault = _fault_of(row, count, head)
        if fault:
            return Fault(count, fault)
        head = row["hash"]
        if expected and count == expected.count and head != expected.head:
            return Fault(count, f"Entry {count} is not the one that was there when its hash was noted.")
    if expected and count < expected.count:
        return Fault(count + 1, f"Entry {count + 1} is missing: the trail had {expected.count} entries.")
    return Verified(count, head)


def entry_hash(previous: str, fields: dict[str, Any]) -> str:
    """The hash of an entry whose `FIELDS` have these values; `at` counts to the microsecond, in UTC."""
    at = fields["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(previous.encode() + canonical_json({**fields, "at": at})).hexdigest()


def _exact(value: Any) -> Any:
    """The value as PostgreSQL's jsonb gives it back unchanged: no floats (they are texts), no NUL."""
    if isinstance(value, dict):
        return {_exact(str(key)): _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    return str(value).replace("\x00", "\ufffd")


def _fault_of(row: dict[str, Any], number: int, head: str) -> str | None:
    if row["number"] != number:
        return f"Entry {number} is missing: the next one found is number {row['number']}."
    if row["previous_hash"] != head:
        return f"Entry {number} does not follow the entry before it."
    if row["hash"] != entry_hash(head, {field: row[field] for field in FIELDS}):
        return f"Entry {number} was changed after it was written."
    return None


def _head() -> tuple[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    last = AuditEntry.objects.order_by("-number").values_list("number", "hash").first()
    return last or (0, GENESIS)


def _of_job(job: Job, **fields: Any) -> AuditEntry:
    target = job.instance_name or (job.server.name if job.server and not job.cluster_name else "")
    return audit_append(cluster_name=job.cluster_name, target=target, job_id=job.pk, plan_hash=job.plan_hash, **fields)
