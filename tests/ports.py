"""Free TCP ports on loopback, each given out once."""

from __future__ import annotations

import os
import socket

_given: set[int] = set()
SPAN = 500


def free_port() -> int:
    """A port below the ephemeral range, so that no outgoing connection takes it meanwhile.

    Workers of pytest-xdist have ranges of their own; two test runs at once begin at different places of them.
    """
    first = 15000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) * SPAN
    begin = os.getpid() * 37 % SPAN
    for step in range(SPAN):
        port = first + (begin + step) % SPAN
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
