"""The audit trail: one unbroken chain, whoever writes at once; every tampering is found, with its number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pgtrigger
import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.audit import FIELDS, GENESIS, Fault, Verified, _exact, audit_append, audit_verify, entry_hash
from tasks.models import AuditEntry

UNPROTECTED = "tasks.AuditEntry:append_only"


def write(count: int) -> list[AuditEntry]:
    return [audit_append(actor="olga", source="web", action="verify", reason=f"no {n}", details={"n": n}) for n in range(1, count + 1)]


def edit(at: int, /, **values: Any) -> None:
    with pgtrigger.ignore(UNPROTECTED):
        AuditEntry.objects.filter(number=at).update(**values)


def delete(number: int) -> None:
    with pgtrigger.ignore(UNPROTECTED):
        AuditEntry.objects.filter(number=number).delete()


def copied(count: int) -> str:
    """So many entries at once, past the one writer. The hash of the last one."""
    head, at = GENESIS, datetime.now(UTC)
    columns = (*FIELDS, "previous_hash", "hash")
    with connection.cursor() as cursor, cursor.copy(f"COPY tasks_auditentry ({', '.join(columns)}) FROM STDIN") as copy:
        for number in range(1, count + 1):
            fields = {"number": number, "at": at, "actor": "olga", "source": "web", "action": "verify", "phase": "single", "job_id": number}
            fields |= {"cluster_name": "orders", "target": "", "reason": "", "plan_hash": "", "details": {"n": number}}
            digest = entry_hash(head, fields)
            values = {**fields, "details": f'{{"n": {number}}}', "previous_hash": head, "hash": digest}
            copy.write_row([values[name] for name in columns])
            head = digest
    return head


@pytest.mark.django_db
class TestTrail:
    def it_is_whole_from_the_first_entry_on(self) -> None:
        assert audit_verify() == Verified(0, GENESIS)
        entries = write(5)
        assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
        assert [entry.previous_hash for entry in entries] == [GENESIS, *(entry.hash for entry in entries[:-1])]
        assert audit_verify() == Verified(5, entries[-1].hash)

    @pytest.mark.parametrize("field", ["actor", "source", "action", "phase", "cluster_name", "target", "reason", "plan_hash"])
    def it_finds_an_edit(self, field: str) -> None:
        write(5)
        edit(3, **{field: "mallory"})
        assert audit_verify() == Fault(3, "Entry 3 was changed after it was written.")

    @pytest.mark.parametrize("values", [{"job_id": 7}, {"details": {"n": 4}}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}])
    def it_finds_an_edit_of_what_is_no_text(self, values: dict[str, Any]) -> None:
        write(5)
        edit(3, **values)
        assert audit_verify() == Fault(3, "Entry 3 was changed after it was written.")

    def it_finds_an_edit_with_a_hash_that_fits_it(self) -> None:
        entry = write(5)[2]
        fields = {field: getattr(entry, field) for field in FIELDS} | {"reason": "mallory"}
        edit(3, reason="mallory", hash=entry_hash(entry.previous_hash, fields))
        assert audit_verify() == Fault(4, "Entry 4 does not follow the entry before it.")

    def it_finds_a_deletion(self) -> None:
        write(5)
        delete(2)
        assert audit_verify() == Fault(2, "Entry 2 is missing: the next one found is number 3.")

    def it_finds_two_that_were_swapped(self) -> None:
        write(5)
        for number, to in ((2, 99), (3, 2), (99, 3)):
            edit(number, number=to)
        assert audit_verify() == Fault(2, "Entry 2 does not follow the entry before it.")

    def it_finds_an_insertion(self) -> None:
        write(5)
        edit(5, number=6)
        AuditEntry.objects.create(
            number=5, at=datetime.now(UTC), actor="m", source="m", action="m", phase="single", previous_hash=GENESIS, hash="f" * 64
        )
        assert audit_verify() == Fault(5, "Entry 5 does not follow the entry before it.")

    def it_finds_an_insertion_whose_hash_fits(self) -> None:
        before = write(5)[3]
        fields = {field: getattr(before, field) for field in FIELDS} | {"number": 5, "reason": "mallory"}
        edit(5, number=6)
        digest = entry_hash(before.hash, fields)
        AuditEntry.objects.create(**fields, previous_hash=before.hash, hash=digest)
        assert audit_verify() == Fault(6, "Entry 6 does not follow the entry before it.")

    def it_finds_that_the_first_one_is_gone(self) -> None:
        write(3)
        delete(1)
        assert audit_verify() == Fault(1, "Entry 1 is missing: the next one found is number 2.")

    def it_finds_that_it_was_cut_off_by_what_was_noted_elsewhere(self) -> None:
        write(3)
        noted = audit_verify()
        assert isinstance(noted, Verified)
        delete(3)
        assert isinstance(audit_verify(), Verified)
        assert audit_verify(expected=noted) == Fault(3, "Entry 3 is missing: the trail had 3 entries.")
        write(2)
        assert audit_verify(expected=noted) == Fault(3, "Entry 3 is not the one that was there when its hash was noted.")

    @pytest.mark.parametrize(
        "sql", ["UPDATE tasks_auditentry SET actor = 'm'", "DELETE FROM tasks_auditentry", "TRUNCATE tasks_auditentry"]
    )
    def it_cannot_be_changed_by_anybody(self, sql: str) -> None:
        write(2)
        with pytest.raises(DatabaseError, match=r"pgreplica|pgtrigger"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
        assert isinstance(audit_verify(), Verified)

    def it_keeps_any_details_verifiable(self) -> None:
        audit_append(
            actor="olga", source="web", action="x", details={"float": 1e300, "nul": "a\x00b", "list": [1.5, None, True], "é": {"🐘": 2**70}}
        )
        assert isinstance(audit_verify(), Verified)
        assert AuditEntry.objects.get().details == {"float": "1e+300", "nul": "a\ufffdb", "list": ["1.5", None, True], "é": {"🐘": 2**70}}

    def it_reads_a_hundred_thousand_entries_in_ten_seconds(self) -> None:
        """Of this process's own time: how busy the machine is besides does not count."""
        head = copied(100_000)
        began = time.process_time()
        assert audit_verify() == Verified(100_000, head)
        assert time.process_time() - began < 10


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # it is the machine that is slow, beside the lab
@given(PLAIN)
def it_makes_details_exact_once(value: Any) -> None:
    assert _exact(_exact(value)) == _exact(value)


@pytest.mark.django_db(transaction=True)
def it_stays_one_chain_when_many_write_at_once() -> None:
    errors: list[BaseException] = []

    def in_thread(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=in_thread, args=(lambda: write(25),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    verified = audit_verify()
    assert isinstance(verified, Verified)
    assert verified.count == 100


@pytest.mark.django_db(transaction=True)
def it_leaves_no_gap_when_a_transaction_is_rolled_back() -> None:
    write(1)
    with transaction.atomic():
        write(1)
        transaction.set_rollback(True)
    write(1)
    verified = audit_verify()
    assert isinstance(verified, Verified)
    assert verified.count == 2
