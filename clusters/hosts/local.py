"""The machine the panel runs on."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from clusters.hosts.errors import HostError, UserRefused, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.files import FileVerbs
from clusters.hosts.machine import Machine
from clusters.hosts.shell import Call, Sink
from clusters.hosts.spawn import NotStarted, spawn
from clusters.hosts.units import UnitVerbs

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LocalMachine(FileVerbs, UnitVerbs):
    """This machine, as the system user `run_as` (needs root), or as the user the panel runs as when that is empty."""

    def __init__(self, run_as: str = "", *, search_path: str = SYSTEM_PATH) -> None:
        self.run_as, self.search_path = run_as, search_path

    def __repr__(self) -> str:
        return f"LocalMachine({self.run_as!r})"

    def stream(self, call: Call, out: Sink, err: Sink) -> int:
        user = self._user() if call.as_owner else pwd.getpwuid(os.geteuid())
        # Nothing of the panel's own environment reaches a command: it holds keys and addresses.
        env = {"PATH": self.search_path, "HOME": user.pw_dir, "LC_ALL": "C", "LANG": "C", **call.env}
        argv, becoming = _becoming(user, call.argv, self.search_path)
        options = {"env": env, "cwd": "/", "umask": 0o077, **becoming}
        try:
            return spawn(argv, stdin=call.stdin, timeout=call.timeout, out=out, err=err, **options)
        except NotStarted as failure:
            if failure.number == errno.EPERM:
                raise self._cannot_change() from failure
            # As a shell would say it, so that a missing program looks the same on every kind of machine.
            err(f"{call.argv[0]}: {os.strerror(failure.number)}\n".encode("utf-8", "replace"))
            return 127 if failure.number == errno.ENOENT else 126

    def owner(self) -> str:
        user = self._user()
        return f"{user.pw_uid}:{user.pw_gid}"

    def login_path(self) -> str:
        return os.environ.get("PATH", "") or self.search_path

    def port_free(self, address: str, port: int) -> bool:
        """Tries to listen, as a server would. Raises HostError when the address is not this machine's."""
        try:
            targets = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot even be asked for
            raise _no_listening(address, port, error) from error
        answers = [_try_to_listen(family, target) for family, _type, _protocol, _name, target in targets]
        # A name may stand for an address family that this machine has not; PostgreSQL goes on without it too.
        usable = [answer for answer in answers if answer is None or answer.errno == errno.EADDRINUSE]
        if not usable:
            raise _no_listening(address, port, answers[0] or OSError())
        return all(answer is None for answer in usable)

    def reaches(self, address: str, port: int, seconds: float) -> bool:
        try:
            with socket.create_connection((address, port), timeout=seconds):
                return True
        except OSError:
            return False

    @contextmanager
    def forward(self, address: str, port: int) -> Iterator[tuple[str, int]]:
        yield address, port

    def _user(self) -> pwd.struct_passwd:
        if not self.run_as:
            return pwd.getpwuid(os.geteuid())
        try:
            user = _numbered(int(self.run_as)) if self.run_as.isascii() and self.run_as.isdigit() else pwd.getpwnam(self.run_as)
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


def _numbered(uid: int) -> pwd.struct_passwd:
    """A user by number, with the group of the same number: images have users that the machine does not know by name."""
    return pwd.struct_passwd((str(uid), "x", uid, uid, "", "/", ""))


def _becoming(user: pwd.struct_passwd, argv: Sequence[str], search_path: str) -> tuple[Sequence[str], dict[str, Any]]:
    """The command, and Popen's options, with which it runs as `user` and with the groups that user has in the system.

    Python copies the whole page table of a process of 150 MB for each child that is to change its user (it may not use
    vfork then): 18 ms of processor time measured, 4 through setpriv. A program that is not there is left to Popen to tell.
    """
    if user.pw_uid == os.geteuid():
        return argv, {}
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    setpriv = _setpriv(user.pw_uid, user.pw_gid, ",".join(map(str, groups)))
    if setpriv is None or shutil.which(argv[0], path=search_path) is None:
        return argv, {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}
    return [*setpriv, *argv], {}


@cache
def _setpriv(uid: int, gid: int, groups: str) -> tuple[str, ...] | None:
    """How util-linux's setpriv becomes this user, where it can: busybox has one that does not, and root may have lost the right."""
    path = shutil.which("setpriv", path=SYSTEM_PATH)
    if path is None:
        return None
    words = (path, f"--reuid={uid}", f"--regid={gid}", f"--groups={groups}", "--")
    tried = subprocess.run([*words, "true"], capture_output=True, check=False, timeout=10, env={"PATH": SYSTEM_PATH})
    return words if tried.returncode == 0 else None


def _try_to_listen(family: int, target: Any) -> OSError | None:
    """What keeps a server from listening there; None when nothing does."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            # As PostgreSQL does: connections of a server that has ended do not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(target)
            listener.listen(1)
    except OSError as error:
        return error
    return None


def _no_listening(address: str, port: int, error: Exception) -> HostError:
    return HostError(
        _("A server could not listen on %(address)s port %(port)s: %(said)s"),
        _("Give an address of this machine, and a port above 1023."),
        address=inert(address),
        port=port,
        said=inert(getattr(error, "strerror", None) or str(error)),
    )


if TYPE_CHECKING:
    _keeps_the_contract: type[Machine] = LocalMachine
