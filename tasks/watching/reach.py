"""The way to an instance: who to sign in as, and where, through the server's SSH connection where it has one. It blocks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from django.db import connection

from clusters.hosts.machine import Machine
from clusters.machines import machine_of
from clusters.models import Instance
from clusters.secrets import Secret


@dataclass(frozen=True)
class Door:
    """Who may come in where, as the panel's rows say."""

    machine: Machine
    address: str
    port: int
    role: str
    password: Secret


@dataclass
class Way:
    """Where to connect to. `close` gives back what it holds open."""

    host: str
    port: int
    held: ExitStack

    def close(self) -> None:
        self.held.close()


def door_of(instance_id: int) -> Door:
    """Asks the panel's database. Raises: Instance.DoesNotExist where it was removed meanwhile; HostError where its server has no key."""
    try:
        row = Instance.objects.select_related("cluster", "server__jump", "server__ssh_key").get(pk=instance_id)
        return Door(machine_of(row.server), row.server.address, row.port, row.cluster.panel_role, row.cluster.panel_password)
    finally:
        connection.close()  # back to the pool: a thread that waits for a server holds none


def way_through(door: Door) -> Way:
    """Asks the server. Raises: HostError where it cannot be reached."""
    held = ExitStack()
    host, port = held.enter_context(door.machine.forward(door.address, door.port))
    return Way(host, port, held)
