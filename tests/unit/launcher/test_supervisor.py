"""Order, readiness, restarts and stops, on real processes (small ones)."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.complaint import CannotStart
from launcher.output import Output
from launcher.process import Program
from launcher.supervisor import StopRequested, Supervisor
from tests.waiting import wait_until

ENVIRONMENT = {"PATH": os.environ["PATH"]}
#: Notes its start and its end in the file `notes`, and makes a file when it is ready.
SCRIPT = "trap 'echo end-$0 >>notes; exit 0' TERM; echo start-$0 >>notes; echo $0 is here; touch ready-$0; while :; do sleep 0.02; done"


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(output: io.StringIO) -> Iterator[Supervisor]:
    supervisor = Supervisor(Output(output))
    yield supervisor
    supervisor.stop()


def program(directory: Path, name: str, script: str = SCRIPT, **more: object) -> Program:
    ready = (directory / f"ready-{name}").exists
    return Program(name, ["/bin/sh", "-c", script, name], ENVIRONMENT, ready, directory=directory, **more)  # type: ignore[arg-type]


def notes(directory: Path) -> list[str]:
    return (directory / "notes").read_text().split()


def until(supervisor: Supervisor, done: Callable[[], bool], what: str) -> None:
    def turned() -> bool:
        supervisor.turn()
        supervisor._restart()
        return done()

    wait_until(turned, what, 20)


def it_starts_in_order_and_stops_in_the_reverse_order(tmp_path: Path, output: io.StringIO) -> None:
    supervisor = Supervisor(Output(output))
    supervisor.start(program(tmp_path, "one"))
    supervisor.start(program(tmp_path, "two"))
    supervisor.stop()
    assert notes(tmp_path) == ["start-one", "start-two", "end-two", "end-one"]
    assert output.getvalue().splitlines() == ["one      | one is here", "two      | two is here"]


def it_kills_what_does_not_stop_in_time(tmp_path: Path, output: io.StringIO) -> None:
    supervisor = Supervisor(Output(output))
    supervisor.start(program(tmp_path, "deaf", SCRIPT.replace("exit 0", ":"), stop_seconds=0.2))
    child = supervisor.children[0]
    supervisor.stop()
    assert child.ended() == -signal.SIGKILL


def it_says_which_process_ended_while_starting(tmp_path: Path, supervisor: Supervisor, output: io.StringIO) -> None:
    with pytest.raises(CannotStart) as refused:
        supervisor.start(program(tmp_path, "web", "echo the reason >&2; exit 3"))
    assert str(refused.value) == "the web process ended while it was starting; its last lines are above."
    assert output.getvalue() == "web      | the reason\n"


def it_starts_again_what_ends_with_longer_pauses(
    tmp_path: Path, supervisor: Supervisor, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.process.BACK_OFF_SECONDS", (0.1, 0.3))
    supervisor.start(program(tmp_path, "one"))
    pauses = []
    for started in (2, 3, 4):
        supervisor.children[0].signal(signal.SIGKILL)
        until(supervisor, lambda count=started: len(notes(tmp_path)) == count, "the next start")  # type: ignore[misc]
        pauses.append(supervisor.children[0].pause)
    assert pauses == [0.1, 0.2, 0.3]
    assert output.getvalue().count("panel    | one ended (by SIGKILL); it starts again in 0 s\n") == 3


def it_does_not_start_again_what_has_its_work_done(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(program(tmp_path, "once", "touch ready-once", once=True))
    until(supervisor, lambda: supervisor.children == [], "its end")


def it_hides_the_lines_that_are_not_news(tmp_path: Path, supervisor: Supervisor, output: io.StringIO) -> None:
    script = "echo starting up; echo; echo news; " + SCRIPT
    supervisor.start(program(tmp_path, "one", script, quiet=["starting up"]))
    until(supervisor, lambda: "is here" in output.getvalue(), "its last line")
    assert output.getvalue() == "one      | news\none      | one is here\n"


def it_turns_a_signal_into_a_request_to_stop(supervisor: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested):
        supervisor.wait_for(lambda: False)


def it_gives_the_signals_back_when_it_is_done(output: io.StringIO) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    Supervisor(Output(output)).stop()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def runs(pid: int) -> bool:
    """Whether it is there and not dead already: in a container without an init nobody buries it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


RUNNER = """
import sys
from pathlib import Path
from launcher.output import Output
from launcher.supervisor import Supervisor
from tests.unit.launcher.test_supervisor import program
supervisor = Supervisor(Output())
supervisor.start(program(Path(sys.argv[1]), "one"))
print(supervisor.children[0].process.pid, flush=True)
supervisor.run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def it_leaves_nothing_behind_when_it_is_killed(tmp_path: Path) -> None:
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    pid = next(int(line) for line in runner.stdout if line.strip().isdecimal())
    assert runs(pid)
    runner.kill()
    runner.wait()
    runner.stdout.close()
    wait_until(lambda: not runs(pid), "the child's end", 10)
