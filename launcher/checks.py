"""What may be in the way, looked at before anything is made. Each answer is one sentence that says what to do."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import socket
import subprocess
from pathlib import Path

from launcher.account import Account
from launcher.complaint import CannotStart
from launcher.state import ROOT_STATE_DIRECTORY, State

#: `clusters/.run/<port>/.s.PGSQL.<port>` below it has to fit into the 107 bytes of a Unix socket's path (sockaddr_un).
STATE_DIRECTORY_BYTES = 66
FIRST_START_BYTES = 500_000_000  # programs, database, static files, and the demo's two data directories with their WAL
LATER_START_BYTES = 100_000_000
LOOPBACK = ("127.", "::1", "localhost")


def path_length(state: State) -> None:
    length = len(os.fsencode(state.root))
    if length > STATE_DIRECTORY_BYTES:
        raise CannotStart(
            f"the state directory's path {state.root} has {length} bytes, and with more than {STATE_DIRECTORY_BYTES} the sockets below it "
            "get longer than the system allows. Choose a shorter one: ./pgreplica up --state-dir DIR"
        )


def enterable(state: State, account: Account | None) -> None:
    """As root, PostgreSQL's user must be able to enter the directory that holds the state directory."""
    if account is None:
        return
    existing = _existing(state.root)
    command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(existing)]
    if subprocess.run(command, check=False, capture_output=True, cwd="/", timeout=30, **account.popen()).returncode != 0:
        raise CannotStart(
            f"the state directory {state.root} lies below a directory that the user '{account.name}' cannot enter, and PostgreSQL "
            f"runs as that user because it refuses root. Choose another one, for example: ./pgreplica up --state-dir {ROOT_STATE_DIRECTORY}"
        )


def writable(state: State) -> None:
    existing = _existing(state.root)
    if not existing.is_dir():
        raise CannotStart(f"{existing} is not a directory. Choose another state directory: ./pgreplica up --state-dir DIR")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CannotStart(f"you may not write to {existing}. Choose a directory of your own: ./pgreplica up --state-dir DIR")


def free_space(state: State) -> None:
    free = shutil.disk_usage(_existing(state.root)).free
    needed = LATER_START_BYTES if state.database.exists() else FIRST_START_BYTES
    if free < needed:
        raise CannotStart(
            f"the disk that holds {state.root} has {free // 1_000_000} MB free and this start needs {needed // 1_000_000} MB. "
            "Free some space, or choose a directory on another disk: ./pgreplica up --state-dir DIR"
        )


def port_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise CannotStart(_port_sentence(host, port, error)) from None


def _port_sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program. Choose another port: ./pgreplica up --port {_free_port(host, port)}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"you may not listen on port {port} of {host}. Choose a port above 1023: ./pgreplica up --port 8080"
    return f"{host} is not an address of this machine ({error.strerror}). Choose one: ./pgreplica up --host 127.0.0.1"


def _free_port(host: str, taken: int) -> int:
    found = free_ports(taken + 1, 1, host=host)
    return found[0] if found else 8081


def free_ports(first: int, count: int, *, host: str = "127.0.0.1", besides: int = 0) -> list[int]:
    """The lowest `count` ports from `first` on that nobody listens on now; fewer when there are not that many."""
    free = (port for port in range(first, 65536) if port != besides and _is_free(host, port))
    return list(itertools.islice(free, count))


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def is_loopback(host: str) -> bool:
    return host.startswith(LOOPBACK)


def _existing(path: Path) -> Path:
    """The nearest part of `path` that exists."""
    return next(parent for parent in (path, *path.parents) if parent.exists())
