"""Fault 30 (safety.md section 2): the primary's disk is full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.server import LabServer
from tests.lab.stories.invariants import assert_invariants
from tests.lab.stories.stage import BASE, USER, LabStage
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")

MEGABYTES = 1024


def wal_used_up(server: LabServer) -> bool:
    """One more of the WAL files that are kept ready is used up; the end of them is the end of the server."""
    login = "host=/var/run/postgresql port=5432 user=postgres dbname=postgres passfile=/run/secrets/superuser_passfile"
    server.docker("exec", "pgr_orders_node1", "psql", login, "-c", "SELECT pg_switch_wal()", check=False)
    return True


@pytest.fixture
def small_disk(lab_stage: LabStage) -> Iterator[LabStage]:
    """What is on alpha's base directory has a disk of its own."""
    alpha = lab_stage.lab["alpha"]
    alpha.give_disk(BASE, MEGABYTES)
    alpha.run(["chown", f"{USER}:", BASE])
    yield lab_stage
    alpha.empty()
    alpha.take_disk(BASE)


def test_30_a_full_disk_is_named_and_is_no_reason_to_fail_over(small_disk: LabStage) -> None:
    stage, alpha = small_disk, small_disk.lab["alpha"]
    stage.create()
    stage.standby(server="beta")
    with Writers(stage.dsn("orders"), count=2) as writers:
        with alpha.full(BASE):
            wait_until(lambda: wal_used_up(alpha) and stage.writable() == [], "the primary has stopped: it cannot write its WAL", 120)
            job = stage.run("failover", cluster="orders", reason="it does not answer", confirm="orders", flags=["possible_data_loss"])
            assert job.status == "refused", log_of(job)
            full = next(one for one in job.result["obstacles"] if one["name"] == "primary_disk_full")
            assert ".filler" in full["sentence"], full
            stage.run("verify", cluster="orders")
            assert stage.writable() == []
        wait_until(lambda: stage.writable() == ["node1"], "there is room, and Docker has started it again", 90)
        writers.go_on()
        assert_invariants(stage, writers)
