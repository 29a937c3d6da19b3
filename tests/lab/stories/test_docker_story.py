"""PostgreSQL in containers on three real servers, reached by SSH: a cluster's life, under writers on published ports."""

from __future__ import annotations

import pytest

from tests.lab.stories.stage import LabStage
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")


def it_switches_over_around_the_ring_and_loses_nothing(lab_stage: LabStage) -> None:
    lab_stage.create()
    lab_stage.standby(server="beta")
    lab_stage.standby(server="gamma")
    with Writers(lab_stage.dsn("orders")) as writers:
        for name in ("node2", "node3", "node1"):
            writers.go_on()
            job = lab_stage.done("switchover", cluster="orders", to=name, reason="ring", confirm="orders")
            assert job.result["canary_lost"] == 0
            writers.go_on()
            assert lab_stage.writable() == [name]
    assert writers.lost() == set()
