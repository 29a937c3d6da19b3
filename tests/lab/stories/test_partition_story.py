"""Faults 21 and 22 (safety.md section 2): the network is cut between two of panel, primary and standby, and the third sees both."""

from __future__ import annotations

import pytest

from clusters.models import Cluster, Instance, Verification
from tasks.members import members_of
from tasks.standing import remarks
from tests.lab.stories.invariants import assert_invariants
from tests.lab.stories.stage import LabStage
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")


def test_21_and_22_a_cut_network_promotes_nobody_and_is_told(lab_stage: LabStage) -> None:
    lab_stage.create()
    lab_stage.standby(server="beta")
    for from_panel in (True, False):
        panel_is_blind(lab_stage, from_panel)
    with Writers(lab_stage.dsn("orders"), count=2) as writers:
        standby_is_cut_off(lab_stage, writers)
        commits_wait(lab_stage, writers)
        assert_invariants(lab_stage, writers)


def panel_is_blind(lab_stage: LabStage, from_panel: bool) -> None:
    """21: what one of the two sends to the other is lost. The standby hears the primary: it lives, and a failover is refused."""
    alpha, panel = lab_stage.lab["alpha"], lab_stage.lab.site.own_address
    one, other = (panel, alpha) if from_panel else (alpha, panel)
    with lab_stage.lab.parted(one, other, one_way=True):
        flags = ["possible_data_loss", "unfenced_primary"]
        job = lab_stage.run("failover", cluster="orders", reason="blind", confirm="orders", power_off="alpha", flags=flags)
        assert job.status == "refused", log_of(job)
        obstacles = {one["name"]: one for one in job.result["obstacles"]}
        assert obstacles["primary_seen_alive"]["value"] == "node2", log_of(job)
        lab_stage.run("verify", cluster="orders")
        assert "node1" in told(lab_stage), "the panel says that it does not see the primary"
    assert lab_stage.writable() == ["node1"]
    wait_until(lambda: verdict(lab_stage) == "ok", "the panel sees that all is well again", 60)
    assert_invariants(lab_stage)


def standby_is_cut_off(lab_stage: LabStage, writers: Writers) -> None:
    """22, asynchronous: commits go on, and the panel says how far behind the standby is."""
    with lab_stage.lab.parted(lab_stage.lab["alpha"], lab_stage.lab["beta"]):
        with writers.session() as session:
            session.execute("CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 8) AS text FROM generate_series(1, 250000) AS n")
        lab_stage.run("verify", cluster="orders")
        assert {"lag_bytes", "marker_not_read"} <= findings(), findings()
        assert "node1 → node2" in told(lab_stage)
        writers.go_on()
    wait_until(lambda: verdict(lab_stage) == "ok", "the standby has caught up", 90)


def commits_wait(lab_stage: LabStage, writers: Writers) -> None:
    """22, synchronous: commits wait and are not acknowledged, and the panel says so. Nothing is relaxed by itself."""
    lab_stage.done("set_sync", cluster="orders", mode="any", count=1, confirm="orders", reason="test")
    writers.go_on()
    with lab_stage.lab.parted(lab_stage.lab["alpha"], lab_stage.lab["beta"]):
        wait_until(lambda: waiting(lab_stage) >= len(writers.threads), "every commit waits", 30)
        before = writers.count
        job = lab_stage.run("verify", cluster="orders")
        assert "sync_commits_wait" in findings(), log_of(job)
        assert waiting(lab_stage) >= len(writers.threads)
        assert writers.count == before
        assert Cluster.objects.get(name="orders").sync_mode == "any"
    writers.go_on()
    wait_until(lambda: verdict(lab_stage) == "ok", "all is well again", 90)


def waiting(lab_stage: LabStage) -> int:
    """Commits on the primary that wait for a standby."""
    row = Instance.objects.select_related("server", "cluster").get(name="node1")
    return int(lab_stage.answer(row, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") or 0)


def findings() -> set[str]:
    """Of the last look at the pair."""
    return {str(one["name"]) for one in Verification.objects.latest("created_at").findings}


def verdict(lab_stage: LabStage) -> str:
    return str(lab_stage.run("verify", cluster="orders").result.get("verdicts", {}).get("node2"))


def told(lab_stage: LabStage) -> set[str]:
    """What the panel shows an alarm about."""
    row = Cluster.objects.get(name="orders")
    return {remark.about for remark in remarks(members_of([row])[row.pk]) if remark.tone == "failed"}
