"""The primary's server loses power, another takes over, the old one comes back: it never accepts a write again as it was.

With each restart policy, and with the panel running or stopped. On demand (PGREPLICA_TEST_LONG=1) ten times each.
"""

from __future__ import annotations

import logging

import pytest

from clusters.hosts.ssh_connection import close_connections
from clusters.models import Instance
from tests.lab.server import LabServer
from tests.lab.stories.invariants import Knocker, assert_invariants
from tests.lab.stories.stage import BASE, LabStage
from tests.rounds import rounds
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")

FIGURES = logging.getLogger("lab.figures")

#: Restart policy, panel. In each run either policy and either panel once; on demand all four, ten times each.
SHORT = [[("always", "stopped"), ("unless-stopped", "running")]]
LONG = [[(policy, panel)] * 10 for policy in ("always", "unless-stopped") for panel in ("stopped", "running")]


@pytest.mark.parametrize("turns", rounds(SHORT, LONG), ids=lambda turns: "-".join(turns[0]))
def it_keeps_an_old_primary_that_comes_back_from_accepting_writes(lab_stage: LabStage, turns: list[tuple[str, str]]) -> None:
    """Turn after turn on one cluster: whoever is the primary loses power."""
    lab_stage.create()
    lab_stage.standby(server="beta")
    tried, may_lose, knockers = 0, 0, []
    with Writers(lab_stage.dsn("orders"), count=4) as writers:
        for number, (policy, panel) in enumerate(turns):
            old, new = ("node1", "node2") if number % 2 == 0 else ("node2", "node1")
            knockers.append(power_lost_and_back(lab_stage, writers, old, new, policy, panel))
            tried += knockers[-1].refused
            FIGURES.info("%s, panel %s: run %s, %s tries to write to the old primary so far", policy, panel, number + 1, tried)
            assert knockers[-1].accepted == []
            may_lose += rejoined(lab_stage, old)
            writers.go_on()
        assert_invariants(lab_stage, writers, may_lose=may_lose, knockers=tuple(knockers))


def power_lost_and_back(lab_stage: LabStage, writers: Writers, old: str, new: str, policy: str, panel: str) -> Knocker:
    row = Instance.objects.select_related("server").get(name=old)
    server = lab_stage.lab[row.server.name]
    server.docker("update", f"--restart={policy}", f"pgr_orders_{old}")
    writers.go_on()
    server.power_off()
    job = lab_stage.run("failover", cluster="orders", reason="power", confirm="orders", power_off=server.name, flags=["possible_data_loss"])
    assert job.status == "done", log_of(job)
    writers.go_on()
    if panel == "stopped":
        close_connections()  # from here on no job, no worker and no connection of the panel, until the proof
    with Knocker(lab_stage, old) as knocker:
        server.boot()
        wait_until(lambda: f"pgr_orders_{old}" in server.docker("ps", "--format", "{{.Names}}").stdout, "Docker starts it", 30)
        if panel == "running":
            lab_stage.done("verify", cluster="orders")
        else:
            wait_until(lambda: "REFUSED" in _log(server, old), "the guard has said why", 30)
            assert new in server.run(["cat", f"{BASE}/orders/{old}/state/fenced"]).stdout  # so that silence of the other lifts nothing
            server.reboot()
        knocker.goes_on()
        writers.go_on()
        assert lab_stage.writable() == [new]
    return knocker


def rejoined(lab_stage: LabStage, name: str) -> int:
    """The old primary follows again. How many commits it had that are lost: what the failover could not know."""
    assert Instance.objects.get(name=name).quarantined_at is not None
    job = lab_stage.done("rejoin", cluster="orders", instance=name, confirm=name, flags=["last_copy"])
    return int((job.result.get("lost_writes") or {}).get("commits") or 0)


def _log(server: LabServer, name: str) -> str:
    said = server.docker("logs", "--tail", "20", f"pgr_orders_{name}", check=False)
    return said.stdout + said.stderr
