"""From a server's row to the machine itself. The one place that chooses between local and (later) SSH."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import HostError, Machine
from clusters.models import Server


def machine_of(server: Server) -> Machine:
    """The machine behind a server, acting as the server's system user. Nothing is connected yet."""
    if server.connection == Server.Connection.LOCAL:
        return LocalMachine(run_as=server.run_as)
    raise HostError(_("The server %(name)s has no connection that this release knows."), _("Register it as local."), name=server.name)
