"""The machine the panel runs on."""

from __future__ import annotations

import errno
import os
import pwd
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from clusters.hosts.errors import HostError, MachineUnreachable, UserRefused, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.machine import Machine
from clusters.hosts.shell import ShellMachine
from clusters.hosts.spawn import Sink, spawn

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LocalMachine(ShellMachine):
    """This machine, as the system user `run_as` (needs root), or as the user the panel runs as when that is empty."""

    def __init__(self, run_as: str = "", *, search_path: str = SYSTEM_PATH) -> None:
        self.run_as, self.search_path = run_as, search_path

    def __repr__(self) -> str:
        return f"LocalMachine({self.run_as!r})"

    def stream(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None,
        env: Mapping[str, str],
        timeout: float,
        out: Sink,
        err: Sink,
        as_owner: bool = True,
    ) -> int:
        user = self._user() if as_owner else pwd.getpwuid(os.geteuid())
        # Nothing of the panel's own environment reaches a command: it holds keys and addresses.
        whole = {"PATH": self.search_path, "HOME": user.pw_dir, "LC_ALL": "C", "LANG": "C", **env}
        try:
            return spawn(argv, stdin=stdin, timeout=timeout, out=out, err=err, env=whole, cwd="/", umask=0o077, **_changing_to(user))
        except PermissionError as error:
            if error.errno == errno.EPERM:
                raise self._cannot_change() from error
            return _not_started(err, argv, 126, error)
        except FileNotFoundError as error:
            return _not_started(err, argv, 127, error)
        except OSError as error:
            return _not_started(err, argv, 126, error)

    def owner(self) -> str:
        user = self._user()
        return f"{user.pw_uid}:{user.pw_gid}"

    def login_path(self) -> str:
        return os.environ.get("PATH", "") or self.search_path

    def port_free(self, address: str, port: int) -> bool:
        """Tries to bind, as a server would. Raises HostError when the address is not this machine's."""
        try:
            targets = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise MachineUnreachable(
                _("The address %(address)s could not be resolved: %(said)s"),
                _("Correct the server's address."),
                address=inert(address),
                said=inert(str(error)),
            ) from error
        return all(_can_bind(family, target) for family, _type, _protocol, _name, target in targets)

    @contextmanager
    def forward(self, address: str, port: int) -> Iterator[tuple[str, int]]:
        yield address, port

    def _user(self) -> pwd.struct_passwd:
        if not self.run_as:
            return pwd.getpwuid(os.geteuid())
        try:
            user = pwd.getpwnam(self.run_as)
        except (KeyError, ValueError):
            raise UserRefused(
                _("There is no system user “%(user)s” on this machine."),
                _("Make it, or give the server another system user."),
                user=inert(self.run_as),
            ) from None
        if os.geteuid() not in (0, user.pw_uid):
            raise self._cannot_change()
        return user

    def _cannot_change(self) -> UserRefused:
        return UserRefused(
            _("The panel runs as “%(own)s” and may not act as the system user “%(user)s”."),
            _("Start the panel as root or as “%(user)s”, or leave the system user of the server empty."),
            own=pwd.getpwuid(os.geteuid()).pw_name,
            user=inert(self.run_as),
        )


def _changing_to(user: pwd.struct_passwd) -> dict[str, Any]:
    """Popen's options to become `user`, with the groups it has in the system; none when it is us already."""
    if user.pw_uid == os.geteuid():
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid)}


def _not_started(err: Sink, argv: Sequence[str], code: int, error: OSError) -> int:
    """Say it as a shell would, so that a missing program looks the same on every kind of machine."""
    err(f"{argv[0]}: {os.strerror(error.errno or 0)}\n".encode("utf-8", "replace"))
    return code


def _can_bind(family: int, target: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # As PostgreSQL does: connections of a server that has ended do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(target)
            listener.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise HostError(
                _("A server could not listen on %(address)s port %(port)s: %(said)s"),
                _("Give an address of this machine, and a port above 1023."),
                address=inert(str(target[0])),
                port=target[1],
                said=inert(os.strerror(error.errno or 0)),
            ) from error
    return True


if TYPE_CHECKING:
    _keeps_the_contract: type[Machine] = LocalMachine
