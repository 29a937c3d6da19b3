"""The embedded Valkey: the doorbell, on a unix socket that only its owner can reach. No TCP port: whoever reaches it can queue jobs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class EmbeddedValkey:
    """One embedded server: its files in `directory`, its socket in `socket_directory`."""

    program: Path
    directory: Path
    socket_directory: Path

    @property
    def socket(self) -> Path:
        return self.socket_directory / "s"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    def server_argv(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
            "daemonize": "no",
        }
        return [str(self.program), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def prepare(self) -> None:
        for path in (self.directory, self.socket_directory):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)

    def ready(self) -> bool:
        return self._say(b"PING").startswith(b"+PONG")

    def stop_leftover(self) -> None:
        """Stop a server that an earlier panel left behind, as it may where the system has no parent-death signal."""
        self._say(b"SHUTDOWN")

    def _say(self, command: bytes) -> bytes:
        """The answer to one inline command; empty when nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(2)
                connection.connect(str(self.socket))
                connection.sendall(command + b"\r\n")
                return connection.recv(200)
        except OSError:
            return b""
