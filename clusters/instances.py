"""InstanceHandle: what can be done with one instance. It joins what to say (`clusters.postgres`) with how to reach (`clusters.hosts`).

A verb that changes something shows its command first, is fenced with the job's token, and says afterwards that it has
changed something (`Conductor`). Verbs look for nothing: whether the goal is reached already is the step's question, and
the reading verbs answer it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Final, Protocol

from django.utils.translation import gettext_noop as _

from clusters.hosts.errors import inert
from clusters.hosts.machine import CommandTimeout, Fence, Finished, HostError, Machine, Unit
from clusters.machines import machine_of
from clusters.models import Instance
from clusters.ownership import OWNER_FILE, made_command, owner_text, unmade_command
from clusters.postgres import commands, containers, files, guard, rejoin_commands, space, statements
from clusters.postgres.build import Build, asked_in
from clusters.postgres.command import Command, StopMode
from clusters.postgres.drift_rules import InForce
from clusters.postgres.facts import ControlData, InstanceFacts, Version, parse_controldata, parse_version
from clusters.postgres.files import File
from clusters.postgres.names import SUPERUSER
from clusters.postgres.observe import observe_call
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import Call
from clusters.secrets import Secret
from clusters.selectors import instance_spec
from clusters.sessions import Session, answered, panel_session, rows_of, unbroken

TOOL_SECONDS: Final = 60.0
LONG_SECONDS: Final = 3600.0
LOOK_SECONDS: Final = 20.0
LOG_TAIL_LINES: Final = 20
#: More databases are not asked for their extensions.
DATABASES: Final = 50

#: (server, image) -> what it is made of, once it was asked: an image never changes. Per server, since each tells only of itself.
_BUILDS: Final[dict[tuple[int, str], Build]] = {}


class ToolFailed(HostError):
    """A PostgreSQL program ended with an error; what it printed is in the log."""


class EngineSilent(ToolFailed):
    """The engine of an instance's container does not say anything, or did not do what it was told; its server answers."""


class Conductor(Protocol):
    """Who runs the verbs: a job's step. It logs what is used, proves the right to act, and hears of each change."""

    def command(self, text: str) -> None: ...
    def output(self, line: str | bytes) -> None: ...
    def changed(self) -> None: ...
    def fence(self, cluster_directory: str) -> Fence: ...


class KeptSession:
    """A session with an instance that stays open until it is closed: opened before a moment in which nothing slow may be done."""

    def __init__(self, handle: InstanceHandle) -> None:
        self.handle = handle
        self._stack = ExitStack()
        self._session: Session = self._stack.enter_context(handle.session())

    def ask(self, call: Call) -> list[dict[str, Any]]:
        """The rows of a statement; it is opened again where it was broken. Raises: InstanceUnreachable, StatementFailed."""
        with answered(self.handle.spec):
            if self._session.closed:
                self._session = self._stack.enter_context(self.handle.session())
            with unbroken(self.handle.spec, self._session):
                return rows_of(self._session, call.render())

    def close(self) -> None:
        self._session.close()  # first: leaving its context then has nothing to say to a server that may be gone
        self._stack.close()


class InstanceHandle:
    """One instance's verbs. Raises `HostError` and its kin, each with what happened and what to do next."""

    def __init__(self, instance: Instance, conductor: Conductor) -> None:
        self.instance = instance
        self.spec: InstanceSpec = instance_spec(instance)
        self.machine: Machine = machine_of(instance.server)
        self._conductor = conductor

    # -- looking

    def is_initialised(self) -> bool:
        """Whether there is a data directory (it has a PG_VERSION)."""
        return self.machine.exists(f"{self.spec.data_directory}/PG_VERSION")

    def is_running(self) -> bool:
        """Whether a server runs in the data directory, as pg_ctl sees it."""
        if not self.is_initialised():
            return False
        return self._is_so(commands.pg_ctl_status(self.spec))

    def is_up(self) -> bool:
        """Whether a server runs, or may come up by itself: a container in which the start guard waits, or that the engine restarts.

        Raises: EngineSilent, as `is_running` does.
        """
        if self.spec.container is None:
            return self.is_running()
        return self._is_so(containers.is_up(self.spec))

    def _is_so(self, command: Command) -> bool:
        finished = self._asked(command)
        if finished.returncode == containers.NOT_SAID:
            self._succeeded(finished, _("Whether %(name)s runs could not be found out: %(error)s"), EngineSilent)
        return finished.ok

    def _asked(self, command: Command) -> Finished:
        """Of an engine that hangs nobody hears for ever; a question about a process is answered at once, or not at all."""
        try:
            return self._tool(command, seconds=LOOK_SECONDS)
        except CommandTimeout as late:
            raise EngineSilent(_("Whether %(name)s runs could not be found out: %(error)s"), name=self.spec.name, error=late.what) from late

    def observe(self, with_size: bool = False) -> InstanceFacts:
        """One look at the running instance, as the panel's role. Raises: InstanceUnreachable, facts.Unreadable."""
        return InstanceFacts.from_row(self.query(observe_call(self.spec.major, with_size))[0]["facts"])

    def programs_version(self) -> Version | None:
        """The version of the PostgreSQL programs in the declared directory; None where they do not run."""
        finished = self._tool(commands.postgres_version(self.spec))
        return parse_version(finished.stdout) if finished.ok else None

    def build(self) -> Build:
        """What its programs are made of: those of its image, else those in its directory on the server. What cannot be told is empty."""
        machine = str(self.machine.facts()["machine"])
        if self.spec.container is None:
            return Build.parse(self._tool(asked_in(self.spec.bindir)).stdout).on(machine)
        image = self._tool(containers.image(self.spec)).stdout.strip()
        return self._image_build(image).on(machine, image) if containers.IMAGE_ID.fullmatch(image) else Build().on(machine)

    def _image_build(self, image: str) -> Build:
        key = (self.instance.server_id, image)
        if key not in _BUILDS:
            finished = self._tool(containers.built(self.spec, image))
            if not finished.ok:
                return Build()
            _BUILDS[key] = Build.parse(finished.stdout)
        return _BUILDS[key]

    def extensions_used(self) -> tuple[str, ...] | None:
        """The extensions of all databases of the running instance; None where there are too many to ask. Raises: ToolFailed."""
        names = self.superuser_query(Call(statements.DATABASES, {}, {}))
        if len(names) > DATABASES:
            return None
        found = [self.superuser_query(Call(statements.EXTENSIONS, {}, {}, database=name)) for name in names]
        return tuple(sorted({extension for each in found for extension in each}))

    def settings_in_force(self, names: Iterable[str]) -> list[InForce]:
        """Those of these settings that a session does not set for itself."""
        listed = "{" + ",".join(names) + "}"
        return [InForce.from_row(row) for row in self.query(Call(statements.SETTINGS_IN_FORCE, {}, {"names": listed}))]

    def changed_collations(self) -> list[str]:
        """Collations in use, as "database: schema.name", that sort otherwise than when they were made. Raises: ToolFailed."""
        names = self.superuser_query(Call(statements.DATABASES, {}, {}))[:DATABASES]
        found = ((name, self.superuser_query(Call(statements.CHANGED_COLLATIONS, {}, {}, database=name))) for name in names)
        return [f"{name}: {inert(collation, 130)}" for name, collations in found for collation in collations]

    def images(self) -> tuple[str, str]:
        """(the image that its container runs, the image that the declared name stands for now); "" for what cannot be told."""
        running, named = (
            self._tool(command).stdout.strip() for command in (containers.image(self.spec), containers.image_named(self.spec))
        )
        return (running if containers.IMAGE_ID.fullmatch(running) else ""), (named if containers.IMAGE_ID.fullmatch(named) else "")

    def read_text(self, path: str) -> str | None:
        content = self.machine.read_file(path)
        return None if content is None else content.decode("utf-8", "replace")

    def is_owned_by(self, job_id: int) -> bool:
        """Whether the instance's directory was made by this job."""
        return self.read_text(f"{self.spec.directory}/{OWNER_FILE}") == owner_text(job_id)

    def log_tail(self) -> list[str]:
        """The last lines of the server's log."""
        if self.spec.container:
            said = self._tool(containers.logs(self.spec, LOG_TAIL_LINES))
            return [line for line in (said.stdout + said.stderr).splitlines() if line.strip()][-LOG_TAIL_LINES:]
        tail = self.machine.read_tail(self.spec.log_file) or b""
        return tail.decode("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]

    def session(self, database: str = SUPERUSER) -> AbstractContextManager[Session]:
        """A session as the panel's role. Raises: InstanceUnreachable, StatementFailed."""
        return panel_session(self.machine, self.spec, self.instance.cluster.panel_password, database)

    def query(self, call: Call) -> list[dict[str, Any]]:
        """The rows of a statement, run as the panel's role."""
        with self.session(call.database) as session:
            return rows_of(session, call.render())

    def control(self, directory: str | None = None) -> ControlData:
        """What the control file says; the server need not run. Raises: ToolFailed, facts.Unreadable."""
        finished = self._tool(commands.pg_controldata(self.spec, directory))
        self._succeeded(finished, _("The control file of %(name)s could not be read: %(error)s"))
        return parse_controldata(finished.stdout)

    def free_bytes(self) -> int:
        """Bytes that may still be written where its data lies."""
        return self.machine.free_bytes(self.spec.data_directory)

    def space_eaters(self) -> str:
        """What takes the space on the disk of its data, the largest first, where that disk is full; else empty."""
        if self.free_bytes() >= space.FULL_BYTES:
            return ""
        return inert(space.eaters_named(self._tool(space.space_eaters(self.spec)).stdout), 500)

    def epoch(self) -> int | None:
        """The epoch that the instance's server has heard of; None where no promotion was made yet."""
        text = (self.read_text(self.spec.epoch_file) or "").strip()
        return int(text) if text.isascii() and text.isdigit() else None

    def fenced(self) -> str | None:
        """Why the instance must not come up as a primary; None where nothing says so."""
        text = self.read_text(self.spec.fenced_file)
        return None if text is None else text.strip()

    def superuser_query(self, call: Call) -> list[str]:
        """The rows of a statement, run as the superuser over the instance's socket: fields joined by |."""
        return self.superuser_rows([call])

    def superuser_rows(self, calls: Sequence[Call]) -> list[str]:
        """The same of several statements on one database, in one session."""
        last = calls[-1]
        finished = self._tool(commands.psql(self.spec, statements.script(*calls), last.database, last.statement.purpose))
        self._succeeded(finished, _("A statement on %(name)s failed: %(error)s"))
        return finished.stdout.splitlines()

    def amcheck(self, database: str, only: Sequence[str], without: Sequence[str]) -> list[str]:
        """What pg_amcheck finds wrong with tables and their indexes; nothing where all is well. Raises: ToolFailed."""
        command = commands.pg_amcheck(self.spec, database, only, without)
        self._conductor.command(command.display())
        finished = self._tool(command, seconds=LONG_SECONDS)
        if finished.returncode != commands.CORRUPT:
            self._succeeded(finished, _("pg_amcheck on %(name)s could not be run: %(error)s"))
            return []
        lines = [inert(line, 300) for line in finished.stdout.splitlines() if line.strip()]
        for line in lines[:LOG_TAIL_LINES]:
            self._conductor.output(line)
        return lines

    def replication_login(self) -> Finished:
        """A real replication login on the upstream, from this instance's place."""
        return self._tool(commands.replication_login(self.spec))

    def file_errors(self) -> list[str]:
        """Lines of postgresql.conf or pg_hba.conf that the running server could not use."""
        return self.superuser_query(Call(statements.FILE_ERRORS, {}, {}))

    def read_lines(self, command: Command, take: Callable[[str], None]) -> None:
        """Run a program that only reads and may print much; each line goes to `take`. Raises: ToolFailed, what `take` raises."""
        last = [""]

        def taken(line: str) -> None:
            last[0] = line.strip() or last[0]
            take(line)

        finished = self.machine.run(command.argv, env=command.env, timeout=LONG_SECONDS, on_line=taken)
        if not finished.ok and last[0]:
            self._conductor.output(last[0])
        self._succeeded(finished, _("What was asked of the WAL of %(name)s could not be read: %(error)s"))

    # -- files and directories

    def make_directories(self, job_id: int) -> None:
        """The instance's directory, which carries the job's name until the job has ended well, and those in it."""
        spec = self.spec
        self.machine.make_base_directory(spec.base_directory)
        self.make_made(spec.directory, job_id)
        self.make_made(spec.socket_directory, job_id)
        parent = spec.data_directory.rpartition("/")[0]
        paths = (spec.conf_directory, spec.secrets_directory, spec.state_directory, spec.guard_directory, spec.log_directory, parent)
        self.machine.make_directories(paths, 0o700, self._fence())

    def make_made(self, directory: str, job_id: int) -> None:
        """A directory that carries the job's name: what `remove_made` may delete."""
        self._conductor.command(made_command(directory, job_id))
        self.machine.make_owned_directory(directory, OWNER_FILE, owner_text(job_id), self._fence())
        self._conductor.changed()

    def put_files(self, wanted: Iterable[File]) -> list[str]:
        """Write the files that differ, each atomically; their paths. The log shows each difference, of a secret only that there is one."""
        written = []
        for file in wanted:
            if diff := file.diff(self.read_text(file.path)):
                self._conductor.command(diff.rstrip("\n"))
                self.machine.write_file(file.path, file.content.encode(), file.mode, self._fence())
                self._conductor.changed()
                written.append(file.path)
        return written

    def put_guard(self, spec: InstanceSpec | None = None) -> list[str]:
        """Write what the start guard goes by, and the guard itself. An instance that an earlier release has made has none yet."""
        if not self.machine.exists(self.spec.guard_directory):
            self.machine.make_directory(self.spec.guard_directory, 0o700, self._fence())
        return self.put_files(guard.guard_files(spec or self.spec))

    def move(self, source: str, target: str) -> None:
        self._conductor.command(f"mv {source} {target}")
        self.machine.make_directory(target.rpartition("/")[0], 0o700, self._fence())
        self.machine.move(source, target, self._fence())
        self._conductor.changed()

    def remove_file(self, path: str) -> None:
        if self.machine.exists(path):
            self._conductor.command(f"rm {path}")
            self.machine.remove_file(path, self._fence())
            self._conductor.changed()

    def keep_conf(self, directory: str) -> None:
        """Copy the settings beside data that is put aside."""
        self._change(rejoin_commands.copy_conf(self.spec, directory), _("The settings of %(name)s could not be kept: %(error)s"))

    def disown(self) -> None:
        """Take the job's name off the directory: from here on nothing is deleted by a roll-back."""
        path = f"{self.spec.directory}/{OWNER_FILE}"
        if self.machine.exists(path):
            self.machine.move(path, f"{self.spec.state_directory}/made-by", self._fence())
            self._conductor.changed()

    def remove_made(self, directory: str, job_id: int) -> bool:
        """Delete a directory that this job has made (it carries the job's name). False: there was none. Refuses any other."""
        self._conductor.command(unmade_command(directory, job_id))
        removed = self.machine.remove_owned_tree(directory, OWNER_FILE, owner_text(job_id), self._fence())
        self._conductor.changed()
        return removed

    def remove_container(self) -> None:
        """Take the serving container away, where there is one: its directory is about to move or to go."""
        if self.spec.container:
            self._change(containers.down(self.spec), _("The container of %(name)s could not be removed: %(error)s"))

    def remove_socket_directory(self) -> None:
        """Delete the directory of the instance's socket, which no server uses any more."""
        directory = self.spec.socket_directory
        made_by = self.read_text(f"{directory}/{OWNER_FILE}")
        if made_by is not None:
            self._conductor.command(f"rm -r {directory}")
            self.machine.remove_owned_tree(directory, OWNER_FILE, made_by, self._fence())
            self._conductor.changed()

    # -- power

    def start(self, seconds: int = 60) -> None:
        """Start the server and wait until it answers. On failure the end of its log goes into the job's log.

        A standby without its standby.signal would come up as a second primary on the same timeline; it is not started.
        The start guard asks the other members besides: what it refuses is told in its own words.
        """
        self._require_signal()
        self._refuse_fenced()
        self.put_guard()
        self.remove_file(self.spec.refused_file)
        try:
            self._change(commands.pg_ctl_start(self.spec, seconds), _("%(name)s did not start: %(error)s"), seconds + 10, log_on_error=True)
        except ToolFailed as failed:
            if self.spec.container:  # else the guard waits on, or the engine tries again, after the job has said that it failed
                self._tool(containers.stop(self.spec, "fast", 30), fenced=True)
            raise self._refused_by_guard() or failed from None
        if refused := self._refused_by_guard():  # where a standby was stopped last, pg_ctl takes the end of what it started for success
            raise refused

    def _refused_by_guard(self) -> ToolFailed | None:
        """The start guard's own sentences, where it is what has refused the last start."""
        refused = self.read_text(self.spec.refused_file)
        if refused is None:
            return None
        why, _sign, cure = refused.strip().partition("\n")
        said = {"why": inert(why, 1000), "cure": inert(cure, 1000)}
        return ToolFailed(_("The start guard of %(name)s refused: %(why)s"), "%(cure)s", name=self.spec.name, **said)

    def _require_signal(self) -> None:
        signal = files.standby_signal(self.spec.data_directory).path
        if self.spec.role == "standby" and not self.machine.exists(signal):
            raise ToolFailed(
                _("%(name)s is declared a standby and has no standby.signal: it would start as a second primary. It was not started."),
                _("Find out who removed %(path)s. If it was by mistake and nothing else was changed, make the empty file again."),
                name=self.spec.name,
                path=signal,
            )

    def _refuse_fenced(self) -> None:
        """A fenced instance is started as a standby only: then its standby.signal keeps it from writing."""
        why = self.fenced()
        if why is not None and self.spec.role == "primary":
            raise ToolFailed(
                _("%(name)s is fenced (%(why)s): it must not come up as a primary. It was not started."),
                _("Look at the cluster first: another instance may be its primary. Rejoin this one as a standby."),
                name=self.spec.name,
                why=why,
            )

    def fence(self, why: str) -> None:
        """Keep the instance from coming up as a primary, whoever starts it: the mark, then standby.signal (it would start read-only).

        A running primary goes on as it is. Where the mark is written and standby.signal is not, the panel itself does not start it.
        """
        self.keep_down()  # first: under `always` the engine undoes a stop at its next start
        self.mark_fenced(why)

    def mark_fenced(self, why: str) -> None:
        """The part of the fence that needs no engine: with it the start guard lets nobody start it as a primary."""
        self.put_files([files.fenced_file(self.spec, why), files.standby_signal(self.spec.data_directory)])

    def keep_down(self) -> None:
        """Have the engine of a container not start it again; nothing else starts a server by itself."""
        if self.spec.container:
            self._policy_set("no")

    def _policy_set(self, policy: str) -> None:
        failure = _("The restart policy of %(name)s could not be set: %(error)s")
        try:
            self._change(containers.restart_policy(self.spec, policy), failure, LOOK_SECONDS, failed=EngineSilent)
        except CommandTimeout as late:
            raise EngineSilent(failure, name=self.spec.name, error=late.what) from late

    def unfence(self, *, as_primary: bool) -> None:
        """Take the mark away; with `as_primary` standby.signal too, so that its next start makes it a primary."""
        paths = [files.standby_signal(self.spec.data_directory).path] if as_primary else []
        for path in (*paths, self.spec.fenced_file):
            self.remove_file(path)
        if self.spec.container:
            self._policy_set("unless-stopped")

    def stop_and_read(self, seconds: int) -> ControlData | None:
        """Stop the server and read where its WAL ends, in one go; None when it was still stopping after `seconds`."""
        command = commands.stop_and_read(self.spec, seconds)
        self._conductor.command(command.display())
        finished = self._tool(command, seconds=seconds + 10, fenced=True)
        self._conductor.changed()
        if finished.returncode == commands.STILL_RUNNING:
            return None
        self._succeeded(finished, _("%(name)s did not stop: %(error)s"))
        return parse_controldata(finished.stdout)

    def end_senders(self) -> None:
        """End WAL senders that a stopping server waits for."""
        self._change(commands.end_senders(self.spec), _("The WAL senders of %(name)s could not be ended: %(error)s"))

    def kill(self) -> None:
        """End a server that heeds no stop any more, with all of its processes."""
        self._change(commands.kill_server(self.spec), _("%(name)s could not be killed: %(error)s"))

    def end_processes(self) -> bool:
        """End every process that works in the data directory, without the engine; whether it is certain that none is left.

        Committed work is in its WAL.
        """
        command = containers.end_processes(self.spec)
        self._conductor.command(command.display())
        finished = self._tool(command, fenced=True)
        self._conductor.changed()
        return finished.ok

    def stop(self, mode: StopMode = "fast", seconds: int = 60) -> None:
        self._change(commands.pg_ctl_stop(self.spec, mode, seconds), _("%(name)s did not stop: %(error)s"), seconds + 10)

    def reload(self) -> None:
        self._change(commands.pg_ctl_reload(self.spec), _("%(name)s did not take the reload: %(error)s"))

    # -- SQL that changes something

    def superuser_run(self, calls: Sequence[Call]) -> None:
        """Run statements as the superuser over the socket, one script for each database, each shown in the log first."""
        for database in dict.fromkeys(call.database for call in calls):
            chosen = [call for call in calls if call.database == database]
            for call in chosen:
                self._conductor.command(call.display())
            self._script_run(statements.script(*chosen), database)

    def _script_run(self, script: str | Secret, database: str) -> None:
        command = commands.psql(self.spec, script, database)
        self._fence()
        self._succeeded(self._tool(command, fenced=True), _("A statement on %(name)s failed: %(error)s"))
        self._conductor.changed()

    def execute(self, call: Call) -> list[dict[str, Any]]:
        """Run one changing statement as the panel's role; the rows it returns."""
        self._conductor.command(call.display())
        self._fence()
        rows = self.query(call)
        self._conductor.changed()
        return rows

    def replication_run(self, call: Call) -> Finished:
        """Run one replication command on the upstream from this instance's place. How it ended is the caller's to judge."""
        text = call.display()
        self._conductor.command(text)
        finished = self._tool(commands.replication_psql(self.spec, text, call.statement.purpose), fenced=True)
        self._conductor.changed()
        return finished

    # -- detached commands: they outlive the worker, and are found again by their name

    def unit_directory(self, unit: str) -> str:
        return f"{self.spec.units_directory}/{unit}"

    def unit_start(self, unit: str, command: Command) -> Unit:
        """Start a command detached, or find the one that was started under this name."""
        if self.spec.container:
            command = containers.named(command, containers.unit_container(self.spec, unit))
        self._conductor.command(command.display())
        started = self.machine.start_unit(self.unit_directory(unit), command.argv, env=command.env, fence=self._fence())
        self._conductor.changed()
        return started

    def unit(self, unit: str) -> Unit:
        return self.machine.unit(self.unit_directory(unit))

    def unit_follow(self, unit: str, offset: int, seconds: float) -> tuple[Unit, bytes]:
        """Wait for it a while; how it stands, and what it printed since."""
        return self.machine.follow_unit(self.unit_directory(unit), offset, seconds)

    def unit_end(self, unit: str) -> None:
        """Stop a detached command if it runs, and delete its receipts."""
        directory = self.unit_directory(unit)
        if self.machine.stop_unit(directory, fence=self._fence()).state != "absent":
            self.unit_left(unit)
            self.machine.remove_unit(directory, self._fence())
            self._conductor.changed()

    def unit_left(self, unit: str) -> None:
        """Make sure that nothing of a detached command that has ended is at work: its docker command may have been killed alone."""
        if self.spec.container is None:
            return
        name, failure = containers.unit_container(self.spec, unit), _("A container of %(name)s could not be removed: %(error)s")
        found = self._tool(containers.found(name))
        self._succeeded(found, failure)
        if found.stdout.strip():
            self._change(containers.remove(name), failure)

    # -- helpers

    def _fence(self) -> Fence:
        """Asked for anew before each change: it raises when the lease is no longer ours."""
        return self._conductor.fence(self.spec.cluster_directory)

    def _tool(self, command: Command, *, seconds: float = TOOL_SECONDS, fenced: bool = False) -> Finished:
        return self.machine.run(
            command.argv, stdin=command.stdin_bytes(), env=command.env, timeout=seconds, fence=self._fence() if fenced else None
        )

    def _change(
        self,
        command: Command,
        failure: str,
        seconds: float = TOOL_SECONDS,
        *,
        log_on_error: bool = False,
        failed: type[ToolFailed] = ToolFailed,
    ) -> None:
        self._conductor.command(command.display())
        finished = self._tool(command, seconds=seconds, fenced=True)
        self._conductor.changed()
        if not finished.ok and log_on_error:
            for line in self.log_tail():
                self._conductor.output(line)
        self._succeeded(finished, failure, failed)

    def _succeeded(self, finished: Finished, failure: str, failed: type[ToolFailed] = ToolFailed) -> None:
        """Raises: `failed` with the last line that was printed, all of which goes into the log."""
        if finished.ok:
            return
        lines = [line for line in (finished.stderr + finished.stdout).splitlines() if line.strip()]
        for line in lines:
            self._conductor.output(line)
        error = lines[-1] if lines else f"exit status {finished.returncode}"
        hint = _("The log above has what it printed. Put that right, then resume the job.")
        raise failed(failure, hint, name=self.spec.name, error=error[:300])
