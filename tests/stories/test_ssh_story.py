"""A server that is reached over SSH from its registration to a switchover, on a real sshd: the same jobs, the same log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from clusters.fingerprints import fingerprint
from clusters.hosts.ssh_connection import close_connections
from clusters.models import Cluster, Instance, Server
from clusters.services import ssh_key_set
from clusters.ssh_keys import authorized_line, key_pair_made
from launcher.account import Account
from tasks.models import Job, JobEvent
from tasks.registration import host_key_confirm
from tests.sshd import Sshd
from tests.stage import OPERATOR, Stage
from tests.writers import Writers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("sshd")]


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    server = Sshd()
    yield server
    close_connections()
    server.remove()


@pytest.fixture
def over_ssh(stage: Stage, sshd: Sshd) -> Stage:
    """The stage's server as somebody has just registered it: the panel's key is on the server, nothing is pinned."""
    pair = key_pair_made("alpha")
    (sshd.directory / "authorized_keys").write_text(authorized_line(pair.public) + "\n")
    fields = {"connection": "ssh", "ssh_user": sshd.place.user, "ssh_port": sshd.port, "ssh_host": "127.0.0.1"}
    Server.objects.filter(pk=stage.server.pk).update(**fields)
    stage.server.refresh_from_db()
    ssh_key_set(stage.server, pair)
    return stage


def pinned(stage: Stage, sshd: Sshd) -> None:
    read = stage.done("read_host_key", server="alpha")
    assert read.result["fingerprint"] == fingerprint(sshd.host_key)
    stage.server.refresh_from_db()
    host_key_confirm(actor=OPERATOR, server=stage.server, data={"fingerprint": read.result["fingerprint"]})


def test_a_server_is_trusted_tested_and_carries_a_cluster(
    over_ssh: Stage, sshd: Sshd, embedded_bindir: Path, account: Account | None
) -> None:
    stage = over_ssh
    refused = stage.run("check_server", server="alpha")
    assert (refused.status, "has not been confirmed" in refused.summary) == ("failed", True)
    assert "Accepted publickey" not in sshd.said()
    pinned(stage, sshd)
    seen = stage.run("check_server", server="alpha").result["facts"]  # it fails where the machine has no PostgreSQL of its own
    assert seen["owner"].split(":")[0] == str(account.uid if account else stage.base.stat().st_uid)
    assert abs(seen["clock_difference_seconds"]) < 2
    assert {"flock", "setsid"} <= set(seen["tools"])
    assert sshd.port in seen["ports_in_use"]
    Server.objects.filter(pk=stage.server.pk).update(
        facts={**seen, "postgres": [{"major": 18, "version": "18.6", "bindir": str(embedded_bindir)}]}
    )
    stage.create()
    stage.standby(name="node2")
    with Writers(stage.dsn("orders")) as writers:
        job = stage.done("switchover", cluster="orders", to="node2", reason="story", confirm="orders")
        writers.go_on()
        assert (job.result["new_primary"], job.result["canary_lost"]) == ("node2", 0)
        assert writers.lost() == set()
    assert Instance.objects.get(name="node1").pair.upstream.name == "node2"
    nothing_secret_is_written(stage, sshd)


def nothing_secret_is_written(stage: Stage, sshd: Sshd) -> None:
    cluster = Cluster.objects.get()
    secrets = [cluster.superuser_password, cluster.owner_password, cluster.replication_password, cluster.panel_password]
    planted = [secret.reveal() for secret in secrets] + stage.server.ssh_key.private_key.reveal().split("\n")[1:-2]
    text = sshd.said() + "\n".join(JobEvent.objects.values_list("text", flat=True))
    text += json.dumps(list(Job.objects.values("result", "params", "plan")))
    assert [secret for secret in planted if secret in text] == []


def test_a_host_key_that_changes_stops_everything_and_both_are_shown(over_ssh: Stage, sshd: Sshd) -> None:
    stage = over_ssh
    pinned(stage, sshd)
    before = sshd.host_key
    sshd.make_key("host_key", "ed25519")
    sshd.restart()
    close_connections()
    failed = stage.run("check_server", server="alpha")
    assert failed.status == "failed"
    for part in (fingerprint(before), fingerprint(sshd.host_key)):
        assert part in failed.summary
    stage.server.refresh_from_db()
    assert (stage.server.ssh_host_key, stage.server.ssh_host_key_offered) == (before, sshd.host_key)
    assert "Accepted" not in sshd.said()
    call_command(
        "server", "confirm-host-key", "alpha", fingerprint(sshd.host_key), "--reason", "a new machine", "--confirm", "alpha", "--json"
    )
    assert stage.run("check_server", server="alpha").result["facts"]["hostname"]


def test_what_a_server_lacks_is_said_with_its_cure(over_ssh: Stage, sshd: Sshd) -> None:
    stage = over_ssh
    pinned(stage, sshd)
    Server.objects.filter(pk=stage.server.pk).update(run_as="no-such-user")
    failed = stage.run("check_server", server="alpha")
    assert failed.summary == "There is no system user “no-such-user” on alpha."
    assert failed.hint == "Make it, or give the server another system user."
    Server.objects.filter(pk=stage.server.pk).update(run_as=stage.server.run_as)
    keys = sshd.directory / "authorized_keys"
    keys.write_text(f"no-port-forwarding,{keys.read_text()}")
    close_connections()
    failed = stage.run("check_server", server="alpha")
    finding = next(one for one in failed.result["findings"] if one["name"] == "forwarding-forbidden")
    assert (failed.status, finding["severity"]) == ("failed", "failed")
    assert "AllowTcpForwarding" in failed.hint
