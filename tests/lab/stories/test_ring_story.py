"""The whole life of a cluster as a program tells it to the API: three bare servers, enrolled over SSH, to a rejoined old primary.

On demand (PGREPLICA_TEST_LONG=1) with about 1 GB and ten turns; the write gaps are logged (pytest --log-cli-level=INFO).
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from clusters.fingerprints import fingerprint
from clusters.models import Instance, Server
from clusters.postgres.spec import CONTAINER_SOCKETS
from tasks.access import access_setup
from tasks.models import Job
from tasks.runner import run
from tasks.tokens import token_create
from tests.lab.lab import Lab
from tests.lab.stories.stage import BASE, USER, LabStage, emptied, user_made
from tests.rounds import rounds
from tests.said import unsaid
from tests.stage import OPERATOR, log_of
from tests.waiting import wait_until
from tests.writers import Writers

FIGURES = logging.getLogger("lab.figures")

pytestmark = pytest.mark.needs("lab")

SCALE = rounds(1, 70)  # of pgbench; 70 are about 1 GB
TURNS = rounds(2, 10)
POWER = bool(rounds(0, 1))  # what comes after the ring is told in each run by test_power_story


@dataclass
class Program:
    """What asks the API, with a token; its jobs are run here, as a worker would."""

    client: Client

    def post(self, route: str, **data: Any) -> dict[str, Any]:
        answer = self.client.post(f"/api/v1/{route}", data, content_type="application/json")
        assert answer.status_code in (200, 201, 202), answer.content.decode()
        return dict(answer.json())

    def get(self, route: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/{route}")
        assert answer.status_code == 200, answer.content.decode()
        return dict(answer.json())

    def job(self, route: str, **data: Any) -> dict[str, Any]:
        """Ask for a job and run it; what the API then says of it."""
        asked = self.post(route, **data)
        began = time.monotonic()
        run(asked["id"])
        told = self.get(f"jobs/{asked['id']}")
        FIGURES.info("%s took %.1f s", route, time.monotonic() - began)
        assert told["status"] == "done", log_of(Job.objects.get(pk=asked["id"]))
        return told

    def enrol(self, lab: Lab, name: str) -> None:
        """As docs/how-to/add-a-server-over-ssh.md says, with a key that is given."""
        server = lab[name]
        self.post(
            "servers", name=name, address=server.address, base_directory=BASE, run_as=USER, connection="ssh", runtime="docker",
            ssh_user="root", private_key=lab.key.read_text(),
        )  # fmt: skip
        self.job(f"servers/{name}/read-host-key")
        self.post(f"servers/{name}/host-key", fingerprint=fingerprint(server.host_key))
        self.job(f"servers/{name}/check")
        engine = Server.objects.get(name=name).facts["docker"]
        assert engine["engine"] == server.docker("version", "--format={{.Server.Version}}").stdout.strip()
        assert (engine["running"], engine["maps_users"], bool(engine["storage"])) == (0, False, True)


@pytest.fixture
def program(transactional_db: None, lab: Lab) -> Iterator[Program]:
    access_setup()
    user = User.objects.create_user("program")
    user.groups.add(Group.objects.get(name="administrator"))
    _row, text = token_create(actor=OPERATOR, user=user, name="ring", scope="operate")
    for server in lab.servers.values():
        user_made(server)
    yield Program(Client(headers={"Authorization": f"Bearer {text.reveal()}"}))
    emptied(lab)


def it_goes_around_the_ring_loses_power_and_comes_back(lab: Lab, program: Program) -> None:
    for name in lab.servers:
        program.enrol(lab, name)
    stage = LabStage(Server.objects.get(name="alpha"), lab=lab)
    networks = [f"{lab.site.prefix}.0/24"]
    program.job("clusters", server="alpha", name="orders", database="shop", owner_role="shop", postgres_major=16, client_networks=networks)
    lab["alpha"].docker("exec", "pgr_orders_node1", *_pgbench())
    for name in ("beta", "gamma"):
        program.job("clusters/orders/standbys", server=name)

    gaps: list[float] = []
    with Writers(stage.dsn("orders")) as writers:
        for turn in range(TURNS):
            writers.go_on()
            since, to = time.monotonic(), f"node{(turn + 1) % 3 + 1}"
            program.job("clusters/orders/switchover", to=to, reason="ring", confirm="orders")
            writers.go_on()
            gaps.append(writers.gap(since))
            assert stage.writable() == [to]
        if POWER:
            _power_off_and_failover(lab, program, program.get("clusters/orders")["primary"], writers)
        else:
            assert writers.lost() == set()
    told = ", ".join(f"{gap:.3f}" for gap in gaps)
    FIGURES.info("%s rows acknowledged; gaps %s s, median %.3f, worst %.3f", writers.count, told, statistics.median(gaps), max(gaps))
    assert len(stage.writable()) == 1
    left_out = [f"{job.kind}: {line}" for job in Job.objects.all() for line in unsaid(job) if not _of_a_file(job, line)]
    assert not left_out, "\n".join(left_out)


def _of_a_file(job: Job, line: str) -> bool:
    """What a rejoin finds written in the files of the one that was away, no plan can know."""
    return job.kind == "rejoin" and line[0] in "+- "


def _pgbench() -> list[str]:
    row = Instance.objects.get(name="node1")
    password = row.cluster.superuser_password.reveal()
    where = f"host={CONTAINER_SOCKETS} port={row.port} user=postgres dbname=shop password={password}"
    return ["pgbench", "--initialize", f"--scale={SCALE}", "--quiet", where]


def _power_off_and_failover(lab: Lab, program: Program, primary: str, writers: Writers) -> None:
    """Nothing that was acknowledged before a standby had caught up is lost; what was lost after is within the bound that was told."""
    home = Instance.objects.get(name=primary).server.name
    lab[home].power_off()
    flags = ["possible_data_loss", "unfenced_primary", "primary_seen_alive"]
    job = program.job("clusters/orders/failover", reason="power", confirm="orders", power_off=home, flags=flags)
    writers.go_on()
    lab[home].boot()
    wait_until(lambda: lab[home].docker("ps", check=False).returncode == 0, "its engine runs", 60)
    program.job(f"clusters/orders/instances/{primary}/rejoin", confirm=primary, flags=["last_copy"])
    writers.go_on()
    lost = writers.lost()
    assert job["result"]["loss_bound"]["bytes"] is not None or not lost
    FIGURES.info("failover: bound %s, %s rows lost", job["result"]["loss_bound"], len(lost))
