"""One message through Apprise, in a process of its own that can reach only what it may.

It runs apart from the panel: `python -I delivery_process.py`, a JSON object on stdin, one on stdout, no secret in its arguments or its
environment. An audit hook sees each connection of the interpreter, whoever makes it: neither a redirect nor a name that resolves anew
leads to a refused address. Standard library and Apprise only.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import mimetypes
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: IPv6 networks in which IPv4 addresses hide (RFC 6052, 3056, 4380).
_HIDING: Final = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
#: What Apprise reads where an address says so, from this machine's disk or from elsewhere.
_FILES: Final = frozenset({"template", "attach", "attach-as", "pgpkey", "keyfile"})
#: Of the panel's environment, what a process needs to check certificates as this machine does.
CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_RUNS: Final = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn")
FAILURE_LENGTH: Final = 300


class Refused(PermissionError):
    """The process may not do this."""


class Guard:
    """The audit hook. `insecure`: what is sent is not encrypted, so it may go to networks that are allowed, and nowhere else."""

    def __init__(self, allowed: Sequence[Network], readable: tuple[str, ...]) -> None:
        self.allowed, self.readable, self.insecure, self.refused = allowed, readable, False, ""

    def __call__(self, event: str, values: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto"):
            self._check(values[1])
        elif (
            event == "open"
            and isinstance(values[0], str | bytes)
            and not os.path.realpath(os.fsdecode(values[0])).startswith(self.readable)
        ):
            raise Refused("this file is not for a service")
        elif event in _RUNS:
            raise Refused(f"{event} is not allowed")

    def _check(self, where: Any) -> None:
        text = str(where[0]) if isinstance(where, tuple) else str(where)
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            address = None
        if address is None or not may_reach(address, self.allowed, insecure=self.insecure):
            self.refused = text[:60]
            raise Refused("this address is not allowed")


def may_reach(address: Address, allowed: Sequence[Network], *, insecure: bool = False) -> bool:
    """Addresses of the public Internet, and those in allowed networks. Link-local ones, where clouds keep their secrets: never."""
    real = getattr(address, "ipv4_mapped", None) or address
    if real.is_link_local or real.is_multicast or real.is_unspecified or any(real in network for network in _HIDING):
        return False
    if any(real in network for network in allowed):
        return True
    return real.is_global and not insecure


def main() -> None:
    asked = json.load(sys.stdin)
    json.dump(answer(asked), sys.stdout)


def answer(asked: dict[str, Any]) -> dict[str, str]:
    """{"service", "problem", "detail"}: problem is "" where all went well."""
    import apprise  # what is above is for the panel too, which does without Apprise

    said = _Said()
    logging.getLogger("apprise").addHandler(said)
    asset = apprise.AppriseAsset(app_id="pgreplica-admin", storage_mode=apprise.PersistentStoreMode.MEMORY, async_mode=False)
    service = apprise.Apprise.instantiate(asked["address"], asset=asset, suppress_exceptions=True)
    scheme = asked["address"].partition("://")[0].lower()
    if service is None:
        return {"service": scheme, "problem": "not_understood", "detail": ""}
    if scheme not in asked["services"]:
        return {"service": scheme, "problem": "service_unknown", "detail": ""}
    if not service.verify_certificate:
        return {"service": scheme, "problem": "certificates", "detail": ""}
    if named := sorted(_FILES & {key.lower() for key in parse_qs(urlsplit(asked["address"]).query, keep_blank_values=True)}):
        return {"service": scheme, "problem": "reads_files", "detail": named[0]}
    plain = getattr(service, "secure_mode", None) == "insecure" and scheme not in asked["insecure"]
    if plain:
        return {"service": scheme, "problem": "insecure_mode", "detail": ""}
    if asked["act"] == "check":
        return {"service": scheme, "problem": "", "detail": ""}
    guard = Guard([ipaddress.ip_network(text) for text in asked["networks"]], readable())
    guard.insecure = scheme in asked["insecure"] and not getattr(service, "secure", False)
    sys.addaudithook(guard)
    body = fitted(asked["told"], asked["rest"], service.body_maxlen - len(asked["title"]) - len("\r\n"))
    how = {"body_format": apprise.NotifyFormat.TEXT, "overflow": apprise.OverflowMode.TRUNCATE}
    sent = service.notify(body=body, title=asked["title"], **how)
    if sent:
        return {"service": scheme, "problem": "", "detail": ""}
    problem = "insecure_address" if guard.refused and guard.insecure else "address_refused" if guard.refused else "failed"
    return {"service": scheme, "problem": problem, "detail": guard.refused or masked(said.text(), asked["address"])}


def fitted(told: Sequence[str], rest: Sequence[str], most: int) -> str:
    """As many as `most` characters hold, and how many there are beside them; the first one at least, which the service may cut."""
    for count in range(len(told), 0, -1):
        body = "\n\n".join(part for part in (*told[:count], rest[count]) if part)
        if len(body) <= most:
            return body
    return told[0]


def readable() -> tuple[str, ...]:
    """Where lies what a service needs: Python, certificates, the process's own directory. Nothing else is read, nor written."""
    given = (os.environ.get(name, "") for name in ("HOME", *CERTIFICATES))
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__))
    places = (*python, *given, *mimetypes.knownfiles, "/etc/ssl", "/etc/pki", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom")
    return tuple({form for place in map(str, places) if place for form in (place, os.path.realpath(place))})


class _Said(logging.Handler):
    """What Apprise says of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def text(self) -> str:
        return " ".join(self.lines[:3])


def masked(text: str, address: str) -> str:
    """`text` as one line of what can be shown, without any part of `address`: each may be a secret."""
    scheme, _colons, rest = address.partition("://")
    pieces = {piece for form in (rest, unquote(rest)) for piece in re.split(r"[^\w.~-]+|[.](?=\W|$)", form)}
    pieces |= {part for piece in pieces for part in re.split(r"[._~-]+", piece)}
    for piece in sorted(pieces - {"", scheme}, key=len, reverse=True):
        if len(piece) > 2:
            text = re.sub(re.escape(piece), "•••", text, flags=re.IGNORECASE)
    clean = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in text)
    return " ".join(clean.split())[:FAILURE_LENGTH]


if __name__ == "__main__":
    main()
