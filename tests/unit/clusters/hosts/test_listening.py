from __future__ import annotations

import socket

from clusters.hosts.listening import _port, listening_ports
from clusters.hosts.local import LocalMachine


def it_finds_a_port_that_something_listens_on_and_not_one_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        found = listening_ports(LocalMachine())
        assert server.getsockname()[1] in found
        assert client.getsockname()[1] not in found


def it_reads_no_port_from_what_is_not_a_listening_line() -> None:
    lines = ["sl  local_address rem_address   st", "", "0: 0100007F:1538 00000000:0000 01 x", "0: nonsense 0 0A", "0: 0100007F:1538 0:0 0A"]
    assert [_port(line.split()) for line in lines] == [None, None, None, None, 0x1538]
