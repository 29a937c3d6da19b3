"""The start guard: its files compared exactly, its script run by each shell there is, with stand-ins for PostgreSQL's programs."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from clusters.postgres import guard
from clusters.postgres.guard import Places
from clusters.postgres.spec import Container, InstanceSpec, Member
from tests.unit.clusters.postgres.cast import ALPHA, BETA, alpha_spec, beta_spec, data
from tests.waiting import wait_until

GAMMA = Member("gamma", "db3.example.com", 5432)
SYSTEM = "7404271234567890123"
#: Debian's sh is dash; Alpine's is BusyBox.
SHELLS = [pytest.param(["sh"]), pytest.param(["busybox", "sh"], marks=pytest.mark.needs("busybox"))]
CONTROL = f"""\
Database system identifier:           {SYSTEM}
Database cluster state:               in production
Latest checkpoint's TimeLineID:       %s
Latest checkpoint's PrevTimeLineID:   1
Min recovery ending loc's timeline:   %s
"""
STARTING = "psql: error: FATAL:  the database system is starting up"
REFUSED = "psql: error: connection to server failed: Connection refused\n\tIs the server running on that host?"


# -- its files


def it_writes_what_the_guard_goes_by():
    spec = beta_spec(members=(ALPHA, BETA, GAMMA), system_identifier=SYSTEM)
    conf, program = guard.guard_files(spec)
    assert (conf.path, conf.content, conf.mode) == (spec.guard_conf, data("standby.guard.conf"), 0o600)
    assert (program.path, program.content, program.mode) == (f"{spec.directory}/guard/start", guard.START, 0o700)
    assert program.content.startswith("#!/bin/sh\n")
    assert not conf.secret


def it_knows_no_system_identifier_before_the_cluster_has_one():
    assert "system_identifier" not in guard.guard_files(beta_spec())[0].content


def it_sees_the_places_of_the_container_it_runs_in():
    spec = beta_spec(container=Container("pgr-orders-beta", "postgres:16", "999:999"))
    conf, program = guard.guard_files(spec)
    assert (program.path, program.content) == (f"{spec.directory}/guard/entrypoint", guard.ENTRYPOINT)
    lines = dict(line.split(" ", 1) for line in conf.content.splitlines()[1:])
    assert (lines["data_directory"], lines["state_directory"]) == (spec.seen(spec.data_directory), spec.seen(spec.state_directory))
    assert (lines["passfile"], lines["programs"], lines["directory"]) == (spec.seen(spec.passfile), "", spec.directory)


def it_names_every_exit_code_in_the_script():
    assert {int(code) for code in re.findall(r"\breturn (8\d)$", guard.START, re.MULTILINE)} == set(guard.EXIT_CODES)
    assert all(f"{code} " in guard.START.partition("\nhere=")[0] for code in guard.EXIT_CODES)


# -- its script


@dataclass
class Stand:
    """An instance in a temporary directory, with stand-ins for the programs; node n listens on port n."""

    root: Path
    shell: list[str]
    members: dict[str, int] = field(default_factory=lambda: {"node2": 2, "node3": 3})
    role: str = "replicator"

    def __post_init__(self) -> None:
        for name in ("data/pg_wal", "state", "bin", "guard"):
            (self.root / name).mkdir(parents=True)
        (self.root / "data/PG_VERSION").write_text("16\n")
        self.control(1)
        self.program("pg_controldata", f'[ "$1 $2" = "-D {self.root}/data" ] && exec cat {self.root}/control')
        self.program("postgres", 'echo "STARTED $*"')
        self.program("docker-entrypoint.sh", 'echo "HANDED OVER $*"')
        # It is started by `env -i`, so what it was given is what it was really given.
        self.program(
            "psql",
            "for word; do case $word in --port=*) port=${word#*=} ;; "
            f'--username=*) printf "%s\\n" "$word" >>{self.root}/asked ;; esac; done\n'
            f'[ -n "$PGPASSFILE" ] && [ -e {self.root}/peer$port ] || {{ echo "{REFUSED.splitlines()[0]}" >&2; exit 2; }}\n'
            f"cat >/dev/null; . {self.root}/peer$port",
        )
        self.program("sleep", "exec /bin/sleep 0.05")

    def program(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def control(self, timeline: int, recovery: int = 0) -> None:
        (self.root / "control").write_text(CONTROL % (timeline, recovery))

    def peer(self, port: int, *lines: str, code: int = 0) -> None:
        said = "\n".join(lines)
        (self.root / f"peer{port}").write_text(f"cat <<'END'\n{said}\nEND\nexit {code}\n")

    def node(self, port: int, *, recovery: bool, timeline: int = 1, epoch: int = 1, system: str = SYSTEM) -> None:
        self.peer(port, f"system {system}", f"recovery {'true' if recovery else 'false'}", f"timeline {timeline}", f"epoch {epoch}")

    def spec(self) -> InstanceSpec:
        members = tuple(Member(name, "127.0.0.1", port) for name, port in self.members.items())
        return alpha_spec(
            name="node1", members=(Member("node1", "127.0.0.1", 1), *members), replication_role=self.role, system_identifier=SYSTEM
        )

    def write(self, script: str, **changes: str) -> Path:
        places = Places(f"{self.root}/data", f"{self.root}/state", f"{self.root}/passfile", f"{self.root}/bin")
        (self.root / "guard/guard.conf").write_text(guard.render_guard_conf(self.spec(), replace(places, **changes)).content)
        path = self.root / "guard/program"
        path.write_text(script)
        return path

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.root}/bin:/usr/bin:/bin"}

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.shell, str(self.write(guard.START)), *(arguments or ("-D", f"{self.root}/data", "-c", "config_file=/x y"))]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=30, check=False)

    def starts(self) -> str:
        """What it said while it let the server start."""
        ended = self.start()
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == f"STARTED -D {self.root}/data -c config_file=/x y\n"
        assert not (self.root / "state/refused").exists()
        return ended.stderr

    def refuses(self, code: int) -> str:
        """Why it refused; the file says the same as the log."""
        ended = self.start()
        assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
        why, cure = (self.root / "state/refused").read_text().splitlines()
        assert f"start guard: REFUSED (exit code {code}): {why}\n" in ended.stderr
        assert f"start guard: what to do: {cure}\n" in ended.stderr
        return why


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    return Stand(tmp_path, request.param)


def it_starts_a_primary_whose_standbys_follow(stand):
    stand.node(2, recovery=True)
    stand.node(3, recovery=True)
    said = stand.starts()
    assert "node1 may start as a primary, on timeline 1, epoch 1; " in said
    assert "node2 (127.0.0.1:2) is a standby on timeline 1, epoch 1" in said


def it_starts_a_primary_whose_peers_are_all_down(stand):
    assert "node2 (127.0.0.1:2) does not answer: psql: error: connection to server failed: Connection refused" in stand.starts()


def it_starts_a_primary_that_is_alone(stand):
    stand.members = {}
    (stand.root / "bin/psql").unlink()  # nobody is asked
    assert "node1 may start as a primary, on timeline 1, epoch 1." in stand.starts()


def it_starts_a_standby_freely(stand):
    (stand.root / "data/standby.signal").touch()
    (stand.root / "state/fenced").write_text("job 3: rejoin\n")
    stand.node(2, recovery=False, timeline=9)
    assert "node1 starts as a standby: standby.signal is there." in stand.starts()
    assert not (stand.root / "asked").exists()


def it_refuses_where_another_has_taken_over(stand):
    stand.node(2, recovery=False, timeline=2, epoch=2)
    stand.node(3, recovery=True, timeline=2)
    why = stand.refuses(84)
    assert "node2 (127.0.0.1:2) accepts writes on timeline 2, epoch 2" in why
    assert "node3 (127.0.0.1:3) is a standby on timeline 2, epoch 1" in why
    assert "node1 is on timeline 1, epoch 1: the cluster has gone on without it" in why
    for port in (2, 3):
        (stand.root / f"peer{port}").unlink()
    stand.starts()


def it_refuses_where_a_standby_has_followed_another(stand):
    stand.node(3, recovery=True, timeline=2)
    assert stand.refuses(84).startswith("node3 (127.0.0.1:3) is a standby on timeline 2")


def it_refuses_beside_one_that_accepts_writes_on_the_same_timeline(stand):
    stand.node(2, recovery=False)
    assert "node1 has no standby.signal and would accept writes beside it" in stand.refuses(84)


def it_refuses_a_lower_epoch_whatever_the_timelines_say(stand):
    stand.control(5)
    (stand.root / "state/epoch").write_text("3\n")
    stand.node(2, recovery=False, timeline=3, epoch=4)
    assert "node1 is on timeline 5, epoch 3" in stand.refuses(84)
    (stand.root / "state/epoch").write_text("4\n")
    stand.starts()
    (stand.root / "state/epoch").write_text("rubbish\n")
    assert "epoch 0" in stand.refuses(84)


def it_starts_beside_an_old_primary_that_came_back(stand):
    """The other way round: this one has been promoted since."""
    stand.control(2)
    stand.node(2, recovery=False, timeline=1)
    assert "node2 (127.0.0.1:2) accepts writes on timeline 1" in stand.starts()


def it_knows_its_newest_timeline_before_the_control_file_tells_it(stand):
    stand.node(2, recovery=True, timeline=10)
    assert "node1 is on timeline 1" in stand.refuses(84)
    (stand.root / "data/pg_wal/0000000A0000000000000003").touch()
    (stand.root / "data/pg_wal/000000090000000000000009").touch()
    (stand.root / "data/pg_wal/0000000B.history").touch()
    assert "on timeline 10, epoch 1" in stand.starts()


def it_heeds_no_other_cluster_at_the_address_of_a_peer(stand):
    stand.node(2, recovery=False, timeline=7, system="1")
    assert "node2 (127.0.0.1:2) is another cluster's, and is not heeded" in stand.starts()


def it_heeds_what_it_may_ask_where_it_may_not_ask_all(stand):
    stand.peer(2, f"system {SYSTEM}", "recovery false", "timeline 2", "ERROR:  permission denied for schema pgreplica")
    assert "node2 (127.0.0.1:2) accepts writes on timeline 2, epoch 0" in stand.refuses(84)


def it_asks_one_that_is_starting_again(stand):
    answers = f"system {SYSTEM}\nrecovery false\ntimeline 2"
    (stand.root / "peer2").write_text(
        f"echo x >>{stand.root}/tries\n"
        f'[ "$(wc -l <{stand.root}/tries)" -ge 4 ] || {{ echo "{STARTING}" >&2; exit 2; }}\ncat <<END\n{answers}\nEND\n'
    )
    assert "accepts writes on timeline 2" in stand.refuses(84)


def it_does_not_wait_for_ever_for_one_that_is_starting(stand):
    stand.peer(2, STARTING, code=2)
    assert "node2 (127.0.0.1:2) does not answer: psql: error: FATAL:  the database system is starting up" in stand.starts()


def it_does_not_wait_for_one_that_hangs(stand):
    (stand.root / "peer2").write_text("exec /bin/sleep 60\n")
    stand.program("timeout", 'shift; exec /usr/bin/timeout 0.5 "$@"')
    began = time.monotonic()
    assert "node2 (127.0.0.1:2) does not answer: no answer in time" in stand.starts()
    assert time.monotonic() - began < 12


def it_shows_a_hostile_answer_as_text(stand):
    stand.peer(2, "system 1; rm", "recovery $(touch x)", "timeline 99999x", "\x1b[31mred `id` $(id) %s", "x" * 5000)
    said = stand.starts()
    assert "node2 (127.0.0.1:2) does not answer:  [31mred `id` $(id) %s" in said
    assert "\x1b" not in said
    assert len(said) < 1000


@pytest.mark.parametrize("role", ['o\'r "x" $(id) `id`', "--help", "a\\b;|&", "*", "é  😀", "host=/x"])
def it_passes_any_role_unharmed(stand, role):
    stand.role = role
    stand.starts()
    assert set((stand.root / "asked").read_text().splitlines()) == {f"--username={role}"}


def it_refuses_without_data(stand):
    shutil.rmtree(stand.root / "data")
    assert "holds no PostgreSQL data" in stand.refuses(81)
    (stand.root / "data").mkdir()
    stand.refuses(81)


def it_refuses_a_control_file_that_cannot_be_read(stand):
    stand.program("pg_controldata", "echo 'pg_controldata: fatal: could not open file'; exit 1")
    assert "could not open file" in stand.refuses(81)


def it_refuses_the_data_of_another_cluster(stand):
    (stand.root / "control").write_text((CONTROL % (1, 0)).replace(SYSTEM, "99"))
    assert f"holds the data of another cluster (system identifier 99, not {SYSTEM})" in stand.refuses(82)


def it_refuses_where_it_is_fenced(stand):
    (stand.root / "state/fenced").write_text("job 7: failover, epoch 2\n")
    assert stand.refuses(83) == "node1 is fenced (job 7: failover, epoch 2), so it is not started as a primary."
    (stand.root / "state/fenced").write_text("")
    stand.refuses(83)


def it_refuses_when_it_cannot_ask(stand):
    (stand.root / "bin/psql").unlink()
    assert "cannot run" in stand.refuses(85)


def it_refuses_without_its_own_file(stand):
    program = stand.write(guard.START)
    (stand.root / "guard/guard.conf").unlink()
    ended = subprocess.run([*stand.shell, str(program)], env=stand.env, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (85, "")
    assert "cannot read" in ended.stderr


def it_guards_its_own_data_directory_only(stand):
    (stand.root / "other").mkdir()
    ended = stand.start("-D", f"{stand.root}/other")
    assert (ended.returncode, ended.stdout) == (85, "")
    assert stand.start("-D", f"{stand.root}/./data/").returncode == 0
    assert stand.start("-c", "port=1").stdout == f"STARTED -D {stand.root}/data -c port=1\n"


# -- in a container


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(20)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def entrypoint(stand: Stand, *arguments: str, log: Path) -> subprocess.Popen[str]:
    argv = [*stand.shell, str(stand.write(guard.ENTRYPOINT, programs="")), *arguments]
    with log.open("w") as errors:
        return subprocess.Popen(
            argv, env=stand.env, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True, preexec_fn=_heed_signals
        )


def _heed_signals() -> None:
    """What was ignored when a shell begins it cannot trap: tests that run in the background inherit that for INT and QUIT."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def it_hands_over_to_the_image(stand, running, tmp_path):
    running.append(process := entrypoint(stand, "postgres", "-c", "x=a b", log=tmp_path / "log"))
    assert process.communicate(timeout=20)[0] == "HANDED OVER postgres -c x=a b\n"


def it_waits_while_it_is_refused_and_starts_once_it_is_not(stand, running, tmp_path):
    log, fence = tmp_path / "log", stand.root / "state/fenced"
    fence.write_text("job 7\n")
    running.append(process := entrypoint(stand, "postgres", log=log))
    wait_until(lambda: "what to do" in log.read_text(), "it has said why", 10)
    assert process.poll() is None
    fence.unlink()
    assert process.communicate(timeout=20)[0] == "HANDED OVER postgres\n"
    assert log.read_text().count("REFUSED (exit code 83): node1 is fenced (job 7)") == 1  # the next would come a minute later
    assert not (stand.root / "state/refused").exists()


def it_is_not_talked_out_of_a_refusal_by_silence(stand, running, tmp_path):
    log = tmp_path / "log"
    stand.node(2, recovery=False, timeline=2, epoch=2)
    running.append(process := entrypoint(stand, "postgres", log=log))
    wait_until(lambda: "REFUSED (exit code 84)" in log.read_text(), "somebody is further on", 10)
    (stand.root / "peer2").unlink()  # it restarts, or the network is cut
    wait_until(lambda: "REFUSED (exit code 83)" in log.read_text(), "it refuses on its own now", 10)
    assert process.poll() is None
    assert "node2" in (stand.root / "state/fenced").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def it_ends_at_once_when_it_is_stopped(stand, running, tmp_path, number):
    log = tmp_path / "log"
    (stand.root / "state/fenced").write_text("job 7\n")
    running.append(process := entrypoint(stand, "postgres", log=log))
    wait_until(lambda: "what to do" in log.read_text(), "it waits", 10)
    process.send_signal(number)
    assert process.wait(3) == 143


def it_does_not_guard_what_is_no_server(stand, running, tmp_path):
    (stand.root / "state/fenced").write_text("job 7\n")
    running.append(process := entrypoint(stand, "psql", "-l", log=tmp_path / "log"))
    assert process.communicate(timeout=20)[0] == "HANDED OVER psql -l\n"
