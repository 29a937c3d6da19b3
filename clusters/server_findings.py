"""What a server lacks, from what its last check saw: a sentence and its cure each. No machine is touched."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from typing_extensions import TypedDict

from clusters.models import Server

#: Clocks that differ more make logs hard to compare. Nothing is decided by comparing clocks.
CLOCK_SECONDS = 5


class FindingShow(TypedDict):
    name: str
    severity: str  # failed: the server cannot be used so; warning: it can
    sentence: str
    cure: str


def server_findings(server: Server) -> list[FindingShow]:
    """The gravest first; none while nobody has looked."""
    if server.observed_at is None:
        return []
    found = [*_owner(server), *_forwarding(server), *_programs(server), *_tools(server), *_clock(server)]
    return sorted(found, key=lambda finding: finding["severity"] != "failed")


def _owner(server: Server) -> Iterator[FindingShow]:
    if str(server.facts.get("owner", "")).startswith("0:"):
        yield {
            "name": "owner-root",
            "severity": "failed",
            "sentence": _("The system user is root, and PostgreSQL does not run as root."),
            "cure": _(
                "Make a system user for it (with Docker: in the group docker), and give it to the server. Then test the connection again."
            ),
        }


def _forwarding(server: Server) -> Iterator[FindingShow]:
    if server.facts.get("forwards") is False:
        yield {
            "name": "forwarding-forbidden",
            "severity": "failed",
            "sentence": _("Its SSH server forbids this login the forwarding of ports, over which the panel talks to PostgreSQL."),
            "cure": _("Allow it for this login: AllowTcpForwarding and PermitOpen in sshd_config, “restrict” in authorized_keys."),
        }


def _programs(server: Server) -> Iterator[FindingShow]:
    docker = server.facts.get("docker")
    if server.runtime == Server.Runtime.PROCESS:
        if not server.facts.get("postgres"):
            yield {
                "name": "no-postgres",
                "severity": "failed",
                "sentence": _("No complete set of PostgreSQL 14 to 18 programs was found."),
                "cure": _("Install the server package (Debian: postgresql-16, say), then test the connection again."),
            }
    elif docker is not None and not docker["engine"]:
        yield _no_engine(docker["error"])
    elif docker is not None and not docker["compose"].startswith(("2", "3", "4", "5", "v")):
        yield {
            "name": "no-compose",
            "severity": "failed",
            "sentence": _("Docker Compose 2 was not found."),
            "cure": _("Install it (Docker's package docker-compose-plugin, Debian 13: docker-compose), then test the connection again."),
        }
    elif docker is not None and docker.get("maps_users"):
        yield {
            "name": "engine-maps-users",
            "severity": "failed",
            "sentence": _(
                "Its Docker engine gives users in containers other numbers than they have on the server (rootless, userns-remap)."
            ),
            "cure": _(
                "PostgreSQL could not own its files so. Let the system user use an engine that does not, then test the connection again."
            ),
        }


def _no_engine(error: str) -> FindingShow:
    if error:
        return {
            "name": "engine-silent",
            "severity": "failed",
            "sentence": _("The Docker engine does not answer the system user: %(error)s") % {"error": error},
            "cure": _("Start the engine, and add the system user to the group docker. Whoever is in that group is as mighty as root."),
        }
    return {
        "name": "no-engine",
        "severity": "failed",
        "sentence": _("The program docker was not found."),
        "cure": _("Install Docker, then test the connection again. Or register the server with PostgreSQL programs as its runtime."),
    }


def _tools(server: Server) -> Iterator[FindingShow]:
    tools = server.facts.get("tools")
    if tools is None:
        return
    if "setsid" not in tools and "perl" not in tools:
        yield {
            "name": "no-setsid",
            "severity": "failed",
            "sentence": _("Neither setsid nor perl was found, so no command can outlive a broken connection."),
            "cure": _("Install util-linux."),
        }
    if "flock" not in tools:
        yield {
            "name": "no-flock",
            "severity": "warning",
            "sentence": _("The program flock was not found. The panel locks with links instead, which is slower."),
            "cure": _("Install util-linux."),
        }


def _clock(server: Server) -> Iterator[FindingShow]:
    seconds = server.facts.get("clock_difference_seconds")
    if seconds is not None and abs(seconds) > CLOCK_SECONDS:
        ahead, behind = _("Its clock is %(seconds)s s ahead of the panel's."), _("Its clock is %(seconds)s s behind the panel's.")
        yield {
            "name": "clock",
            "severity": "warning",
            "sentence": (ahead if seconds > 0 else behind) % {"seconds": f"{abs(seconds):.1f}"},
            "cure": _("Set up time synchronisation (chrony, systemd-timesyncd) on both, so that their logs can be compared."),
        }
