"""The primary's server answers, and its Docker engine does not: a failover ends and fences PostgreSQL without it."""

from __future__ import annotations

import pytest

from tests.lab.stories.invariants import Knocker, assert_invariants
from tests.lab.stories.stage import LabStage
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")


def it_ends_a_primary_whose_engine_is_dead_before_it_promotes_another(lab_stage: LabStage) -> None:
    alpha = lab_stage.lab["alpha"]
    lab_stage.create()
    lab_stage.standby(server="beta")
    with Writers(lab_stage.dsn("orders"), count=2) as writers:
        with alpha.engine_dead():
            writers.go_on()  # the container goes on without it
            request = {"cluster": "orders", "reason": "its engine is dead", "confirm": "orders"}
            refused = lab_stage.run("failover", **request, flags=["possible_data_loss"])
            assert [one["name"] for one in refused.result["obstacles"] if one["severity"] == "flag"] == [
                "primary_seen_alive",
                "possible_data_loss",
            ], log_of(refused)
            job = lab_stage.run("failover", **request, flags=["possible_data_loss", "primary_seen_alive"])
            assert (job.status, job.result["fence"]) == ("done", "stopped"), log_of(job)
            assert any("fenced and ended without its engine" in line for line in log_of(job).splitlines())
            writers.go_on()
            assert lab_stage.writable() == ["node2"]
        with Knocker(lab_stage, "node1") as knocker:  # the engine is back, and starts what it had started before
            wait_until(lambda: lab_stage.done("verify", cluster="orders").result.get("stopped_in_quarantine"), "a look has stopped it", 60)
            knocker.goes_on()
        assert_invariants(lab_stage, writers, may_lose=writers.count, knockers=(knocker,))
    assert lab_stage.writable() == ["node2"]
