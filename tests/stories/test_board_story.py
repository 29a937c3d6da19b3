"""The eligibility board of a real cluster: a look fills it in, and what is really in the way is shown."""

from __future__ import annotations

import psycopg
import pytest

from clusters.models import Cluster, Instance
from tasks.board import ACTS, StandbyShown, board_show
from tests.stage import Stage

pytestmark = pytest.mark.django_db(transaction=True)


def standing(name: str, act: str = "switchover") -> StandbyShown:
    return next(standby for standby in board_show("orders", act)["standbys"] if standby["name"] == name)  # type: ignore[arg-type]


def statuses(name: str, status: str, act: str = "switchover") -> list[str]:
    return [rule["rule"] for rule in standing(name, act)["rules"] if rule["status"] == status]


def pause_replay(name: str) -> None:
    """As the panel's role, which may."""
    row = Instance.objects.select_related("server", "cluster").get(name=name)
    with psycopg.connect(
        host=row.server.address, port=row.port, user=row.cluster.panel_role, dbname="postgres",
        password=row.cluster.panel_password.reveal(),
    ) as session:  # fmt: skip
        session.execute("SELECT pg_wal_replay_pause()")


def test_a_look_fills_the_board(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.standby(name="node3")
    stage.standby(name="node4", upstream="node2")
    looked = stage.done("verify", cluster="orders")
    assert looked.steps.get(name="logins_seen").sentence == "node2, node3, node4 admit everybody."

    for name in ("node2", "node3"):
        assert statuses(name, "unknown") == statuses(name, "obstacle") == []
    assert statuses("node4", "obstacle") == ["candidate_cascaded"]
    assert board_show("orders", "switchover")["best"] == "node2"
    assert standing("node2", "failover")["flags"] == ["primary_seen_alive", "possible_data_loss"]
    assert statuses("node2", "obstacle", "promote") == ["followed_by_others"]

    pause_replay("node2")
    stage.done("verify", cluster="orders")
    assert statuses("node2", "obstacle") == ["replay_paused"]

    stage.kill("node1")
    stage.run("verify", cluster="orders")
    assert not any(standby["eligible"] for standby in board_show("orders", "switchover")["standbys"])
    assert board_show("orders", "failover")["best"] == "node3"
    assert standing("node3", "failover")["eligible"]


def test_the_standing_look_does_not_look_around(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    Instance.objects.update(surroundings={})
    stage.done("verify", cluster="orders", depth="standing")
    assert Instance.objects.get(name="node2").surroundings == {}
    assert Cluster.objects.get().instances.exclude(observed={}).count() == 2
    for act in ACTS:
        assert "disk_full" in statuses("node2", "unknown", act)
