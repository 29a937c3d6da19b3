"""Free TCP ports on loopback, each given out once."""

from __future__ import annotations

import os
import socket

_given: set[int] = set()


def free_port() -> int:
    """A port below the ephemeral range, so that no outgoing connection takes it meanwhile; workers of pytest-xdist do not meet."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for port in range(15000 + worker * 500, 15500 + worker * 500):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port is left")
