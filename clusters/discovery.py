"""Finding PostgreSQL on a server, whoever made it. Reads only: what is asked, and through which door, is in `postgres.asking`.

What a server answers is hostile: it is bounded before it is read, and every text is made inert before it is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext_noop as _

from clusters.hosts.engine import Container, Running, containers, programs_running
from clusters.hosts.errors import HostError, inert
from clusters.hosts.machine import Machine
from clusters.machines import machine_of
from clusters.models import Instance, Server
from clusters.postgres.asking import Door, found_call, look, unwrapped, wrapped
from clusters.postgres.facts import InstanceFacts, Unreadable
from clusters.postgres.found import Found, HbaLine, Mounted, Port, RoleSeen
from clusters.postgres.names import SUPERUSER
from clusters.postgres.observe import observe_call
from clusters.postgres.statements import Call
from clusters.secrets import MASK
from clusters.selectors import instance_spec

#: Variables of a container whose values are read; all of them are public in the image's description, none is a secret.
VALUES: Final = ("PGDATA", "POSTGRES_USER")
#: Where the official image has its data, before 18.
DATA: Final = "/var/lib/postgresql/data"
SECONDS: Final = 30.0
#: Of one text, one list and one document of what a server answers.
TEXT: Final = 2000
ITEMS: Final = 400
DEPTH: Final = 6
HBA_TEXT: Final = 65_536


class NotAsked(HostError):
    """A PostgreSQL that was found could not be asked."""


@dataclass(frozen=True)
class Around:
    """What `look.sh` says."""

    owner: str = ""
    version: str = ""
    pidfile: tuple[str, ...] = ()
    libc: str = ""
    init: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        text = self.pidfile[3] if len(self.pidfile) > 3 else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 5432

    @property
    def socket(self) -> str:
        """The first directory of its sockets; its own address where it has none."""
        text = self.pidfile[4] if len(self.pidfile) > 4 else ""
        return text.split(",")[0].strip() or "127.0.0.1"

    @property
    def major(self) -> int:
        return int(self.version) if self.version.isascii() and self.version.isdigit() and len(self.version) < 4 else 0


@dataclass
class Discovered:
    """What was found on one server, and what could not be looked at."""

    found: list[Found] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def discover(server: Server) -> Discovered:
    """Every PostgreSQL on a server. A part that cannot be looked at is a sentence. Raises: HostError where the server itself cannot."""
    machine = machine_of(server)
    machine.owner()
    seen = Discovered()
    for part in (_in_containers, _as_processes):
        try:
            seen.found.extend(part(server, machine))
        except HostError as error:
            seen.problems.append(f"{error.what} {error.hint}".strip())
    return seen


# -- in containers


def _in_containers(server: Server, machine: Machine) -> Iterator[Found]:
    for container in containers(machine, VALUES):
        if _is_postgres(container) and container.panel != "tool":
            yield _container_found(server, machine, container)


def _is_postgres(container: Container) -> bool:
    """By what the official image and those made from it have in their environment, or by the image's name."""
    repository = container.image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return "PGDATA" in container.env or "postgres" in repository


def _container_found(server: Server, machine: Machine, container: Container) -> Found:
    found = Found(
        server=server.name,
        address=server.address,
        way="container",
        name=container.name,
        state=container.state,
        own=_own_container(server, container),
        image=container.image,
        image_id=container.image_id,
        restart=container.restart,
        entrypoint=container.entrypoint,
        stop_seconds=container.stop_seconds,
        network=container.network,
        started=container.started,
        pid=container.pid,
        published=tuple(Port(each.address, each.port, each.inner) for each in container.published),
        mounts=tuple(Mounted(each.kind, each.source, each.target) for each in container.mounts),
        env=tuple(sorted(container.env)),
        compose_directory=container.compose_directory,
        compose_files=container.compose_files,
        compose_service=container.compose_service,
        superuser=container.values.get("POSTGRES_USER", SUPERUSER),
        data_directory=container.values.get("PGDATA", DATA),
    )
    if found.own or container.state != "running":
        return found
    argv = ("docker", "exec", "--interactive", container.name, *look(found.data_directory))
    return _asked(machine, found, argv)


def _own_container(server: Server, container: Container) -> str:
    """The panel's own instance in it, or its label where the panel knows no such instance any more."""
    if not container.panel:
        return ""
    rows = Instance.objects.filter(server=server, layout={}).exclude(image="").select_related("cluster", "server")
    return next((str(row) for row in rows if f"pgr_{row.cluster.name}_{row.name}" == container.name), container.panel)


# -- outside of containers


def _as_processes(server: Server, machine: Machine) -> Iterator[Found]:
    own = _own_directories(server)
    for program in ("postgres", "postmaster"):
        for running in programs_running(machine, program):
            yield _process_found(server, running, own)


def _own_directories(server: Server) -> dict[str, str]:
    """Data directory -> whose it is, of the panel's own instances and of its own database."""
    rows = Instance.objects.filter(server=server, layout={}).select_related("cluster", "server")
    return {instance_spec(row).data_directory: str(row) for row in rows}


def _process_found(server: Server, running: Running, own: Mapping[str, str]) -> Found:
    """A process is looked at as the user that it runs as, whom the panel may or may not become."""
    blank = Found(server=server.name, address=server.address, way="process", name=_argument(running), state="running", pid=running.pid)
    machine = machine_of(server, run_as=running.uid)
    try:
        places = _places(machine, running)
    except HostError as error:
        return replace(blank, name=blank.name or f"process {running.pid}", error=inert(error.what, 500))
    data = places[0] or blank.name
    mine = own.get(data, "") or ("the panel's own database" if _is_panels(server, data) else "")
    found = replace(blank, name=data or f"process {running.pid}", data_directory=data, bindir=places[1], superuser=SUPERUSER, own=mine)
    return found if found.own else _asked(machine, found, look(data))


def _is_panels(server: Server, data: str) -> bool:
    state = str(settings.STATE_DIR)
    return server.connection == Server.Connection.LOCAL and data.startswith(f"{state}/")


def _argument(running: Running) -> str:
    """The data directory that its command line names."""
    words = running.words
    after = next((words[at + 1] for at, word in enumerate(words[:-1]) if word == "-D"), "")
    joined = next((word[2:] for word in words if word.startswith("-D") and len(word) > 2), "")
    return after or joined


def _places(machine: Machine, running: Running) -> tuple[str, str]:
    """Its data directory (where a server goes at its start) and the directory of its programs.

    They are shown to nobody who has not its group, too; then its own first word tells, which pg_ctl and systemd give whole.
    """
    proc = f"/proc/{running.pid}"
    finished = machine.run(["readlink", f"{proc}/cwd", f"{proc}/exe"], timeout=SECONDS)
    lines = [inert(line, 500) for line in finished.stdout.splitlines()]
    data, program = lines if len(lines) == 2 else ("", running.words[0] if running.words else "")
    return data, program.rpartition("/")[0] if program.startswith("/") else ""


# -- asking


def door_of(found: Found) -> Door:
    container = found.name if found.way == "container" else ""
    return Door(container, found.user, found.superuser, found.socket, found.port, found.bindir)


def ask(machine: Machine, door: Door, call: Call) -> list[dict[str, Any]]:
    """The rows of a statement that changes nothing. Raises: NotAsked."""
    command = door.psql(wrapped(call), call.statement.purpose, call.database)
    finished = machine.run(command.argv, stdin=command.stdin_bytes(), env=command.env, timeout=SECONDS)
    if not finished.ok:
        lines = [line for line in finished.stderr.splitlines() if line.strip()]
        raise NotAsked(
            _("psql over its own socket says: %(said)s"),
            _("Let the owner of the data log in over the socket (a line “local all all peer” in pg_hba.conf), then look again."),
            said=inert(lines[0] if lines else f"exit status {finished.returncode}"),
        )
    try:
        return unwrapped(finished.stdout)
    except Unreadable as error:
        raise NotAsked(_("It did not answer as PostgreSQL does: %(said)s"), said=inert(str(error))) from error


def _asked(machine: Machine, found: Found, argv: Sequence[str]) -> Found:
    """With what it says of itself, or why it says nothing."""
    try:
        around = _around(machine, argv)
        known = replace(found, user=around.owner, port=around.port, socket=around.socket, libc=around.libc, init=around.init)
        door = door_of(known)
        observed = tame(ask(machine, door, observe_call(around.major))[0]["facts"])
        InstanceFacts.from_row(observed)
        return replace(known, observed=observed, **_said(ask(machine, door, found_call())[0]["found"]))
    except HostError as error:
        return replace(found, error=inert(f"{error.what} {error.hint}".strip(), 600))
    except (Unreadable, LookupError, TypeError, ValueError, AttributeError) as error:
        return replace(found, error=inert(f"It did not answer as PostgreSQL does: {error}", 600))


def _around(machine: Machine, argv: Sequence[str]) -> Around:
    finished = machine.run(argv, timeout=SECONDS)
    lines: dict[str, list[str]] = {}
    for line in finished.stdout.splitlines()[:ITEMS]:
        key, _space, text = line.partition(" ")
        lines.setdefault(key, []).append(inert(text))
    first = {key: texts[0] for key, texts in lines.items()}
    around = Around(
        owner=first.get("owner", ""),
        version=first.get("version", ""),
        pidfile=tuple(lines.get("pidfile", ())),
        libc=first.get("libc", ""),
        init=tuple(lines.get("init", ())),
    )
    if not around.major:
        raise NotAsked(_("Its data directory could not be read: %(said)s"), said=inert(finished.stderr) or "there is no PG_VERSION")
    return around


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Found` from the answer to `asking.FOUND`."""
    said = tame({key: value for key, value in row.items() if key != "hba_text"})
    return {
        "settings": _strings(said["settings"]),
        "sources": _strings(said["sources"]),
        "conninfo": _strings(said["conninfo"] or {}),
        "conninfo_password": said["conninfo_password"] is True,
        "hba": tuple(_hba_line(line) for line in said["hba"]),
        "hba_text": hba_shown(str(row.get("hba_text") or "")),
        "file_errors": tuple(map(str, said["file_errors"])),
        "roles": tuple(
            RoleSeen(str(role["name"]), role["superuser"] is True, role["replication"] is True, str(role["password"]))
            for role in said["roles"]
        ),
        "databases": tuple((str(name), str(owner)) for name, owner in said["databases"]),
    }


def hba_shown(text: str) -> str:
    """A pg_hba.conf as it may be kept and shown: no password of a directory service, nothing that does not print."""
    shown = re.sub(r'(ldapbindpasswd|radiussecrets)\s*=\s*("[^"]*"|\S+)', rf"\1={MASK}", text[:HBA_TEXT])
    return "".join(char for char in shown if char in "\n\t" or char.isprintable())


def _hba_line(line: Mapping[str, Any]) -> HbaLine:
    return HbaLine(
        number=int(line["number"]),
        kind=str(line["kind"] or ""),
        databases=tuple(map(str, line["databases"] or ())),
        users=tuple(map(str, line["users"] or ())),
        address=str(line["address"] or ""),
        netmask=str(line["netmask"] or ""),
        method=str(line["method"] or ""),
        error=str(line["error"] or ""),
    )


def _strings(given: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in given.items()}


def tame(value: Any, depth: int = DEPTH) -> Any:
    """JSON from a server as it may be kept: no text, list or nesting above its limit, no character that a page would have to fear.

    Raises: ValueError for what is nested too deeply.
    """
    if depth < 0 or (isinstance(value, float) and not isfinite(value)):
        raise ValueError("the answer is nested too deeply, or holds a number that is none")
    if isinstance(value, str):
        return inert(value, TEXT)
    if isinstance(value, dict):
        return {inert(str(key), 100): tame(item, depth - 1) for key, item in list(value.items())[:ITEMS]}
    return [tame(item, depth - 1) for item in value[:ITEMS]] if isinstance(value, list) else value
