"""The primary's server loses power, another takes over, the old one comes back: it never accepts a write again as it was."""

from __future__ import annotations

import pytest

from clusters.models import Instance
from tests.lab.stories.stage import BASE, LabStage
from tests.rounds import rounds
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")


#: Told with one policy in each run, with both on demand (PGREPLICA_TEST_LONG=1).
POLICIES = ["always", "unless-stopped"][: rounds(1, 2)]


@pytest.mark.parametrize("policy", POLICIES)
def it_keeps_an_old_primary_that_comes_back_from_accepting_writes(lab_stage: LabStage, policy: str) -> None:
    alpha = lab_stage.lab["alpha"]
    lab_stage.create()
    lab_stage.standby(server="beta")
    alpha.docker("update", f"--restart={policy}", "pgr_orders_node1")
    with Writers(lab_stage.dsn("orders"), count=4) as writers:
        writers.go_on()
        alpha.power_off()
        # For half a minute the standby's receiver has not noticed yet; who has seen the server's lights go out need not wait for that.
        flags = ["possible_data_loss", "unfenced_primary", "primary_seen_alive"]
        job = lab_stage.run("failover", cluster="orders", reason="power", confirm="orders", power_off="alpha", flags=flags)
        assert job.status == "done", log_of(job)
        writers.go_on()
        alpha.boot()
        wait_until(lambda: "pgr_orders_node1" in alpha.docker("ps", "--format", "{{.Names}}").stdout, "Docker starts the old primary", 30)
        wait_until(lambda: "REFUSED" in _log(lab_stage), "the guard has said why", 30)
        assert "node2" in alpha.run(["cat", f"{BASE}/orders/node1/state/fenced"]).stdout  # so that silence of node2 lifts nothing
        alpha.reboot()
        writers.go_on()
        assert lab_stage.writable() == ["node2"]
    row = Instance.objects.get(name="node1")
    assert row.quarantined_at is not None
    job = lab_stage.run("rejoin", cluster="orders", instance="node1", confirm="node1", flags=["last_copy"])
    assert job.status == "done", log_of(job)
    assert lab_stage.writable() == ["node2"]


def _log(lab_stage: LabStage) -> str:
    said = lab_stage.lab["alpha"].docker("logs", "--tail", "20", "pgr_orders_node1", check=False)
    return said.stdout + said.stderr
