"""Switchovers on real PostgreSQL, under writers: nobody's acknowledged row is lost, and the old primary follows."""

from __future__ import annotations

import pytest

from clusters.models import Cluster, Instance
from tasks.audit import Verified, audit_verify
from tasks.models import AuditEntry
from tests.stage import Stage
from tests.writers import Writers

pytestmark = pytest.mark.django_db(transaction=True)


def switch(stage: Stage, to: str, **more: object):
    return stage.done("switchover", cluster="orders", to=to, reason="story", confirm="orders", **more)


def test_a_switchover_and_back_loses_nothing_and_rebuilds_nothing(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    with Writers(stage.dsn("orders")) as writers:
        for to in ("node2", "node1", "node2"):
            job = switch(stage, to)
            writers.go_on()
            assert job.result["new_primary"] == to
            assert job.result["canary_lost"] == 0
            assert job.result["write_gap_by"] == "canary"
        assert writers.lost() == set()
    cluster = Cluster.objects.get(name="orders")
    assert cluster.epoch == 4
    assert Instance.objects.get(name="node2").role == "primary"
    assert Instance.objects.get(name="node1").pair.upstream.name == "node2"
    assert job.result["timeline"] == 4
    old = Instance.objects.get(name="node1")
    assert (old.surroundings["fenced"], old.surroundings["epoch"]) == (None, 4)  # as it is after the act, for the board
    closed = AuditEntry.objects.get(job_id=job.pk, phase="closed")
    assert closed.details["result"]["old_primary"] == "node1"
    assert isinstance(audit_verify(), Verified)
