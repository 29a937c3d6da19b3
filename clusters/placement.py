"""Where on a server a new instance goes, from what is known of the server. Pure choices over rows; no machine is touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from clusters.models import Instance, Server

FIRST_PORT = 5432
LAST_PORT = 65535


def postgres_installed(server: Server) -> list[dict[str, Any]]:
    """The PostgreSQL installations the last check found, the newest first: [{"major", "version", "bindir"}]."""
    return sorted(server.facts.get("postgres", ()), key=lambda found: _version_key(str(found["version"])), reverse=True)


def majors_installed(server: Server) -> list[int]:
    return sorted({int(found["major"]) for found in postgres_installed(server)}, reverse=True)


def bindir_choose(server: Server, major: int, wanted: str | None = None) -> str:
    """The directory of the PostgreSQL programs of this major version: the wanted one, else that of the newest minor version.

    Only directories that a check has found are taken, so that no request can name programs of its own.
    Raises: ValidationError naming `postgres_major` or `bindir`.
    """
    if server.observed_at is None:
        sentence = _("The panel has not looked at %(server)s yet. Check the server first, so that its PostgreSQL programs are known.")
        raise ValidationError({"server": sentence % {"server": server.name}})
    found = [str(entry["bindir"]) for entry in postgres_installed(server) if int(entry["major"]) == major]
    if not found:
        raise ValidationError({"postgres_major": _no_such_major(server, major)})
    if wanted and wanted not in found:
        sentence = _("No complete PostgreSQL %(major)d was found in this directory of %(server)s. Found: %(found)s.")
        raise ValidationError({"bindir": sentence % {"major": major, "server": server.name, "found": ", ".join(found)}})
    return wanted or found[0]


def image_choose(server: Server, major: int, wanted: str | None = None) -> str:
    """The image of a container; whether it is of this major version the job asks the image itself.

    Raises: ValidationError naming `server` where the engine or the system user is not known to be fit for containers.
    """
    if not owner_of(server):
        sentence = _("The panel has not seen yet as which user containers run on %(server)s. Check the server first.")
        raise ValidationError({"server": sentence % {"server": server.name}})
    return wanted or f"postgres:{major}"


def owner_of(server: Server) -> str:
    """`uid:gid` of the server's system user, as the last check saw it; empty where none has."""
    return str(server.facts.get("owner", ""))


def port_choose(server: Server) -> int:
    """The lowest port from 5432 on that no instance has, that the panel does not use and that was not seen in use.

    `facts["ports_in_use"]`, a list of numbers, is optional; the workflow tries the port itself before it uses it.
    """
    taken = set(Instance.objects.filter(server=server).values_list("port", flat=True))
    taken |= {int(port) for port in server.facts.get("ports_in_use", ())} | panel_ports(server)
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if port not in taken:
            return port
    raise ValidationError({"port": _("No port from %(first)d on is free on this server.") % {"first": FIRST_PORT}})


def panel_ports(server: Server) -> set[int]:
    """The TCP ports the panel itself uses on this server: its page, its database, its broker."""
    if server.connection != Server.Connection.LOCAL:
        return set()
    database, broker = settings.DATABASES["default"], urlsplit(settings.REDIS_URL)
    places = [
        (database.get("HOST"), database.get("PORT")),
        (broker.hostname, broker.port),
        ("localhost", settings.PAGE_PORT),
    ]
    return {int(port) for host, port in places if port and host in ("localhost", "127.0.0.1", "::1")}


def _no_such_major(server: Server, major: int) -> str:
    majors: Iterable[int] = majors_installed(server)
    if not majors:
        return _("No PostgreSQL was found on %(server)s. Install it there, then check the server again.") % {"server": server.name}
    values = {"major": major, "server": server.name, "majors": ", ".join(map(str, majors))}
    return (
        _("PostgreSQL %(major)d was not found on %(server)s, only %(majors)s. Choose one of them, or install it and check again.") % values
    )


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
