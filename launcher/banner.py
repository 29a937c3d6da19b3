"""What `up` prints when the panel answers, and the names it answers to."""

from __future__ import annotations

import socket

from launcher.arguments import UpOptions
from launcher.checks import is_loopback
from launcher.state import State

RULE = "-" * 78
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound


def address(options: UpOptions) -> str:
    host = socket.gethostname() if options.host in EVERYWHERE else options.host
    return f"http://{f'[{host}]' if ':' in host else host}:{options.port}/"


def host_names(host: str) -> list[str]:
    """The Host headers to accept when PGREPLICA_ALLOWED_HOSTS does not say."""
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in EVERYWHERE:
        names += [socket.gethostname(), socket.getfqdn(), *_own_addresses()]
    elif not is_loopback(host):
        names.append(f"[{host}]" if ":" in host else host)
    return list(dict.fromkeys(names))


def _own_addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [f"[{entry[4][0]}]" if entry[0] == socket.AF_INET6 else str(entry[4][0]) for entry in found]


def lines(options: UpOptions, state: State, administrator: str, password: str | None) -> list[str]:
    """The banner. `password` is given once, when the administrator has just been made."""
    account = [f"  User       {administrator}", f"  Password   {password}   (shown this once)"]
    forgotten = [f"  Sign in    as {administrator} or as a user you made; a new password: ./pgreplica changepassword {administrator}"]
    return [
        RULE,
        "  pgreplica-admin is ready",
        f"  Address    {address(options)}",
        *(account if password else forgotten),
        f"  State      {state.root}",
        *_open_to_others(options),
        "  Ctrl-C stops the panel. The databases it manages keep running.",
        RULE,
    ]


def _open_to_others(options: UpOptions) -> list[str]:
    if is_loopback(options.host):
        return []
    return ["  Note       Other machines reach it without TLS. Put a TLS proxy in front and set PGREPLICA_TLS=1."]
