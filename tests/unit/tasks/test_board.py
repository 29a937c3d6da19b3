"""The eligibility board from rows: what page, API and command show."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clusters.models import Cluster, Instance, ReplicationPair
from tasks.board import ACTS, BoardShown, StandbyShown, board_of, board_show
from tests.unit.observed import change, observed_cluster
from tests.unit.tasks.test_commands import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def orders() -> Cluster:
    return observed_cluster()


def of(shown: BoardShown, name: str) -> StandbyShown:
    return next(standby for standby in shown["standbys"] if standby["name"] == name)


def obstacles(shown: BoardShown, name: str) -> list[str | None]:
    return [rule["name"] for rule in of(shown, name)["rules"] if rule["status"] == "obstacle"]


def unknown(shown: BoardShown, name: str) -> list[str]:
    return [rule["rule"] for rule in of(shown, name)["rules"] if rule["status"] == "unknown"]


def put(cluster: Cluster, name: str, **fields: object) -> None:
    Instance.objects.filter(cluster=cluster, name=name).update(**fields)


@pytest.mark.parametrize("act", ["switchover", "promote"])
def test_a_cluster_that_is_well_has_nothing_in_the_way(orders: Cluster, act: str) -> None:
    shown = board_show("orders", act)  # type: ignore[arg-type]
    assert [(standby["name"], standby["eligible"], standby["flags"]) for standby in shown["standbys"]] == [
        ("orders-2", True, []),
        ("orders-3", True, []),
    ]
    assert obstacles(shown, "orders-2") == unknown(shown, "orders-2") == []
    assert (shown["primary"], shown["best"]) == ("orders-1", "orders-2" if act == "switchover" else None)


def test_a_failover_beside_a_primary_that_lives_needs_its_flags(orders: Cluster) -> None:
    shown = board_show("orders", "failover")
    assert of(shown, "orders-2")["flags"] == ["primary_seen_alive", "possible_data_loss"]
    assert unknown(shown, "orders-2") == ["unfenced_primary"]


def test_a_primary_that_is_gone_blocks_a_switchover_and_leaves_the_failover(orders: Cluster) -> None:
    put(orders, "orders-1", observed_role="unreachable")
    change(orders, "orders-2", receiver=None, receive_lsn="1/2000000", replay_lsn="1/2000000")
    change(orders, "orders-3", receiver=None)
    assert "primary_silent" in obstacles(board_of(orders, "switchover"), "orders-2")
    shown = board_of(orders, "failover")
    assert shown["best"] == "orders-3"
    assert obstacles(shown, "orders-2") == ["possible_data_loss", "not_most_advanced"]
    (loss,) = [rule for rule in of(shown, "orders-2")["rules"] if rule["name"] == "possible_data_loss"]
    assert (loss["value"], loss["severity"]) == (0x1000060, "flag")


def test_what_was_declared_counts_too(orders: Cluster) -> None:
    put(orders, "orders-2", quarantined_at=timezone.now())
    middle = orders.instances.get(name="orders-3")
    ReplicationPair.objects.filter(standby__name="orders-2").update(upstream=middle)
    assert obstacles(board_of(orders, "switchover"), "orders-2") == ["candidate_quarantined", "candidate_cascaded"]


def test_an_old_look_is_none(orders: Cluster) -> None:
    put(orders, "orders-3", observed_at=timezone.now() - timedelta(minutes=11))
    shown = board_of(orders, "switchover")
    assert obstacles(shown, "orders-3") == ["look_too_old"]
    assert shown["observed_at"] == orders.instances.get(name="orders-3").observed_at


def test_what_was_never_seen_is_not_known(orders: Cluster) -> None:
    put(orders, "orders-2", surroundings={})
    orders.instances.get(name="orders-2").server.__class__.objects.update(facts={})
    parity = ["machine_differs", "libc_differs", "icu_differs", "extension_missing"]
    assert unknown(board_of(orders, "switchover"), "orders-2") == [*parity, "disk_full", "login_refused"]
    put(orders, "orders-2", observed={}, observed_role="unknown", observed_at=None)
    assert obstacles(board_of(orders, "switchover"), "orders-2") == ["candidate_silent", "look_too_old"]


def test_a_row_that_cannot_be_read_is_shown_as_not_known(orders: Cluster) -> None:
    change(orders, "orders-2", timeline="<script>")
    assert "candidate_silent" in obstacles(board_of(orders, "switchover"), "orders-2")


def test_instances_that_are_not_made_yet_do_not_count(orders: Cluster) -> None:
    put(orders, "orders-3", lifecycle="planned")
    assert [standby["name"] for standby in board_of(orders, "switchover")["standbys"]] == ["orders-2"]
    put(orders, "orders-1", lifecycle="planned")
    assert "primary_silent" in obstacles(board_of(orders, "switchover"), "orders-2")


def test_another_panel_is_seen_by_the_epoch(orders: Cluster) -> None:
    Cluster.objects.update(epoch=1)
    put(orders, "orders-3", surroundings={**orders.instances.get(name="orders-3").surroundings, "epoch": 4})
    assert obstacles(board_of(orders, "switchover"), "orders-2") == ["epoch_higher"]


@pytest.mark.parametrize("act", ACTS)
def test_the_number_of_questions_is_the_same_for_30_standbys_as_for_2(orders: Cluster, act: str) -> None:
    counts = []
    for cluster in (orders, observed_cluster("big", standbys=30)):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            board_of(cluster, act)  # type: ignore[arg-type]
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 4


# -- API


def test_the_api_shows_the_board(bearer: Callable[..., Client], orders: Cluster) -> None:
    client = bearer("vera", "read")
    answer = client.get("/api/v1/clusters/orders/board").json()
    shown = board_show("orders", "switchover")
    assert {**answer, "observed_at": 0} == {**json.loads(json.dumps(shown, default=str)), "observed_at": 0} | {
        "standbys": [
            {**standby, "observed_at": item["observed_at"]} for standby, item in zip(shown["standbys"], answer["standbys"], strict=True)
        ]
    }
    assert list(answer["standbys"][0]["rules"][0]) == [
        "rule", "title", "status", "name", "severity", "sentence", "value", "threshold", "cure",
    ]  # fmt: skip
    assert client.get("/api/v1/clusters/orders/board?act=failover").json()["act"] == "failover"


def test_the_api_knows_no_other_act_and_no_other_cluster(bearer: Callable[..., Client], orders: Cluster) -> None:
    client = bearer("vera", "read")
    assert client.get("/api/v1/clusters/orders/board?act=dance").status_code == 422
    assert client.get("/api/v1/clusters/nobody/board").status_code == 404


# -- command


def test_the_command_says_who_could_take_over(orders: Cluster) -> None:
    change(orders, "orders-2", replay_state="paused")
    run = Run("cluster", "board", "orders")
    lines = run.out.splitlines()
    assert (run.code, run.err) == (0, "")
    assert lines[0].startswith("orders-2: cannot take over; looked at: ")
    assert lines[1] == (
        "  blocks replay_paused: Replay on orders-2 does not go on (paused). Resume it: SELECT pg_wal_replay_resume(). "
        "If a setting is too low there, its log names it."
    )
    assert lines[2].startswith("orders-3: could take over (the panel would choose it); looked at: ")
    assert Run("cluster", "board", "orders", "--json").json["best"] == "orders-3"


def test_the_command_tells_a_script_where_nobody_could(orders: Cluster) -> None:
    change(orders, "orders-2", replay_state="paused")
    change(orders, "orders-3", replay_state="paused")
    assert Run("cluster", "board", "orders").code == 3
    failover = Run("cluster", "board", "orders", "--act", "failover", "--json")
    assert failover.code == 0
    assert failover.json["standbys"][0]["flags"] == ["primary_seen_alive", "possible_data_loss", "replay_delayed"]
    assert "only with: primary_seen_alive, possible_data_loss, replay_delayed" in Run("cluster", "board", "orders", "--act", "failover").out
    assert Run("cluster", "board", "nobody").code == 2
