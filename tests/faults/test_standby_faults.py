"""Faults of a standby around a switchover (safety.md section 2, by its numbers), on real PostgreSQL with applications writing."""

from __future__ import annotations

import pytest

from tests.faults.harness import assert_sound, texts
from tests.faults.test_succession_faults import frozen_at, request_switchover
from tests.stage import Stage, log_of, stage
from tests.trouble import Scene, paused, scene_made
from tests.waiting import wait_until
from tests.writers import Writers

__all__ = ["stage"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scene(stage: Stage, account: object) -> Scene:
    return scene_made(stage, account)  # type: ignore[arg-type]


def test_20_a_standby_that_dies_in_a_switchover_is_named_and_follows_when_it_is_back(scene: Scene) -> None:
    stage = scene.stage
    with Writers(stage.dsn("orders"), count=2) as writers:
        job = frozen_at(request_switchover(), "primary_fenced:after", lambda: stage.kill("node3"))
        assert job.status == "done", texts(job)
        assert job.result["not_streaming"] == ["node3"]
        assert "node3" in job.summary
        assert stage.writable() == ["node2"]
        writers.go_on()
        stage.done("start_instance", cluster="orders", instance="node3")
        wait_until(lambda: stage.done("verify", cluster="orders").result["verdicts"] == {"node1": "ok", "node3": "ok"}, "all follow", 60)
        assert writers.lost() == set()


def test_35_a_paused_or_delayed_standby_is_not_promoted_without_its_flag(scene: Scene) -> None:
    """A switchover needs the flag for a delay and takes no pause at all; a failover takes both by the flag, and all is replayed first."""
    stage, request = scene.stage, {"cluster": "orders", "to": "node2", "reason": "test", "confirm": "orders"}
    with paused(scene):
        assert named(stage.run("switchover", **request)) == {"replay_paused": "blocks"}
    scene.configure("node2", "recovery_min_apply_delay = 2s")
    scene.sql("node2", "SELECT pg_reload_conf()")
    assert named(stage.run("switchover", **request)) == {"replay_delayed": "flag"}
    with Writers(stage.dsn("orders"), count=2) as writers:
        job = stage.done("switchover", **request, flags=["replay_delayed"])
        assert_sound(job)
        writers.go_on()
        assert writers.lost() == set(), log_of(job)
    assert stage.writable() == ["node2"]


def named(job: object) -> dict[str, str]:
    assert job.status == "refused", log_of(job)  # type: ignore[attr-defined, arg-type]
    return {one["name"]: one["severity"] for one in job.result["obstacles"] if one["severity"] != "warns"}  # type: ignore[attr-defined]
