"""safety.md 3(f): an older worker changes nothing once a newer one has spoken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import Fence, HostError, LockBusy, OutcomeUnknown, TokenRefused, VerbFailed
from tests.unit.clusters.hosts.conftest import until
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(params=["flock", "no flock"])
def lock(request: pytest.FixtureRequest, machine: LocalMachine) -> str:
    """With and without the program flock on the machine."""
    if request.param == "no flock":
        machine.search_path = request.getfixturevalue("path_without_flock")
    return str(request.param)


class Background(threading.Thread):
    """Calls something in a thread of its own; `outcome` is what it returned or raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call, self.outcome = call, None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._call()
        except HostError as error:
            self.outcome = error


def stored(fence: Fence) -> str:
    return Path(fence.path).read_text()


@pytest.mark.usefixtures("lock")
class TestToken:
    def it_accepts_an_equal_and_stores_a_newer_token(self, machine: LocalMachine, fence: Fence) -> None:
        for token in (7, 7, 8, 123456789012345678):
            assert machine.run(["echo", "done"], timeout=10, fence=Fence(fence.path, token)).stdout == "done\n"
            assert stored(fence) == f"{token}\n"

    def it_refuses_an_older_token_and_does_nothing(self, machine: LocalMachine, fence: Fence, base: str) -> None:
        machine.run(["true"], timeout=10, fence=fence)
        lines: list[str] = []
        with pytest.raises(TokenRefused) as caught:
            machine.run(["touch", f"{base}/late"], timeout=10, on_line=lines.append, fence=Fence(fence.path, 6))
        assert caught.value.what == "A newer worker took this job over (token 7); the command of token 6 was refused and not run."
        assert (caught.value.token, caught.value.stored, lines) == (6, "7", [])
        assert (machine.exists(f"{base}/late"), stored(fence)) == (False, "7\n")

    def it_shuts_older_workers_out_by_a_claim_alone(self, machine: LocalMachine, fence: Fence, base: str) -> None:
        machine.claim(Fence(fence.path, 8))
        with pytest.raises(TokenRefused):
            machine.write_file(f"{base}/late", b"", fence=fence)
        with pytest.raises(TokenRefused):
            machine.claim(fence)
        assert (stored(fence), machine.list_directory(base)) == ("8\n", ["orders"])

    def it_refuses_every_changing_verb_of_an_older_token(self, machine: LocalMachine, fence: Fence, base: str) -> None:
        machine.make_directory(f"{base}/tree", fence=fence)
        machine.write_file(f"{base}/tree/owner", b"job 1", fence=fence)
        before = machine.list_directory(base), machine.list_directory(f"{base}/tree")
        late = Fence(fence.path, 6)
        verbs: list[Callable[[], Any]] = [
            lambda: machine.write_file(f"{base}/a", b"", fence=late),
            lambda: machine.make_directory(f"{base}/a", fence=late),
            lambda: machine.make_owned_directory(f"{base}/a", "owner", "job 1", fence=late),
            lambda: machine.move(f"{base}/tree", f"{base}/a", fence=late),
            lambda: machine.remove_owned_tree(f"{base}/tree", "owner", "job 1", fence=late),
            lambda: machine.start_unit(f"{base}/a", ["touch", f"{base}/a"], fence=late),
            lambda: machine.stop_unit(f"{base}/a", fence=late),
            lambda: machine.remove_unit(f"{base}/a", fence=late),
        ]
        for verb in verbs:
            with pytest.raises(TokenRefused):
                verb()
        assert (machine.list_directory(base), machine.list_directory(f"{base}/tree")) == before

    @pytest.mark.parametrize("content", [b"", b"\n", b"seven\n", b"-1\n", b"7 8\n", b"1e9\n"])
    def it_does_nothing_when_the_stored_token_cannot_be_read(self, machine: LocalMachine, fence: Fence, base: str, content: bytes) -> None:
        machine.make_directory(f"{base}/orders")
        machine.write_file(fence.path, content)
        with pytest.raises(VerbFailed, match=r"The token file .* cannot be used"):
            machine.run(["touch", f"{base}/late"], timeout=10, fence=fence)
        assert not machine.exists(f"{base}/late")

    def it_says_so_when_the_lock_cannot_be_made(self, machine: LocalMachine, base: str) -> None:
        machine.write_file(f"{base}/file", b"")
        with pytest.raises(VerbFailed, match=r"The lock for .* cannot be made"):
            machine.run(["true"], timeout=10, fence=Fence(f"{base}/file/.token", 1))

    def it_lets_one_guarded_command_run_at_a_time(self, machine: LocalMachine, fence: Fence, base: str) -> None:
        script = f"mkdir {base}/inside && rmdir {base}/inside"  # fails when another is inside
        calls = [Background(lambda: machine.run(["sh", "-c", script], timeout=60, fence=fence)) for _turn in range(12)]
        for call in calls:
            call.join(60)
        assert [call.outcome.returncode for call in calls] == [0] * 12

    def it_makes_a_newer_worker_wait_for_the_command_in_hand_and_refuses_what_waits_with_it(
        self, machine: LocalMachine, fence: Fence, base: str
    ) -> None:
        newer, impatient = Fence(fence.path, 8), LocalMachine(machine.run_as, search_path=machine.search_path)
        impatient.patience = 0.2
        script = f"touch {base}/started; {until(f'{base}/go')}; echo old >>{base}/log"
        old = Background(lambda: machine.run(["sh", "-c", script], timeout=30, fence=fence))
        wait_until(lambda: machine.exists(f"{base}/started"), "the old worker's command runs")
        new = Background(lambda: machine.run(["sh", "-c", f"echo new >>{base}/log"], timeout=30, fence=newer))
        with pytest.raises(LockBusy, match=r"It holds .*/orders/\.token\.lock(\.held)?: process \d+"):
            impatient.run(["true"], timeout=30, fence=newer)
        assert machine.read_file(f"{base}/log") is None
        machine.write_file(f"{base}/go", b"")
        old.join(30)
        new.join(30)
        assert machine.read_file(f"{base}/log") == b"old\nnew\n"
        with pytest.raises(TokenRefused):
            machine.run(["true"], timeout=10, fence=fence)


def it_takes_over_the_lock_of_a_process_that_is_gone_where_there_is_no_flock(
    machine: LocalMachine, fence: Fence, base: str, path_without_flock: str
) -> None:
    machine.search_path = path_without_flock
    machine.make_directory(f"{base}/orders")
    for holder in (b"1 long-ago:1\n", f"{os.getpid()} long-ago:1\n".encode(), b"99999999 x:1\n"):
        machine.write_file(f"{fence.path}.lock.held", holder)
        assert machine.run(["echo", "done"], timeout=10, fence=fence).stdout == "done\n"
    assert machine.list_directory(f"{base}/orders") == [".token"]


def it_knows_that_a_guarded_command_whose_shell_was_killed_may_go_on(machine: LocalMachine, fence: Fence) -> None:
    with pytest.raises(OutcomeUnknown, match=r"The shell that ran “sh -c .*” was killed by signal 9; it may have been done"):
        machine.run(["sh", "-c", "kill -KILL $PPID"], timeout=10, fence=fence)


WORKER = """
import sys
from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import Fence, TokenRefused
base, token = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    try:
        LocalMachine().run(["touch", base + "/" + line.strip()], timeout=20, fence=Fence(base + "/orders/.token", token))
        print("done", flush=True)
    except TokenRefused as error:
        print(error.what, flush=True)
"""


class Worker:
    """A worker process that creates a file for each name it is told."""

    def __init__(self, base: str, token: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, base, str(token)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.heard() == "ready"

    def tell(self, name: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()

    def heard(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(str(tmp_path), 7)
    yield worker
    worker.end()


def it_refuses_the_late_command_of_a_worker_that_slept_beyond_its_lease(worker: Worker, tmp_path: Path) -> None:
    worker.tell("early")
    assert worker.heard() == "done"
    worker.process.send_signal(signal.SIGSTOP)
    worker.tell("late")
    LocalMachine().run(["true"], timeout=10, fence=Fence(f"{tmp_path}/orders/.token", 8))
    worker.process.send_signal(signal.SIGCONT)
    assert worker.heard() == "A newer worker took this job over (token 8); the command of token 7 was refused and not run."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["early", "orders"]


def it_refuses_a_command_whose_shell_slept_on_its_way_to_the_lock(worker: Worker, tmp_path: Path) -> None:
    """The worker had sent it in time, and it waits for the lock on the server: it is the server that refuses."""
    machine, newer = LocalMachine(), Fence(f"{tmp_path}/orders/.token", 8)
    script = f"touch {tmp_path}/holding; {until(f'{tmp_path}/go')}"
    holder = Background(lambda: machine.run(["sh", "-c", script], timeout=30, fence=newer))
    wait_until((tmp_path / "holding").exists, "the newer worker holds the lock")
    worker.tell("late")
    (tmp_path / "go").touch()
    holder.join(30)
    assert "was refused and not run" in worker.heard()
    assert not (tmp_path / "late").exists()
