"""A port of this machine's loopback that leads, through an SSH connection, to a port of a server."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import paramiko

from clusters.hosts.errors import HostError
from clusters.hosts.ssh_connection import Broken

#: As long as a session may take to be opened (clusters.sessions).
SECONDS: Final = 5.0
_CHUNK: Final = 1 << 15

T = TypeVar("T")
Tunnel = Callable[[str, int, float], "paramiko.Channel | None"]


@dataclass
class Way:
    """Where to connect, and whether a connection that went through it broke on the way: the server's port has not closed it."""

    here: tuple[str, int]
    cut: bool = False


@contextmanager
def forwarder(tunnel: Tunnel, address: str, port: int) -> Iterator[Way]:
    """The way to a port of a server. Where the server's port is closed, so is ours: whoever connects is told as if it were not far away.

    Raises: what `tunnel` raises for the first connection, which is opened before anybody asks.
    """
    first = tunnel(address, port, SECONDS)
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        if first is not None:
            stack.callback(_close, first)
        listener.bind(("127.0.0.1", 0))
        way = Way(listener.getsockname())
        if first is None:
            yield way  # bound, and nobody listens: it is refused
            return
        listener.listen(8)
        forwarding = _Forwarding(listener, lambda: tunnel(address, port, SECONDS), first, way)
        stack.callback(forwarding.stop)
        forwarding.start()
        yield way


class _Forwarding:
    """Accepts connections until it is stopped; what was accepted ends with it."""

    def __init__(self, listener: socket.socket, tunnel: Callable[[], paramiko.Channel | None], first: paramiko.Channel, way: Way) -> None:
        self._listener, self._tunnel, self._way = listener, tunnel, way
        self._first: paramiko.Channel | None = first
        self._stopped, self._stop = socket.socketpair()
        self._channels: list[paramiko.Channel] = []
        self._thread = threading.Thread(target=self._accepting, name="ssh-forward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.close()
        self._thread.join(SECONDS)
        self._stopped.close()

    def _accepting(self) -> None:
        pumps: list[threading.Thread] = []
        while True:
            ready, _writable, _failed = select.select([self._listener, self._stopped], [], [])
            if self._stopped in ready:
                break
            client, _from = self._listener.accept()
            first, self._first = self._first, None
            pumps.append(threading.Thread(target=self._joined, args=(client, first), name="ssh-forward-pump", daemon=True))
            pumps[-1].start()
        for channel in self._channels:
            _close(channel)
        for pump in pumps:
            pump.join(SECONDS)

    def _joined(self, client: socket.socket, first: paramiko.Channel | None) -> None:
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel = first
            if channel is None:
                try:
                    channel = self._tunnel()
                except HostError:  # the client sees its connection closed, and is told why by whoever asks the way
                    self._way.cut = True
            if channel is None:
                return
            self._channels.append(channel)
            if _pump(client, channel):  # told before the client sees that it is closed
                self._way.cut = True
            _close(channel)


def _pump(client: socket.socket, channel: paramiko.Channel) -> bool:
    """Carry bytes both ways until both ends have said their last, or either is gone. Whether it is the channel that broke."""
    both: list[socket.socket | paramiko.Channel] = [client, channel]
    try:
        while channel in both:
            ready, _writable, _failed = select.select(both, [], [])
            if client in ready:
                if chunk := client.recv(_CHUNK):
                    _carried(channel.sendall, chunk)
                else:
                    both.remove(client)
                    _carried(channel.shutdown_write)
            if channel in ready:
                if chunk := _carried(channel.recv, _CHUNK):
                    client.sendall(chunk)
                else:
                    both.remove(channel)
    except _ChannelBroke:
        return True
    except OSError:  # the client's: it has gone without a farewell
        return False
    return not channel.eof_received


class _ChannelBroke(Exception):
    """The connection that the channel belongs to is lost."""


def _carried(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return call(*arguments)
    except Broken as error:
        raise _ChannelBroke from error


def _close(channel: paramiko.Channel) -> None:
    with contextlib.suppress(*Broken):
        channel.close()
