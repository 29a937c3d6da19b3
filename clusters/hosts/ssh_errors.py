"""What can go wrong before a command is sent over SSH, besides a server that does not answer (MachineUnreachable)."""

from __future__ import annotations

from clusters.fingerprints import fingerprint
from clusters.hosts.errors import HostError, inert
from clusters.hosts.errors import gettext_noop as _


class HostKeyChanged(HostError):
    """The server shows another host key than the pinned one. Nothing was sent: no name, no key, no command."""

    def __init__(self, name: str, pinned: str, offered: str) -> None:
        self.pinned, self.offered = pinned, offered
        super().__init__(
            _(
                "The SSH server of %(name)s shows another host key than the pinned one, so nothing was sent to it. "
                "Pinned: %(pinned)s. Offered: %(offered)s."
            ),
            _(
                "Somebody may be between the panel and the server. If the server was installed anew, compare the fingerprint on the server "
                "itself and pin the new key on its page, with a reason."
            ),
            name=inert(name),
            pinned=fingerprint(pinned),
            offered=fingerprint(offered) or "?",
        )


class HostKeyNotPinned(HostError):
    """Nobody has confirmed yet which host key the server has. Nothing was sent."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("The host key of %(name)s has not been confirmed, so nothing was sent to it."),
            _("Read its host key and compare the fingerprint on the server's page: ./pgreplica server read-host-key %(name)s"),
            name=inert(name),
        )


class LoginRefused(HostError):
    """The SSH server does not accept the panel's key for this user. Nothing was run."""

    def __init__(self, name: str, user: str) -> None:
        super().__init__(
            _("%(name)s did not let “%(user)s” in with the panel's key."),
            _("Add the line that the server's page shows to the file ~%(user)s/.ssh/authorized_keys there, mode 600, then try again."),
            name=inert(name),
            user=inert(user),
        )


class ForwardingForbidden(HostError):
    """The SSH server lets this login run commands and forwards no ports for it."""


class ProtocolRefused(HostError):
    """The SSH server knows no protocol that the panel accepts. Nothing secret was sent, and nothing was run."""
