"""One SSH connection per server and process: made when it is needed, kept, shared by threads, made anew when it broke."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final
from weakref import WeakSet

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from clusters.fingerprints import key_type
from clusters.hosts.errors import MachineUnreachable, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.ssh_errors import HostKeyChanged, HostKeyNotPinned, LoginRefused, ProtocolRefused
from clusters.hosts.ssh_transport import KEY_TYPES, OPEN_SECONDS, Transport, dial
from clusters.secrets import Secret

#: Commands that one connection carries at a time: sshd's MaxSessions is 10 unless somebody lowered it, and ending a command takes one.
SESSIONS: Final = 8
#: A connection that nobody used for so long is closed.
IDLE_SECONDS: Final = 600.0
#: A server that did not answer is not asked again for so long: each of many looks would wait for it anew.
SILENT_SECONDS: Final = 5.0
QUICK_SECONDS: Final = 1.0

Broken = (paramiko.SSHException, EOFError, OSError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an SSH server is, and how the panel logs in there. `host_key` is the pinned one, "type base64"."""

    name: str
    host: str
    port: int
    user: str
    host_key: str
    private_key: Secret = field(repr=False)
    jump: Place | None = None

    @property
    def shown(self) -> str:
        return f"{self.host} port {self.port}"


def offered_host_key(place: Place) -> str:
    """The host key that the server shows, without logging in. Its jump server must be a known one.

    Raises: MachineUnreachable, ProtocolRefused, and for the jump server what `connection_to` raises.
    """
    transport = _begun(place, KEY_TYPES)
    try:
        return _line(transport)
    finally:
        transport.close()


class Connection:
    """A login at one server."""

    def __init__(self, place: Place) -> None:
        """Raises: MachineUnreachable, HostKeyChanged, HostKeyNotPinned, ProtocolRefused, LoginRefused."""
        self.place = place
        self.transport = _trusted(place)
        try:
            _log_in(self.transport, place)
            self.transport.watch()
        except BaseException:
            self.transport.close()
            raise
        self.used_at = time.monotonic()
        #: What was learnt of this login: user name -> how to become that user.
        self.identities: dict[str, Any] = {}
        self._slots = threading.BoundedSemaphore(SESSIONS)
        self._tunnels: WeakSet[paramiko.Channel] = WeakSet()
        self._counting, self._sessions = threading.Lock(), 0

    @property
    def alive(self) -> bool:
        return bool(self.transport.is_active())

    @property
    def idle(self) -> bool:
        through = any(not channel.closed for channel in list(self._tunnels))  # SQL sessions, and servers behind this one
        return not self._sessions and not through and time.monotonic() - self.used_at > IDLE_SECONDS

    def close(self) -> None:
        with contextlib.suppress(*Broken):  # behind a jump server even a farewell can fail
            self.transport.close()

    @contextlib.contextmanager
    def session(self, seconds: float, *, spare: bool = False) -> Iterator[paramiko.Channel]:
        """A channel for one command. `spare`: one of those that are kept back for ending commands.

        Raises: MachineUnreachable when none is free in time; one of `Broken` when the connection is not usable.
        """
        if not spare and not self._slots.acquire(timeout=seconds):
            raise self._full()
        self._count(1)
        try:
            channel = self._session_opened(seconds)
            try:
                yield channel
            finally:
                # What is left to say to a connection that hangs, or broke, is not waited for.
                with contextlib.suppress(*Broken):
                    channel.close()
        finally:
            self._count(-1)
            if not spare:
                self._slots.release()

    def _count(self, change: int) -> None:
        with self._counting:
            self._sessions += change
            self.used_at = time.monotonic()

    def _session_opened(self, seconds: float) -> paramiko.Channel:
        """A server that allows fewer sessions than ours is asked again while others of this process are open."""
        deadline = time.monotonic() + min(seconds, OPEN_SECONDS)
        while True:
            try:
                return self.transport.open_session(timeout=OPEN_SECONDS)
            except paramiko.SSHException as error:
                # Of two refusals at once paramiko tells one thread only; the connection is usable then.
                if not self.alive or "Timeout" in str(error):
                    raise
                if time.monotonic() > deadline or self._sessions <= 1:
                    raise self._full() from error
                time.sleep(0.05)

    def tunnel(self, host: str, port: int, seconds: float = OPEN_SECONDS) -> paramiko.Channel:
        """A connection from the server to `host`:`port`. Raises: paramiko.ChannelException where it is refused; one of `Broken`."""
        channel = self.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=seconds)
        self.used_at = time.monotonic()
        self._tunnels.add(channel)
        return channel

    def _full(self) -> MachineUnreachable:
        return MachineUnreachable(
            _("%(name)s opens no further SSH session, so nothing was run."),
            _("Wait until other jobs have ended. Its sshd_config may have a low MaxSessions: 10 is enough."),
            name=inert(self.place.name),
        )


def _begun(place: Place, key_types: tuple[str, ...]) -> Transport:
    """Keys are agreed on, nothing else. Raises: MachineUnreachable, ProtocolRefused."""
    try:
        sock = connection_to(place.jump).tunnel(place.host, place.port) if place.jump else dial(place.host, place.port)
    except Broken as error:
        raise _unreachable(place, error) from error
    transport = Transport(sock, key_types)
    try:
        transport.begin()
    except IncompatiblePeer as error:
        raise ProtocolRefused(
            _("The SSH server of %(name)s knows no algorithm that the panel accepts: %(said)s"),
            _("Update OpenSSH there, and look at KexAlgorithms, Ciphers, MACs and HostKeyAlgorithms in its sshd_config."),
            name=inert(place.name),
            said=inert(str(error)),
        ) from error
    except Broken as error:
        raise _unreachable(place, error) from error
    if not transport.agreed_on_strict_kex:
        transport.close()
        raise ProtocolRefused(
            _("The SSH server of %(name)s does not know strict key exchange: messages could be cut out on the way (CVE-2023-48795)."),
            _("Update OpenSSH there to 9.6, or to a release into which the distribution has put the correction."),
            name=inert(place.name),
        )
    return transport


def _trusted(place: Place) -> Transport:
    """A connection to the server that has the pinned key; nothing that identifies the panel was sent to any other."""
    if not place.host_key:
        raise HostKeyNotPinned(place.name)
    pinned = key_type(place.host_key)
    wanted = tuple(name for name in KEY_TYPES if name.startswith("rsa-")) if pinned == "ssh-rsa" else (pinned,)
    if not set(wanted) <= set(KEY_TYPES):
        raise HostKeyNotPinned(place.name)
    try:
        transport = _begun(place, wanted)
    except ProtocolRefused as refused:
        if "host key" in str(refused.__cause__):  # it has no key of the pinned type any more, so it has another key
            raise HostKeyChanged(place.name, place.host_key, _any_key(place)) from refused
        raise
    offered = _line(transport)
    if offered != place.host_key:
        transport.close()
        raise HostKeyChanged(place.name, place.host_key, offered)
    return transport


def _any_key(place: Place) -> str:
    try:
        return offered_host_key(place)
    except ProtocolRefused:
        return ""


def _line(transport: Transport) -> str:
    key = transport.get_remote_server_key()
    return f"{key.get_name()} {key.get_base64()}"


def _log_in(transport: Transport, place: Place) -> None:
    try:
        missing = transport.auth_publickey(place.user, _private_key(place))
    except paramiko.AuthenticationException as error:
        if transport.is_active() and "timeout" not in str(error).lower():
            raise LoginRefused(place.name, place.user) from error
        raise _unreachable(place, error) from error
    except Broken as error:
        raise _unreachable(place, error) from error
    if missing:  # the server wants a second factor, which a program has not
        raise LoginRefused(place.name, place.user)


_PRIVATE: Final = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def _private_key(place: Place) -> paramiko.PKey:
    for kind in _PRIVATE:
        with contextlib.suppress(paramiko.SSHException, ValueError):
            return kind.from_private_key(StringIO(place.private_key.reveal()))
    raise LoginRefused(place.name, place.user)


def _unreachable(place: Place, error: BaseException) -> MachineUnreachable:
    through = f" ({place.jump.name})" if place.jump else ""
    return MachineUnreachable(
        _("%(name)s does not answer over SSH at %(where)s: %(said)s"),
        _("See whether the server runs, whether its SSH server listens there, and whether a firewall lets the panel through."),
        name=inert(place.name),
        where=place.shown + through,
        said=inert(_said(error)),
    )


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, EOFError):
        return "the connection was closed"
    return str(error) or type(error).__name__


class _Pool:
    """The connections of this process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """After a fork: the connections are the parent's, and their threads did not come along."""
        self._guard = threading.Lock()
        self._places: dict[Place, threading.Lock] = {}
        self._open: dict[Place, Connection] = {}
        self._silent: dict[Place, tuple[float, MachineUnreachable]] = {}

    def get(self, place: Place) -> Connection:
        with self._guard:
            making = self._places.setdefault(place, threading.Lock())
            stale = [key for key, one in self._open.items() if one.idle or not one.alive]
            left = [self._open.pop(key) for key in stale]
        for one in left:  # not under the guard: a farewell may take seconds
            one.close()
        with making:
            known = self._open.get(place)
            if known is None or not known.alive:
                known = self._made(place)
                with self._guard:
                    self._open[place] = known
            return known

    def _made(self, place: Place) -> Connection:
        since, known = self._silent.get(place, (0.0, None))
        began = time.monotonic()
        if known is not None and began - since < SILENT_SECONDS:
            raise MachineUnreachable(known.template, known.hint_template, **known.values)
        try:
            connection = Connection(place)
        except MachineUnreachable as error:
            if time.monotonic() - began > QUICK_SECONDS:  # an answer that came at once costs nothing to ask for again
                self._silent[place] = (time.monotonic(), error)
            raise
        self._silent.pop(place, None)
        return connection

    def ask_again(self) -> None:
        self._silent.clear()

    def close(self, name: str | None = None) -> None:
        """Close the connections to the server of this name, or all."""
        with self._guard:
            left = [self._open.pop(place) for place in list(self._open) if name in (None, place.name)]
        for one in left:
            one.close()


_pool = _Pool()
os.register_at_fork(after_in_child=_pool.forget)


def connection_to(place: Place) -> Connection:
    """The process's connection to a server. Raises: as `Connection`."""
    return _pool.get(place)


def ask_again() -> None:
    """The next verb on each server is a try of its own, though the server did not answer a moment ago."""
    _pool.ask_again()


def close_connections(name: str | None = None) -> None:
    _pool.close(name)
