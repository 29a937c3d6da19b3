"""How much room the file systems of the data directories have: one question a minute for each server, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, connection
from psycopg_pool import PoolTimeout

from clusters.hosts.errors import HostError, inert
from clusters.hosts.machine import Machine
from clusters.machines import machine_of
from clusters.models import Instance, Server
from clusters.models.cluster import Lifecycle
from clusters.postgres.layout import Layout
from clusters.postgres.spec import data_directory
from tasks.threads import started
from tasks.watching.look import GOLDEN
from tasks.watching.threads import Attempts

logger = logging.getLogger(__name__)

#: How often each server is asked.
DISK_SECONDS: Final = 60.0


class Room(NamedTuple):
    """`at`: on this machine's monotonic clock, in seconds."""

    instance_id: int
    at: float
    free_bytes: int
    total_bytes: int


class Where(NamedTuple):
    """A machine as one system user, and the data directories that are this user's."""

    machine: Machine
    paths: dict[int, str]  # by instance


class Disks:
    """Asks one server after another, each at its own moment of the minute. One that hangs keeps only its own task waiting.

    Where the data lies is read for all of them at once, each minute: asking the panel's database costs more than asking a server.
    """

    def __init__(self, attempts: Attempts, hear: Callable[[Iterable[Room]], None], every: float = DISK_SECONDS) -> None:
        self._attempts, self._hear, self._every = attempts, hear, every
        self._reading: asyncio.Task[None] | None = None
        self._places: dict[int, list[Where] | HostError] = {}  # by server
        self._asking: dict[int, asyncio.Task[None]] = {}  # by server
        self._silent: set[int] = set()

    def watch(self, servers: set[int]) -> None:
        """These, and no others from now on."""
        if self._reading is None and servers:
            self._reading = asyncio.create_task(self._read(), name="places of data")
        elif self._reading is not None and not servers:
            self._reading.cancel()
            self._reading = None
        for server in [server for server in self._asking if server not in servers]:
            self._asking.pop(server).cancel()  # what its thread still says is heard by nobody
            self._silent.discard(server)
        for server in servers - self._asking.keys():
            self._asking[server] = asyncio.create_task(self._ask(server), name=f"disk of server {server}")

    async def _read(self) -> None:
        while True:
            try:
                self._places = await self._attempts.rows(places_read)
            except (DatabaseError, PoolTimeout):
                pass  # the panel's own, which is said elsewhere; the places of a minute ago do as well
            except Exception:
                logger.exception("Where data lies could not be read")
            await asyncio.sleep(self._every)

    async def _ask(self, server: int) -> None:
        phase = server * GOLDEN % 1.0 * self._every
        while True:
            await asyncio.sleep(self._every - (time.monotonic() - phase) % self._every)
            try:
                self._hear(await asyncio.wrap_future(started(rooms_in, self._places.get(server, []))))
                self._silent.discard(server)
            except HostError as error:
                self._said(server, inert(error.what))
            except Exception:
                logger.exception("The disks of server %s could not be looked at", server)

    def _said(self, server: int, error: str) -> None:
        """Once, until it answers again: how old the last answer is, is on the pages."""
        if server not in self._silent:
            self._silent.add(server)
            logger.warning("The disks of server %s could not be looked at: %s", server, error)


def places_read() -> dict[int, list[Where] | HostError]:
    """By server; why it cannot be asked, where that is so. Two queries."""
    try:
        rows = Instance.objects.filter(lifecycle=Lifecycle.READY).values_list("server_id", "pk", "cluster__name", "name", "layout")
        by_server: defaultdict[int, list[Any]] = defaultdict(list)
        for server_id, *row in rows:
            by_server[server_id].append(row)
        servers = Server.objects.filter(pk__in=by_server).select_related("jump__ssh_key", "ssh_key")
        return {server.pk: _places(server, by_server[server.pk]) for server in servers.defer("facts")}
    finally:
        connection.close()  # back to the pool


def _places(server: Server, rows: Iterable[Any]) -> list[Where] | HostError:
    by_user: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for pk, cluster, name, layout in rows:
        user, path = _lies(Layout.from_row(layout)) if layout else ("", data_directory(server.base_directory, cluster, name))
        if path:
            by_user[user][pk] = path
    try:
        return [Where(machine_of(server, run_as=user), paths) for user, paths in by_user.items()]
    except HostError as error:
        return error


def _lies(layout: Layout) -> tuple[str, str]:
    """Who owns an adopted data directory ("": the server's own user) and where it is; "" where only its container has it."""
    return layout.user.partition(":")[0] if layout.way == "process" else "", layout.data_source


def rooms_in(places: list[Where] | HostError) -> list[Room]:
    """Asks the server. Raises: HostError."""
    if isinstance(places, HostError):
        raise places
    found = []
    for machine, paths in places:
        distinct = list(dict.fromkeys(paths.values()))
        disks = dict(zip(distinct, machine.disks(distinct), strict=True))
        at = time.monotonic()
        found += [Room(pk, at, disks[path].free_bytes, disks[path].total_bytes) for pk, path in paths.items()]
    return found
