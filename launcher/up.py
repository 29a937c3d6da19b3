"""`./pgreplica up`, from nothing to a page that answers."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from launcher import banner, checks, panel, parts, static
from launcher.account import Account, unprivileged
from launcher.arguments import UpOptions
from launcher.once import Once
from launcher.output import Output
from launcher.postgres import EmbeddedPostgres
from launcher.process import Program
from launcher.programs import postgres_copy, valkey_server
from launcher.state import State
from launcher.supervisor import StopRequested, Supervisor
from launcher.valkey import EmbeddedValkey

ADMINISTRATOR = "admin"
DEMO_FIRST_PORT = 5433  # 5432 is left to a PostgreSQL of the machine's own


def up(options: UpOptions, state: State) -> int:
    """Run the panel until it is told to stop. Returns the exit code. Raises: CannotStart."""
    account = _state_ensure(state)
    with panel.alone(state):
        checks.port_free(options.host, options.port)
        supervisor = Supervisor(Output())
        try:
            Start(options, state, account, supervisor).run()
            supervisor.run()
        except StopRequested:
            supervisor.output.say("stopping: alerter, monitor, beat, web, worker, database, broker; managed databases keep running")
        finally:
            state.panel_file.unlink(missing_ok=True)
            supervisor.stop()
        supervisor.output.say("stopped")
    return 0


def _state_ensure(state: State) -> Account | None:
    """Look at what may be in the way, then make the state directory. Returns the user for PostgreSQL."""
    checks.path_length(state)
    checks.writable(state)
    account = unprivileged(state.database / "data")
    checks.enterable(state, account)
    checks.free_space(state)
    os.umask(0o022)
    state.root.mkdir(parents=True, exist_ok=True)
    for path, mode in ((state.secrets, 0o700), (state.root / "run", 0o755), (state.clusters, 0o700)):
        path.mkdir(mode=mode, exist_ok=True)
    if account:
        account.own(state.clusters)
    return account


@dataclass
class Start:
    """One start; the methods stand in the order in which `run` calls them."""

    options: UpOptions
    state: State
    account: Account | None
    supervisor: Supervisor
    began: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        environment = self._environment()
        environment |= self._services(environment)
        password = secrets.token_urlsafe(12)
        answer = self._prepare(environment, password)
        python = parts.PythonParts(self.state, environment)
        self.supervisor.start(python.web(self.options.host, self.options.port))
        self._said("web: answers")
        panel.write(self.state, banner.address(self.options), environment)
        self.supervisor.start(python.worker(), python.beat(), python.monitor(), python.alerter())
        self._said("worker, beat, monitor and alerter: ready")
        if answer["demo_pending"]:
            self.supervisor.start(python.first_start(checks.free_ports(DEMO_FIRST_PORT, 2, besides=self.options.port)))
        lines = banner.lines(self.options, self.state, ADMINISTRATOR, password if answer["administrator_made"] else None)
        for line in lines:
            self.supervisor.output.write(line)

    def _environment(self) -> dict[str, str]:
        """What all of the project's processes get.

        They may keep compiled modules, whatever the machine prefers: without, each of them compiles the whole project at each start.
        """
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return inherited | {
            "PGREPLICA_STATE_DIR": str(self.state.root),
            "PGREPLICA_HOST": self.options.host,
            "PGREPLICA_PORT": str(self.options.port),
            "PGREPLICA_EMBEDDED_BINDIR": str(postgres_copy(self.state.programs)),
            "PGREPLICA_ALLOWED_HOSTS": os.environ.get("PGREPLICA_ALLOWED_HOSTS") or ",".join(banner.host_names(self.options.host)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
            "PYTHONWARNINGS": parts.WARNINGS_OFF,
        }

    def _services(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Start the database and the broker that were not given. Returns how to reach them."""
        urls: dict[str, str] = {}
        programs: list[Program] = []
        if not environment.get("DATABASE_URL"):
            server = self._postgres()
            urls["DATABASE_URL"] = server.url()
            programs.append(parts.database(server))
        if not environment.get("REDIS_URL"):
            broker = self._valkey()
            urls["REDIS_URL"] = broker.url
            programs.append(parts.broker(broker))
        self.supervisor.start(*programs)
        if programs:
            self._said(f"{' and '.join(program.name for program in programs)}: ready")
        return urls

    def _postgres(self) -> EmbeddedPostgres:
        bindir = postgres_copy(self.state.programs)
        server = EmbeddedPostgres(bindir, self.state.database, self.state.database_socket, self.state.secrets, self.account)
        server.prepare()
        server.stop_leftover()
        return server

    def _valkey(self) -> EmbeddedValkey:
        broker = EmbeddedValkey(valkey_server(), self.state.broker, self.state.broker_socket)
        broker.prepare()
        broker.stop_leftover()
        return broker

    def _prepare(self, environment: Mapping[str, str], password: str) -> dict[str, bool]:
        """Tables, groups, the first administrator, this machine as a server; and the static files beside it."""
        words = ["prepare", "--administrator", ADMINISTRATOR, "--base-directory", str(self.state.clusters)]
        words += ["--run-as", self.account.name if self.account else ""]
        words += ["--demo"] if self.options.demo else []
        collecting = [] if static.is_current(self.state) else [Once(["collectstatic", "--noinput", "--verbosity", "0"], environment)]
        preparing = Once(words, environment, stdin=password)
        commands = [preparing, *collecting]
        try:
            self.supervisor.wait_for(lambda: all(command.ended() for command in commands))
        finally:
            for command in commands:
                command.kill()
        answer: dict[str, bool] = json.loads(preparing.answer(self.supervisor.output))
        for command in collecting:
            command.answer(self.supervisor.output)
            static.mark_current(self.state)
        self._said("tables, groups and static files: ready")
        return answer

    def _said(self, what: str) -> None:
        self.supervisor.output.say(f"{what} ({time.monotonic() - self.began:.1f} s)")
