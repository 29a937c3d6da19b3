"""Faults 24 to 26 (safety.md section 2): an old primary that comes back in any way, and one whose data is not what it was. No panel
takes part: the start guard refuses, and says why.
"""

from __future__ import annotations

import pytest

from clusters.models import Instance
from tests.lab.server import LabServer
from tests.lab.stories.invariants import Knocker, assert_invariants
from tests.lab.stories.stage import BASE, LabStage
from tests.rounds import rounds
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")

HOME = f"{BASE}/orders/node1"
DATA = f"{HOME}/volumes/postgres/data"
CONTAINER = "pgr_orders_node1"


def test_24_to_26_what_must_not_start_does_not_start(lab_stage: LabStage) -> None:
    alpha = lab_stage.lab["alpha"]
    lab_stage.create()
    lab_stage.standby(server="beta")
    with Writers(lab_stage.dsn("orders"), count=2) as writers:
        wrong_data(lab_stage, alpha)
        writers.go_on()
        assert_invariants(lab_stage)
        knocker = old_primary_returns(lab_stage, alpha, writers)
        assert_invariants(lab_stage, writers, may_lose=writers.count, knockers=(knocker,))  # asynchronous: how many is another test's


def wrong_data(lab_stage: LabStage, alpha: LabServer) -> None:
    """26: at its boot the data is missing, empty, or that of another cluster. Then it is as it was, and the primary goes on."""
    alpha.docker("stop", CONTAINER)
    alpha.run(["mv", DATA, f"{HOME}/kept"])
    missing = alpha.docker("start", CONTAINER, check=False)
    assert missing.returncode != 0
    assert DATA in missing.stderr  # Docker itself says what is not there; nothing was made in its place
    assert alpha.run(["test", "-e", DATA], check=False).returncode != 0
    alpha.run(["install", "-d", "-m", "0700", "-o", "postgres", "-g", "postgres", DATA])
    refuses(alpha, "holds no PostgreSQL data")
    assert alpha.run(["ls", "-A", DATA]).stdout == ""  # the image has made no new, empty primary there
    owner = alpha.run(["stat", "-c", "%u:%g", DATA]).stdout.strip()
    mounts = [f"--mount=type=bind,source={DATA},target={DATA}", "--mount=type=bind,source=/etc/passwd,target=/etc/passwd,readonly"]
    alpha.docker("run", "--rm", "--user", owner, *mounts, "--entrypoint", "initdb", "postgres:16", "-D", DATA)
    refuses(alpha, "holds the data of another cluster")
    alpha.run(["rm", "-rf", DATA])
    alpha.run(["mv", f"{HOME}/kept", DATA])
    alpha.docker("start", CONTAINER)
    wait_until(lambda: lab_stage.writable() == ["node1"], "the primary is back with its own data")


def old_primary_returns(lab_stage: LabStage, alpha: LabServer, writers: Writers) -> Knocker:
    """24 and 25: cut off, it is succeeded; then everybody and everything starts it again."""
    with alpha.cut_off():
        flags = ["possible_data_loss", "primary_seen_alive", "unfenced_primary"]
        job = lab_stage.run("failover", cluster="orders", reason="cut off", confirm="orders", power_off="alpha", flags=flags)
        assert job.status == "done", log_of(job)
        alpha.docker("update", "--restart=always", CONTAINER)
        alpha.docker("stop", CONTAINER)
    assert alpha.run(["test", "-e", f"{HOME}/state/fenced"], check=False).returncode != 0  # nobody could tell it
    writers.go_on()
    with Knocker(lab_stage, "node1") as knocker:
        restarted_engine(alpha)  # `always` starts what was stopped by hand, at the engine's next start
        wait_until(lambda: state_of(alpha) == "running", "Docker has started the container again", 30)
        refused(alpha, "the cluster has gone on without it")
        knocker.goes_on()
        alpha.docker("stop", CONTAINER)
        up(alpha)
        refused(alpha, "node1 is fenced")  # the answer was kept: silence of the others would not lift it
        up(alpha, "--force-recreate")
        refused(alpha, "node1 is fenced")
        for policy in ("unless-stopped", "always")[: rounds(1, 2)]:
            alpha.docker("update", f"--restart={policy}", CONTAINER)
            alpha.reboot()
            wait_until(lambda: state_of(alpha) == "running", f"Docker has started it again under {policy}", 30)
            refused(alpha, "node1 is fenced")
            knocker.goes_on()
        job = lab_stage.done("verify", cluster="orders")
        assert job.result["stopped_in_quarantine"] == ["node1"], log_of(job)
        restarted_engine(alpha)
        assert (state_of(alpha), policy_of(alpha)) == ("exited", "no")
        knocker.goes_on()
    assert Instance.objects.get(name="node1").quarantined_at is not None
    return knocker


def refuses(server: LabServer, words: str) -> None:
    """It is started by hand, and does not become a server."""
    server.docker("start", CONTAINER)
    refused(server, words)
    server.docker("stop", CONTAINER)


def refused(server: LabServer, words: str) -> None:
    """The guard's sentence is where the panel, and people, look for it."""
    place = f"{HOME}/state/refused"
    wait_until(lambda: words in server.run(["cat", place], check=False).stdout, f"the guard says “{words}”", 30)
    said = server.docker("logs", "--tail", "20", CONTAINER)
    assert "REFUSED" in said.stdout + said.stderr
    assert "postgres" not in server.docker("exec", CONTAINER, "cat", "/proc/1/comm").stdout
    server.run(["rm", place])


def restarted_engine(server: LabServer) -> None:
    server.kill_engine()
    server.start_engine()


def state_of(server: LabServer) -> str:
    return server.docker("inspect", "--format", "{{.State.Status}}", CONTAINER).stdout.strip()


def policy_of(server: LabServer) -> str:
    return server.docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", CONTAINER).stdout.strip()


def up(server: LabServer, *words: str) -> None:
    """As somebody who knows nothing of the panel: `docker compose up` in the instance's directory."""
    server.run(["sh", "-c", f'cd {HOME} && docker compose up --detach "$@" 2>&1', "sh", *words])
