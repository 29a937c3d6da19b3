"""A stage in the lab: its servers registered as a person would have, with Docker, reached by SSH."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from clusters.hosts.ssh import SSHMachine
from clusters.machines import machine_of
from clusters.models import Cluster, Server, SshKey
from clusters.secrets import Secret
from tasks.models import Job
from tests.lab.lab import Lab
from tests.lab.server import LabServer
from tests.stage import Stage

USER = "postgres"
BASE = "/srv/pg"


@dataclass
class LabStage(Stage):
    """`create` and `standby` take the name of a server; everything else is as on one machine."""

    lab: Lab = field(default_factory=Lab)

    def create(self, name: str = "orders", server: str = "alpha", **more: Any) -> Cluster:
        values = {"database": "shop", "owner_role": "shop", "postgres_major": 16, "client_networks": [f"{self.lab.site.prefix}.0/24"]}
        self.done("create_cluster", server=server, name=name, **values, **more)
        return Cluster.objects.get(name=name)

    def dsn(self, cluster: str) -> str:
        """Applications that notice a server without power: else their open sessions wait for it for a quarter of an hour."""
        return make_conninfo(super().dsn(cluster), tcp_user_timeout="2000")

    def standby(self, cluster: str = "orders", server: str = "beta", **more: Any) -> Job:
        return self.done("add_standby", cluster=cluster, server=server, **more)


@pytest.fixture
def lab_stage(transactional_db: None, lab: Lab) -> Iterator[LabStage]:
    """Three servers with Docker: alpha, beta, gamma. Each is emptied afterwards."""
    rows = [_register(lab, name) for name in lab.servers]
    yield LabStage(rows[0], lab=lab)
    emptied(lab)


def emptied(lab: Lab) -> None:
    """Every fault healed, nothing of a story left on the servers."""
    lab.heal()
    for server in lab.servers.values():
        server.empty()
        server.run(["rm", "-rf", BASE])


def user_made(server: LabServer) -> None:
    """The system user that owns the data, as a person makes it beforehand."""
    if server.run(["id", "-u", USER], check=False).returncode:
        server.run(["useradd", "--system", "--user-group", "--groups", "docker", USER])
    else:
        server.run(["usermod", "--append", "--groups", "docker", USER])


def _register(lab: Lab, name: str) -> Server:
    server = lab[name]
    user_made(server)
    row = Server.objects.create(
        name=name, address=server.address, base_directory=BASE, run_as=USER, connection="ssh", runtime="docker", ssh_user="root",
        ssh_host_key=server.host_key,
    )  # fmt: skip
    SshKey.objects.create(server=row, private_key=Secret(lab.key.read_text()), public_key=lab.public_key)
    machine = machine_of(row)
    assert isinstance(machine, SSHMachine)
    Server.objects.filter(pk=row.pk).update(observed_at=timezone.now(), facts={"owner": machine.owner()})
    return row
