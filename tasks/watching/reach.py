"""The way to an instance: who to sign in as, and where, through the server's SSH connection where it has one. It blocks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from django.db import connection

from clusters.machines import machine_of
from clusters.models import Instance
from clusters.secrets import Secret


@dataclass
class Way:
    """`close` gives back what it holds open."""

    host: str
    port: int
    role: str
    password: Secret
    held: ExitStack

    def close(self) -> None:
        self.held.close()


def way_to(instance_id: int) -> Way:
    """Raises: HostError where the server cannot be reached; Instance.DoesNotExist where it was removed meanwhile."""
    try:
        row = Instance.objects.select_related("cluster", "server__jump", "server__ssh_key").get(pk=instance_id)
        machine = machine_of(row.server)
    finally:
        connection.close()  # back to the pool: a thread that waits for a server holds none
    held = ExitStack()
    host, port = held.enter_context(machine.forward(row.server.address, row.port))
    return Way(host, port, row.cluster.panel_role, row.cluster.panel_password, held)
