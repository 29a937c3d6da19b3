"""From a server's row to the machine itself. The one place that chooses between local and SSH."""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext_noop as _

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import HostError, Machine
from clusters.hosts.ssh import SSHMachine
from clusters.hosts.ssh_connection import Place, ask_again
from clusters.models import Server, SshKey
from clusters.secrets import Secret

__all__ = ["ask_again", "machine_of", "place_of"]

#: Jump servers one behind the other; more is a circle.
MAX_JUMPS: Final = 4


def machine_of(server: Server, run_as: str = "") -> Machine:
    """The machine behind a server, acting as the server's system user unless another is given. Nothing is connected yet."""
    user = run_as or server.run_as
    if server.connection == Server.Connection.LOCAL:
        return LocalMachine(run_as=user)
    return SSHMachine(place_of(server), user)


def place_of(server: Server, jumps: int = 0) -> Place:
    """Where the server's SSH is, with the pinned host key and the panel's key for it. Raises: HostError."""
    if jumps > MAX_JUMPS:
        raise HostError(
            _("The jump servers of %(name)s lead in a circle."),
            _("Correct the jump server of each of them on its page."),
            name=server.name,
        )
    # A jump server that is this machine itself is no detour.
    jump = server.jump if server.jump and server.jump.connection == Server.Connection.SSH else None
    return Place(
        name=server.name,
        host=server.ssh_host or server.address,
        port=server.ssh_port,
        user=server.ssh_user,
        host_key=server.ssh_host_key,
        private_key=_private_key(server),
        jump=place_of(jump, jumps + 1) if jump else None,
    )


def _private_key(server: Server) -> Secret:
    try:
        key: Secret = server.ssh_key.private_key
        return key
    except SshKey.DoesNotExist:
        raise HostError(
            _("The panel has no SSH key for %(name)s."),
            _("Make or paste one on the page of the server."),
            name=server.name,
        ) from None
