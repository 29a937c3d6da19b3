"""paramiko's transport as the panel uses it: own socket options, strong algorithms only, a silent server noticed, exit signals heard."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from typing import Any, Final

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST, cMSG_GLOBAL_REQUEST
from paramiko.packet import Packetizer

#: How long a TCP connection, the greeting, the key exchange and the login may each take.
CONNECT_SECONDS: Final = 8.0
OPEN_SECONDS: Final = 8.0
#: A server that says nothing is asked after so long, and given up after so long.
ASK_SECONDS: Final = 2.5
SILENT_SECONDS: Final = 6.5
#: Silent for so long it is given up in any case: a question may be held up behind a key exchange that hangs.
DEAD_SECONDS: Final = 20.0

#: In this order. Without cbc, 3des, md5, sha1 and MACs that are not encrypt-then-mac where there is a choice.
CIPHERS: Final = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr")
MACS: Final = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
KEY_TYPES: Final = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("rsa-sha2-512", "rsa-sha2-256"),
)

# Every failure reaches its caller as an exception; paramiko would print each a second time, with a traceback.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


def dial(host: str, port: int) -> socket.socket:
    """A TCP connection that notices a peer which is gone. Raises: OSError."""
    sock = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
    wanted = [(socket.IPPROTO_TCP, "TCP_NODELAY", 1), (socket.SOL_SOCKET, "SO_KEEPALIVE", 1)]
    wanted += [(socket.IPPROTO_TCP, name, value) for name, value in (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2))]
    wanted.append((socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 8000))  # milliseconds that what was sent may go unacknowledged
    for level, name, value in wanted:
        if hasattr(socket, name):  # macOS lacks some
            sock.setsockopt(level, getattr(socket, name), value)
    return sock


class _Packetizer(Packetizer):
    """Notes when the server was last heard."""

    heard_at: float

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.heard_at = time.monotonic()

    def read_message(self) -> Any:
        message = super().read_message()
        self.heard_at = time.monotonic()
        return message


class Transport(paramiko.Transport):
    """One SSH connection. Raises paramiko's SSHException, EOFError and OSError."""

    agreed_on_strict_kex: bool

    def __init__(self, sock: Any, key_types: tuple[str, ...]) -> None:
        super().__init__(sock, packetizer_class=_Packetizer, default_window_size=1 << 20)
        options = self.get_security_options()
        options.ciphers, options.digests, options.key_types = CIPHERS, MACS, key_types
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = OPEN_SECONDS
        self.channel_timeout = self.clear_to_send_timeout = OPEN_SECONDS
        self._asked_at: float | None = None

    def begin(self) -> None:
        """Agree on keys. Nothing that identifies the panel is sent."""
        self.start_client(timeout=2 * OPEN_SECONDS)
        if not self.initial_kex_done:
            self.close()
            raise paramiko.SSHException("the key exchange did not end in time")

    def watch(self) -> None:
        """From here on a server that falls silent is noticed, and the connection closed."""
        packetizer: Any = self.packetizer
        packetizer.set_keepalive(1, self._ask)
        threading.Thread(target=self._watched, name="ssh-watch", daemon=True).start()

    @property
    def silent_seconds(self) -> float:
        packetizer: Any = self.packetizer
        return time.monotonic() - float(packetizer.heard_at)

    def _ask(self) -> None:
        """In the reading thread, once a second while nothing is read or written."""
        if self.silent_seconds < ASK_SECONDS:
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = time.monotonic()
            question = paramiko.Message()
            question.add_byte(cMSG_GLOBAL_REQUEST)
            question.add_string("keepalive@openssh.com")
            question.add_boolean(True)  # every server answers, if only that it does not know the request
            self._send_user_message(question)  # type: ignore[attr-defined]  # paramiko has no public way to ask without waiting

    def _watched(self) -> None:
        """In a thread of its own: the reading thread may hang in a write that the server does not take."""
        while self.is_active():
            silent = self.silent_seconds
            if (self._asked_at is not None and silent > SILENT_SECONDS) or silent > DEAD_SECONDS:
                self.close()
            time.sleep(0.5)


def _channel_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """As paramiko does, but for "exit-signal", which it does not know."""
    if message.get_text() == "exit-signal":
        message.get_boolean()
        number = getattr(signal, f"SIG{message.get_text()}", None)
        channel.exit_status = -int(number) if isinstance(number, signal.Signals) else -int(signal.SIGKILL)
        channel.status_event.set()
        return
    message.rewind()
    message.get_int()  # the channel's number
    paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]


Transport._channel_handler_table = {  # type: ignore[attr-defined]
    **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
    MSG_CHANNEL_REQUEST: _channel_request,
}
