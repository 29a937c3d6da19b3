"""A port of this machine's loopback that leads, through an SSH connection, to a port of a server."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import paramiko

from clusters.hosts.errors import HostError
from clusters.hosts.ssh_connection import Broken

#: As long as a session may take to be opened (clusters.sessions).
SECONDS: Final = 5.0
_CHUNK: Final = 1 << 15

Tunnel = Callable[[str, int, float], "paramiko.Channel | None"]


@contextmanager
def forwarder(tunnel: Tunnel, address: str, port: int) -> Iterator[tuple[str, int]]:
    """Where to connect. Where the server's port is closed, so is ours: whoever connects is told as if it were not far away.

    Raises: what `tunnel` raises for the first connection, which is opened before anybody asks.
    """
    first = tunnel(address, port, SECONDS)
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        if first is not None:
            stack.callback(_close, first)
        listener.bind(("127.0.0.1", 0))
        here: tuple[str, int] = listener.getsockname()
        if first is None:
            yield here  # bound, and nobody listens: it is refused
            return
        listener.listen(8)
        forwarding = _Forwarding(listener, lambda: tunnel(address, port, SECONDS), first)
        stack.callback(forwarding.stop)
        forwarding.start()
        yield here


class _Forwarding:
    """Accepts connections until it is stopped; what was accepted ends with it."""

    def __init__(self, listener: socket.socket, tunnel: Callable[[], paramiko.Channel | None], first: paramiko.Channel) -> None:
        self._listener, self._tunnel = listener, tunnel
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
                with contextlib.suppress(HostError):  # the client sees its connection closed, and says so
                    channel = self._tunnel()
            if channel is None:
                return
            self._channels.append(channel)
            with contextlib.suppress(*Broken):
                _pump(client, channel)
            _close(channel)


def _pump(client: socket.socket, channel: paramiko.Channel) -> None:
    """Carry bytes both ways until both ends have said their last, or the server has."""
    both: list[socket.socket | paramiko.Channel] = [client, channel]
    while channel in both:
        ready, _writable, _failed = select.select(both, [], [])
        if client in ready:
            if chunk := client.recv(_CHUNK):
                channel.sendall(chunk)
            else:
                both.remove(client)
                channel.shutdown_write()
        if channel in ready:
            if chunk := channel.recv(_CHUNK):
                client.sendall(chunk)
            else:
                both.remove(channel)


def _close(channel: paramiko.Channel) -> None:
    with contextlib.suppress(*Broken):
        channel.close()
