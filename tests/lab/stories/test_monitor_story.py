"""The monitor over SSH: a server that hangs, is cut off, has no power or refuses SSH is told within two intervals, and is alone in it."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager

import pytest
from django.utils import timezone

from clusters.models import Instance, InstanceState
from tasks.watching.monitor import Rounds
from tasks.watching.watcher import ANSWER_SECONDS, CONNECT_SECONDS, LONGEST_PAUSE
from tests.lab.stories.stage import BASE, LabStage
from tests.waiting import wait_until
from tests.watching import watching

pytestmark = pytest.mark.needs("lab")

FIGURES = logging.getLogger("lab.figures")

INTERVAL = 2.0
#: What a write and a busy machine take.
SLACK = 4.0
#: Two questions, each at its own moment and each waiting as long as it may.
TOLD = 2 * INTERVAL + ANSWER_SECONDS + CONNECT_SECONDS + SLACK
#: The longest pause, a way that hangs and one that does not.
BACK = LONGEST_PAUSE + 2 * CONNECT_SECONDS + SLACK
SSH = 22


def state(server: str) -> InstanceState:
    return InstanceState.objects.get(instance__server__name=server)


def role(server: str) -> str:
    return Instance.objects.get(server__name=server).observed_role


def ages(*servers: str) -> list[float]:
    """Seconds since each answered; since its disk was looked at."""
    now = timezone.now()
    rows = InstanceState.objects.filter(instance__server__name__in=servers)
    return [(now - moment).total_seconds() if moment else float("inf") for row in rows for moment in (row.answered_at, row.disk_at)]


def fresh(*servers: str) -> bool:
    found = ages(*servers)
    return len(found) == 2 * len(servers) and max(found) < INTERVAL + SLACK


def test_a_server_that_fails_over_ssh_is_told_and_costs_the_others_nothing(lab_stage: LabStage) -> None:
    lab_stage.create()
    lab_stage.standby(server="beta")
    lab_stage.create("ledger", server="gamma")
    beta = lab_stage.lab["beta"]
    with watching(Rounds(INTERVAL, disk_seconds=INTERVAL)):
        wait_until(lambda: fresh("alpha", "beta", "gamma"), "all have answered, and so have their disks", 30)
        for server in ("alpha", "beta", "gamma"):
            told = lab_stage.lab[server].run(["df", "-B1", "--output=size", BASE]).stdout.split()
            assert state(server).disk_total_bytes == int(told[1])
        wait_until(lambda: state("beta").lag_bytes == 0, "nothing lags", 20)
        alone("hangs", beta.hung())
        alone("is cut off", beta.cut_off())
        alone("refuses SSH", beta.refusing(SSH))
        alone("hears the panel, which does not hear it", lab_stage.lab.parted(beta, lab_stage.lab.site.own_address, one_way=True))
        alone("is without power", beta.powered_off())


def alone(what: str, fault: AbstractContextManager[None]) -> None:
    """While `fault` lasts beta, and nobody but beta, is on record as not reachable, with the reason; then it is back by itself."""
    with fault:
        began, oldest = time.monotonic(), 0.0
        while role("beta") != "unreachable":
            assert time.monotonic() - began < TOLD, f"a server that {what} is not on record after {TOLD} s"
            oldest = max(oldest, *ages("alpha", "gamma"))
            time.sleep(0.1)
        told = time.monotonic() - began
        assert state("beta").error
        assert state("beta").sampled["timeline"] == 1, "what it said last is kept"
        until = time.monotonic() + 3 * INTERVAL
        while time.monotonic() < until:
            oldest = max(oldest, *ages("alpha", "gamma"))
            time.sleep(0.1)
        assert oldest < INTERVAL + SLACK, f"the others were {oldest:.1f} s old while a server {what}"
        assert (role("alpha"), role("gamma")) == ("primary", "primary")
    healed = time.monotonic()
    wait_until(lambda: role("beta") == "standby" and fresh("beta"), f"the server that {what} is back", BACK)
    back = time.monotonic() - healed
    FIGURES.info("a server %s: told after %.1f s, others %.1f s old at most, back after %.1f s", what, told, oldest, back)
