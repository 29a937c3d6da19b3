"""A primary that ails while its server answers: its disk is full (fault 30, safety.md section 2), its Docker engine is dead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.server import LabServer
from tests.lab.stories.invariants import Knocker, assert_invariants
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


def test_30_a_full_disk_is_no_reason_to_fail_over_and_a_dead_engine_no_hindrance(small_disk: LabStage) -> None:
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
        assert_invariants(stage)
        knocker = ended_without_engine(stage, writers)
        assert_invariants(stage, writers, may_lose=writers.count, knockers=(knocker,))  # asynchronous: how many is another test's
    assert stage.writable() == ["node2"]


def ended_without_engine(stage: LabStage, writers: Writers) -> Knocker:
    """PostgreSQL goes on without its engine; a failover ends and fences it all the same, and the engine that is back finds that so."""
    alpha, request = stage.lab["alpha"], {"cluster": "orders", "reason": "its engine is dead", "confirm": "orders"}
    with alpha.engine_dead():
        writers.go_on()
        refused = stage.run("failover", **request, flags=["possible_data_loss"])
        flags = [one["name"] for one in refused.result["obstacles"] if one["severity"] == "flag"]
        assert flags == ["primary_seen_alive", "possible_data_loss"], log_of(refused)
        job = stage.run("failover", **request, flags=["possible_data_loss", "primary_seen_alive"])
        assert (job.status, job.result["fence"]) == ("done", "stopped"), log_of(job)
        assert "fenced and ended without its engine" in log_of(job)
        writers.go_on()
        assert stage.writable() == ["node2"]
    with Knocker(stage, "node1") as knocker:
        wait_until(lambda: stage.done("verify", cluster="orders").result.get("stopped_in_quarantine"), "a look has stopped it", 60)
        knocker.goes_on()
    return knocker
