"""Faults 12 to 15 and 32 (safety.md section 2): connections that are reset, hang or are cut, and servers that die during a clone."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from clusters.hosts.ssh_connection import close_connections
from clusters.models import Instance, Server
from tasks.kinds import Status
from tasks.models import Job, JobEvent
from tasks.registration import host_key_confirm
from tasks.services import job_request, job_resume
from tests.faults.harness import Worker, assert_sound, drive, frozen_at, lease_end, texts
from tests.lab.server import LabServer
from tests.lab.stories.invariants import assert_invariants
from tests.lab.stories.stage import BASE, LabStage
from tests.rounds import rounds
from tests.stage import OPERATOR
from tests.waiting import wait_until
from tests.writers import Writers

pytestmark = pytest.mark.needs("lab")

FIGURES = logging.getLogger("lab.figures")

SLOW, SLOWER = "4M", "1500k"  # pg_basebackup's --max-rate: a copy takes some ten seconds then, or half a minute
SSH = 22


def test_12_and_32_a_job_ends_well_though_its_connections_are_reset_and_another_host_key_is_a_hard_stop(lab_stage: LabStage) -> None:
    """The panel's connections to every server are reset when a step has begun: its commands are under way."""
    lab_stage.create()
    lab_stage.standby(server="beta")
    with Writers(lab_stage.dsn("orders"), count=2) as writers:
        job = job_request(kind="switchover", actor=OPERATOR, data={"cluster": "orders", "to": "node2", "confirm": "orders", "reason": "t"})
        resets = reset_at_each_step(lab_stage, job, ("alpha", "beta"))
        assert job.status == Status.DONE, "\n".join(texts(job))
        assert resets >= 6
        assert any("connection was lost" in line or "does not answer over SSH" in line for line in texts(job)), texts(job)
        writers.go_on()
        assert lab_stage.writable() == ["node2"]
        candidate_without_power(lab_stage, writers)
        assert_invariants(lab_stage, writers)
    stopped_by_a_changed_host_key(lab_stage)


def candidate_without_power(lab_stage: LabStage, writers: Writers) -> None:
    """Fault 18, with the whole server: nobody was promoted, and the panel does not wait for a server that is gone."""
    alpha = lab_stage.lab["alpha"]
    job = job_request(kind="switchover", actor=OPERATOR, data={"cluster": "orders", "to": "node1", "confirm": "orders", "reason": "t"})
    frozen_at(job, "primary_fenced:after", alpha.power_off)
    assert job.status == Status.FAILED, texts(job)
    assert lab_stage.writable() == ["node2"]
    writers.go_on()
    FIGURES.info("a switchover to a server that loses power while the primary stops: no write for %.0f s", writers.gap())
    alpha.boot()
    slot = "pgr_orders_node2"  # what was made on the candidate, and could not be taken away from a server without power
    assert any("stay there" in line for line in texts(job)), texts(job)
    lab_stage.done("drop_slot", cluster="orders", instance="node1", slot=slot, confirm=slot)


def stopped_by_a_changed_host_key(lab_stage: LabStage) -> None:
    """Fault 32, on a server that is to get a standby."""
    gamma, row = lab_stage.lab["gamma"], Server.objects.get(name="gamma")
    before = gamma.fingerprint
    gamma.change_host_key()
    lab_stage.lab.write_known_hosts()
    close_connections()
    logins = said(gamma, "Accepted publickey")
    job = lab_stage.run("add_standby", cluster="orders", server="gamma")
    assert job.status == Status.FAILED, texts(job)
    assert before in job.summary
    assert gamma.fingerprint in job.summary
    assert before != gamma.fingerprint
    assert said(gamma, "Accepted publickey") == logins
    assert said(gamma, "publickey") == logins  # no name and no key was offered either
    read = lab_stage.done("read_host_key", server="gamma")
    assert read.result["fingerprint"] == gamma.fingerprint
    row.refresh_from_db()
    host_key_confirm(actor=OPERATOR, server=row, data={"fingerprint": gamma.fingerprint, "reason": "installed anew", "confirm": "gamma"})
    ended_well(job)
    assert_invariants(lab_stage)


def test_13_a_copy_goes_on_when_its_connection_hangs_and_is_found_again(lab_stage: LabStage) -> None:
    """No byte passes between the panel and the standby's server for as long as it takes to notice; the copy does not hear of it."""
    beta = lab_stage.lab["beta"]
    lab_stage.create()
    job = request_standby("beta", SLOWER)
    worker = Worker(job).start()
    container = wait_until(lambda: copying(beta), "the copy runs", 60)
    with lab_stage.lab.parted(lab_stage.lab.site.own_address, beta):
        wait_until(lambda: lost_in(job), "the panel has noticed", 15)
        assert copying(beta) == container
    worker.end()
    job.refresh_from_db()
    assert_sound(job)
    assert job.status == Status.DONE, texts(job)
    assert started(job) == 1, texts(job)
    assert any("Found basebackup again" in line for line in texts(job)), texts(job)
    assert_invariants(lab_stage)
    clone_beside_dying_servers(lab_stage)


def clone_beside_dying_servers(lab_stage: LabStage) -> None:
    """Faults 14 and 15, told on the same cluster: alpha is its primary, beta follows, gamma is to be cloned to."""
    alpha, gamma = lab_stage.lab["alpha"], lab_stage.lab["gamma"]
    job = interrupted(request_standby("gamma"), gamma, dies(gamma))
    assert lab_stage.slots("node1") <= {"pgr_orders_node2", "pgr_orders_node3"}
    assert capped(lab_stage)
    gamma.boot()
    if job.status != Status.DONE:  # where it was back soon, the copy has begun anew by itself
        ended_well(job)
    assert_invariants(lab_stage)
    lab_stage.done("remove_standby", cluster="orders", instance="node3", confirm="node3")

    job = interrupted(request_standby("gamma"), gamma, dies(alpha))
    assert job.status in (Status.FAILED, Status.NEEDS_OPERATOR), texts(job)
    assert not startable(gamma)
    alpha.boot()
    wait_until(lambda: lab_stage.writable() == ["node1"], "Docker has started the primary again", 60)
    ended_well(job)
    assert_invariants(lab_stage)


# -- how


def request_standby(server: str, max_rate: str = SLOW) -> Job:
    return job_request(kind="add_standby", actor=OPERATOR, data={"cluster": "orders", "server": server, "max_rate": max_rate})


def reset_at_each_step(lab_stage: LabStage, job: Job, names: tuple[str, ...]) -> int:
    """A worker does the job; whenever it has begun a step, every packet to SSH is answered with a reset until one was. How often."""
    worker, seen = Worker(job).start(), set()
    while worker.process is not None and worker.process.is_alive():
        step = job.steps.filter(status__in=("running", "undoing")).values_list("name", flat=True).first()
        if step in (None, "members_checked", *seen):  # what cannot look refuses, and has changed nothing
            worker.process.join(0.02)
            continue
        seen.add(step)
        for name in names:
            reset(lab_stage.lab[name])
    worker.end()
    job.refresh_from_db()
    assert_sound(job)
    return len(seen)


def reset(server: LabServer) -> None:
    """Until a packet was answered with a reset; a step that says nothing to this server is not waited for."""
    with server.refusing(SSH):
        try:
            wait_until(lambda: refused(server), "a reset", 0.5)
        except AssertionError:
            return


def refused(server: LabServer) -> bool:
    listed = server.run(["iptables", "--wait", "-L", "INPUT", "-v", "-x", "-n"]).stdout.splitlines()
    return any(line.split()[0] != "0" for line in listed if "REJECT" in line)


def copying(server: LabServer) -> str:
    """The container of a base backup, by its number; empty where none runs."""
    return server.docker("ps", "--no-trunc", "--quiet", "--filter", "name=basebackup").stdout.strip()


def lost_in(job: Job) -> bool:
    lines = JobEvent.objects.filter(job=job, level="warning")
    return lines.filter(text__contains="connection was lost").exists() or lines.filter(text__contains="does not answer over SSH").exists()


def started(job: Job) -> int:
    """How often pg_basebackup has begun, by its own words."""
    return sum("initiating base backup" in line for line in texts(job))


def interrupted(job: Job, target: LabServer, fault: Callable[[], None]) -> Job:
    """The fault is made while the copy grows; the job as it is when its workers have done with it."""
    worker = Worker(job).start()
    wait_until(lambda: copying(target), "the copy runs", 60)
    wait_until(lambda: grown(target), "the copy has begun to grow", 30)
    fault()
    worker.end(180)
    lease_end(job)
    job = drive(job) if Job.objects.get(pk=job.pk).status in ("running", "rolling_back") else Job.objects.get(pk=job.pk)
    assert_sound(job)
    return job


def dies(server: LabServer) -> Callable[[], None]:
    """It loses power and boots. On demand it stays off, until every try of the panel to reach it has ended."""
    return rounds(server.reboot, server.power_off)


def grown(server: LabServer) -> bool:
    return bool(server.run(["sh", "-c", f"ls -d {BASE}/orders/node*/volumes/postgres/data.clone-*/data/base"], check=False).stdout)


def startable(server: LabServer) -> bool:
    """Whether a copy that is not whole could be taken for a data directory."""
    place = f"{BASE}/orders/node*/volumes/postgres/data"
    return bool(server.run(["sh", "-c", f"ls {place}/PG_VERSION {place}.clone-*/data/global/pg_control"], check=False).stdout)


def capped(lab_stage: LabStage) -> bool:
    row = Instance.objects.select_related("server", "cluster").get(name="node1")
    return lab_stage.answer(row, "SELECT setting::int > 0 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'") is True


def ended_well(job: Job) -> None:
    """A person resumes it. It starts clean: the copy begins anew, in a directory of its own."""
    job_resume(job=job, actor=OPERATOR)
    job = drive(job)
    assert_sound(job)
    assert job.status == Status.DONE, texts(job)


def said(server: LabServer, words: str) -> int:
    return (server.root / "var/log/sshd.log").read_text(errors="replace").count(words)
