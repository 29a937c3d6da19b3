"""AdoptedHandle: the verbs of an instance that somebody else has made, as far as there are any.

It is asked as it was found: over its own socket, as who owns its data, in its container or as its user. Until the cluster is
taken over every verb that changes something refuses, whatever job it comes from.
"""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final

from django.utils.translation import gettext_noop as _

from clusters.discovery import ask
from clusters.hosts.errors import inert
from clusters.hosts.machine import Fence, Finished, HostError
from clusters.instances import LOG_TAIL_LINES, Conductor, InstanceHandle, ToolFailed
from clusters.machines import machine_of
from clusters.models import Instance
from clusters.postgres import commands, containers, statements
from clusters.postgres.command import Command
from clusters.postgres.facts import InstanceFacts, ReplicationRow
from clusters.postgres.files import File
from clusters.postgres.layout import Layout
from clusters.postgres.names import SUPERUSER
from clusters.postgres.statements import Call, Statement
from clusters.secrets import Secret
from clusters.sessions import Session

SECONDS: Final = 30.0
READ_FILE: Final = Statement(
    "read_file", "Read a file of the data directory", "SELECT pg_catalog.pg_read_file({path}, true) AS content", "superuser"
)


#: Old contents keep their owner and mode; a new file is its owner's alone.
_WRITE: Final = """
set -e; umask 077
[ -z "$2" ] || [ -e "$2" ] || cp -p -- "$1" "$2"
if [ -n "$3" ]; then cat >"$1"; exit; fi
[ ! -e "$1" ] || cp -p -- "$1" "$1.pgreplica"
cat >"$1.pgreplica"; mv -- "$1.pgreplica" "$1"
"""
_KEEP: Final = 'set -e; umask 077; [ -e "$2" ] || cp -p -- "$1" "$2"'
_BACK: Final = '[ ! -e "$2" ] || cat <"$2" >"$1"'


class OnlyWatched(HostError):
    """The cluster was adopted and is only watched."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("%(name)s is only watched: the panel has not made it, and changes nothing on its server."),
            _("Take the cluster over first. What cannot be done then either is in the how-to “Adopt a cluster”."),
            name=name,
        )


def handle_of(instance: Instance, conductor: Conductor) -> InstanceHandle:
    """The verbs of an instance, whoever has made it."""
    return AdoptedHandle(instance, conductor) if instance.layout else InstanceHandle(instance, conductor)


class AdoptedHandle(InstanceHandle):
    """As `InstanceHandle`. `taking_over` is for the job that makes the cluster the panel's."""

    def __init__(self, instance: Instance, conductor: Conductor, *, taking_over: bool = False) -> None:
        super().__init__(instance, conductor)
        self.layout = Layout.from_row(instance.layout)
        self.may_change = taking_over or not instance.cluster.is_watched
        if self.layout.way == "process":
            self.machine = machine_of(instance.server, run_as=self.layout.user.partition(":")[0])

    # -- looking

    def is_initialised(self) -> bool:
        return True  # as it was found

    def is_running(self) -> bool:
        """Whether a server runs in the data directory."""
        if self.layout.way == "process":
            return self._is_so(commands.pg_ctl_status(self.spec))
        argv = ["docker", "inspect", "--type=container", "--format={{.State.Running}}", self.layout.container]
        finished = self.machine.run(argv, timeout=SECONDS)
        if not finished.ok and "No such" not in finished.stderr:
            self._succeeded(finished, _("Whether %(name)s runs could not be found out: %(error)s"))
        return finished.stdout.strip() == "true"

    def is_up(self) -> bool:
        return self.is_running()

    def observe(self, with_size: bool = False) -> InstanceFacts:
        """Standbys that nobody has named yet are told apart by the address that they come from.

        The panel has no file here that ALTER SYSTEM could outdo: it uses that itself when it takes over.
        """
        facts = super().observe(with_size)
        return replace(facts, senders=tuple(self._named(sender) for sender in facts.senders), altered_settings=())

    def _named(self, sender: ReplicationRow) -> ReplicationRow:
        layouts = {pair.standby.name: Layout.from_row(pair.standby.layout) for pair in self._followers()}
        if sender.application_name in layouts:
            return sender
        mine = [name for name, layout in layouts.items() if (layout.seen_as, layout.application_name) == _sign(sender)]
        return replace(sender, application_name=mine[0]) if len(mine) == 1 else sender

    def _followers(self) -> Any:
        return self.instance.downstream_pairs.select_related("standby").exclude(standby__layout={})

    def read_text(self, path: str) -> str | None:
        """A file of its data directory, as PostgreSQL itself reads it; the panel has no other file there."""
        if path != self.layout.hba_file and not path.startswith(f"{self.spec.data_directory}/"):
            return None
        rows = self._over_socket(Call(READ_FILE, {}, {"path": path}))
        return rows[0]["content"] if rows else None

    def free_bytes(self) -> int:
        if self.layout.data_source:
            return self.machine.free_bytes(self.layout.data_source)
        finished = self._inside("df", "-P", "-k", self.layout.data_directory)
        last = (finished.stdout.splitlines() or [""])[-1].split()
        return int(last[3]) * 1024 if len(last) > 3 and last[3].isdigit() else 0

    def log_tail(self) -> list[str]:
        if self.layout.way == "process":
            return []  # where its log goes is its own affair
        said = self.machine.run(containers.logs(self.spec, LOG_TAIL_LINES).argv, timeout=SECONDS)
        return [line for line in (said.stdout + said.stderr).splitlines() if line.strip()][-LOG_TAIL_LINES:]

    def session(self, database: str = SUPERUSER) -> AbstractContextManager[Session]:
        if self.instance.cluster.is_watched:
            raise OnlyWatched(self.spec.name)
        return super().session(database)

    def query(self, call: Call) -> list[dict[str, Any]]:
        """Over its own socket as long as the panel has no role there, and then as that role. Raises: NotAsked."""
        return self._over_socket(call) if self.instance.cluster.is_watched else super().query(call)

    def _over_socket(self, call: Call) -> list[dict[str, Any]]:
        return ask(self.machine, self.layout.door, call)

    def panel_let_in(self) -> bool:
        """Whether the panel's role gets in over the network."""
        try:
            with super().session() as session:
                session.execute("SELECT 1")
                return True
        except HostError:
            return False

    def superuser_query(self, call: Call) -> list[str]:
        command = self.layout.door.psql(_text(call), call.statement.purpose, call.database)
        finished = self.machine.run(command.argv, stdin=command.stdin_bytes(), env=command.env, timeout=SECONDS)
        self._succeeded(finished, _("A statement on %(name)s failed: %(error)s"))
        return finished.stdout.splitlines()

    # -- changing

    def _fence(self) -> Fence:
        if not self.may_change:
            raise OnlyWatched(self.spec.name)
        return super()._fence()

    def _script_run(self, script: str | Secret, database: str) -> None:
        self._changed(self.layout.door.psql(script, "Change what the log shows", database, changes=True))

    def reload(self) -> None:
        self.superuser_run([Call(statements.RELOAD, {}, {})])

    def put_file(self, file: File, kept: str = "") -> bool:
        """Write a file of the instance where its PostgreSQL sees it; False: it was so already.

        One that is mounted by itself is written in place, any other gets a new one in its place. `kept`: where the old one is kept.
        """
        diff = file.diff(self.read_text(file.path))
        if not diff:
            return False
        self._conductor.command(diff.rstrip("\n"))
        in_place = "in place" if file.path == self.layout.hba_file and self.layout.hba_mounted else ""
        argv = self.layout.door.inside("sh", "-c", _WRITE, "pgreplica", file.path, kept, in_place)
        self._changed(Command(argv, stdin=Secret(file.content)))
        return True

    def keep_copy(self, path: str, kept: str) -> None:
        """A copy of one of its files, unless there is one."""
        self._conductor.command(self.layout.typed("cp", "-p", path, kept))
        self._changed(Command(self.layout.door.inside("sh", "-c", _KEEP, "pgreplica", path, kept)))

    def put_back(self, path: str, kept: str) -> None:
        """The old content of a file, from the copy that was kept of it; nothing where there is none."""
        self._conductor.command(self.layout.typed("sh", "-c", f"cat {shlex.quote(kept)} > {shlex.quote(path)}"))
        self._changed(Command(self.layout.door.inside("sh", "-c", _BACK, "pgreplica", path, kept)))

    def take_away(self, path: str) -> None:
        """A file that the panel has put there."""
        self._conductor.command(self.layout.typed("rm", "-f", path))
        self._changed(Command(self.layout.door.inside("rm", "-f", "--", path)))

    def _changed(self, command: Command) -> None:
        finished = self.machine.run(command.argv, stdin=command.stdin_bytes(), env=command.env, timeout=SECONDS, fence=self._fence())
        self._conductor.changed()
        self._succeeded(finished, _("A change of %(name)s failed: %(error)s"))

    def _inside(self, *argv: str) -> Finished:
        return self.machine.run(self.layout.door.inside(*argv), timeout=SECONDS)


def _sign(sender: ReplicationRow) -> tuple[str, str]:
    return sender.address or "", sender.application_name


def _text(call: Call) -> str:
    script = statements.script(call)
    if not isinstance(script, str):
        raise ToolFailed(_("A statement that only looks holds a secret: %(name)s"), name=inert(call.statement.name))
    return script
