from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import ArgumentRefused, Fence, PathRefused, Unit, VerbFailed
from tests.unit.clusters.hosts.conftest import directory_for_all, ended, present, printed, programs, uid_of, until
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[4]
ABSENT = Unit("absent")


def child_of(machine: LocalMachine, unit: str) -> int:
    """The process number of the command itself."""
    wait_until(lambda: machine.exists(f"{unit}/child"), "the command has begun")
    return int((machine.read_file(f"{unit}/child") or b"").split()[0])


class TestCourse:
    def it_is_absent_running_and_finished(self, machine: LocalMachine, unit: str, fence: Fence, base: str) -> None:
        assert machine.unit(unit) == ABSENT
        script = f"echo out; echo err >&2; {until(f'{base}/go')}; exit 3"
        command = f"sh -c '{script}'"
        started = machine.start_unit(unit, ["sh", "-c", script], fence=fence)
        assert started == Unit("running", None, started.pid, command)
        assert machine.unit(unit) == started
        machine.write_file(f"{base}/go", b"")
        assert ended(machine, unit) == Unit("finished", 3, started.pid, command)
        assert printed(machine, unit) == b"out\nerr\n"
        assert machine.list_directory(unit) == ["child", "command", "out", "pid", "rc", "runner"]
        machine.remove_unit(unit, fence)
        assert (machine.unit(unit), machine.kind(unit), printed(machine, unit)) == (ABSENT, "absent", b"")

    def it_is_followed_to_its_end_without_asking_again_and_again(self, machine: LocalMachine, unit: str, fence: Fence) -> None:
        machine.start_unit(unit, ["sh", "-c", "echo one; sleep 0.5; echo two; exit 4"], fence=fence)
        began = time.monotonic()
        assert machine.follow_unit(unit, 0, 30) == (Unit("finished", 4), b"one\ntwo\n")
        assert time.monotonic() - began < 20
        assert machine.follow_unit(unit, 4, 30, limit=2) == (Unit("finished", 4), b"tw")

    def it_is_followed_no_longer_than_was_asked(self, machine: LocalMachine, unit: str, fence: Fence) -> None:
        machine.start_unit(unit, ["sleep", "60"], fence=fence)
        assert machine.follow_unit(unit, 0, 0.3) == (Unit("running"), b"")
        machine.stop_unit(unit, fence=fence)
        assert machine.follow_unit(f"{unit}-other", 0, 30) == (ABSENT, b"")

    def it_runs_in_a_session_of_its_own_as_the_machines_user_with_a_minimal_environment(
        self, machine: LocalMachine, unit: str, fence: Fence, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "canary")
        script = "id -u; pwd; umask; cut -d' ' -f5,6 /proc/self/stat; cat; { true >&9; } 2>/dev/null || echo closed; env"
        started = machine.start_unit(unit, ["sh", "-c", script], env={"PGPASSFILE": "/a b/'$x"}, fence=fence)
        assert ended(machine, unit).returncode == 0
        uid, directory, umask, groups, closed, *env = printed(machine, unit).decode().splitlines()
        assert (int(uid), directory, umask, closed) == (uid_of(machine), "/", "0077", "closed")
        assert groups == f"{started.pid} {started.pid}"
        assert "PGPASSFILE=/a b/'$x" in env
        assert {line.partition("=")[0] for line in env} <= {"PATH", "HOME", "LC_ALL", "LANG", "PGPASSFILE", "PWD", "OLDPWD", "SHLVL", "_"}

    def it_carries_every_word_through_unharmed(self, machine: LocalMachine, unit: str, fence: Fence) -> None:
        words = ["", " ", "a b", "'", '"', "$HOME", "$(id)", "`id`", "a\nb", "-n", "--command", "*", "\\", "ü…🐘", ";id", "x=y"]
        machine.start_unit(unit, ["printf", "[%s]", *words], fence=fence)
        assert ended(machine, unit).returncode == 0
        assert printed(machine, unit).decode() == "".join(f"[{word}]" for word in words)

    @pytest.mark.parametrize(("argv", "code"), [(["no-such-program"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -KILL $$"], 137)])
    def it_records_how_a_command_ended_that_could_not_run_or_was_killed(
        self, machine: LocalMachine, unit: str, argv: list[str], code: int
    ) -> None:
        machine.start_unit(unit, argv)
        assert ended(machine, unit).returncode == code

    def it_gives_the_output_piece_by_piece(self, machine: LocalMachine, unit: str) -> None:
        machine.start_unit(unit, ["printf", r"\0\377%05000d", "7"])
        ended(machine, unit)
        whole = b"\x00\xff" + b"0" * 4999 + b"7"
        assert printed(machine, unit) == whole
        pieces = [printed(machine, unit, offset, 1000) for offset in range(0, 7000, 1000)]
        assert (b"".join(pieces), pieces[-1]) == (whole, b"")

    def it_says_what_the_unit_is_though_its_directory_has_an_odd_name(self, machine: LocalMachine, base: str) -> None:
        unit = f"{base}/a b/$x\n'-rf"
        assert machine.start_unit(unit, ["true"]).already is False
        assert ended(machine, unit).returncode == 0
        machine.remove_unit(unit)
        assert machine.list_directory(f"{base}/a b") == []


class TestOnce:
    def it_finds_the_first_when_it_is_started_twice(self, machine: LocalMachine, unit: str, fence: Fence, base: str) -> None:
        script = f"echo >>{base}/runs; {until(f'{base}/go')}"
        first = machine.start_unit(unit, ["sh", "-c", script], fence=fence)
        newer = Fence(fence.path, 8)
        assert machine.start_unit(unit, ["touch", f"{base}/other"], fence=newer) == Unit(
            "running", None, first.pid, first.command, already=True
        )
        machine.write_file(f"{base}/go", b"")
        ended(machine, unit)
        assert machine.start_unit(unit, ["sh", "-c", script], fence=newer) == Unit("finished", 0, first.pid, first.command, already=True)
        assert machine.read_file(f"{base}/runs") == b"\n"
        assert not machine.exists(f"{base}/other")

    @pytest.mark.parametrize("guarded", [True, False])
    def it_starts_once_though_many_ask_at_once(self, machine: LocalMachine, unit: str, fence: Fence, base: str, guarded: bool) -> None:
        """Without the guard too: whoever links the receipt first runs the command."""
        with ThreadPoolExecutor(8) as pool:
            calls = [
                pool.submit(machine.start_unit, unit, ["sh", "-c", f"echo >>{base}/runs"], fence=fence if guarded else None)
                for _turn in range(16)
            ]
        units = [call.result() for call in calls]
        assert ended(machine, unit).returncode == 0
        assert machine.read_file(f"{base}/runs") == b"\n"
        assert len({each.pid for each in units}) == 1
        assert sum(not each.already for each in units) == 1 or not guarded

    def it_can_be_started_anew_after_its_receipts_were_removed(self, machine: LocalMachine, unit: str, fence: Fence) -> None:
        first = machine.start_unit(unit, ["true"], fence=fence)
        ended(machine, unit)
        machine.remove_unit(unit, fence)
        second = machine.start_unit(unit, ["true"], fence=fence)
        assert (second.already, second.pid == first.pid) == (False, False)

    def it_starts_what_an_earlier_call_had_only_prepared(self, machine: LocalMachine, unit: str, base: str) -> None:
        machine.make_directory(unit)
        machine.write_file(f"{unit}/command", b"echo\n")
        assert machine.unit(unit) == Unit("absent", command="echo")
        assert machine.start_unit(unit, ["echo", "hello"]).already is False
        assert ended(machine, unit).returncode == 0
        assert printed(machine, unit) == b"hello\n"


STARTER = """
import os, signal, sys
from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import Fence
base, user, script, fatal = sys.argv[1:]
LocalMachine(user).start_unit(base + "/unit", ["sh", "-c", script], fence=Fence(base + "/.token", 1))
if fatal == "after":
    os.killpg(0, signal.SIGKILL)
"""


class TestOutliving:
    def it_survives_the_kill_of_its_starters_whole_process_group(self, machine: LocalMachine, base: str) -> None:
        script = f"echo >>{base}/runs; {until(f'{base}/go')}; exit 5"
        argv = [sys.executable, "-c", STARTER, base, machine.run_as, script, "after"]
        starter = subprocess.run(argv, cwd=ROOT, start_new_session=True, check=False)
        assert starter.returncode == -signal.SIGKILL
        found = machine.start_unit(f"{base}/unit", ["true"], fence=Fence(f"{base}/.token", 2))
        assert (found.state, found.already) == ("running", True)
        machine.write_file(f"{base}/go", b"")
        assert ended(machine, f"{base}/unit").returncode == 5
        assert machine.read_file(f"{base}/runs") == b"\n"

    def it_runs_once_though_its_starter_is_killed_at_any_moment(self, machine: LocalMachine, base: str) -> None:
        """The worker and the wrapper's shell are killed with it, at a growing delay; then another worker asks for the same."""
        for turn in range(12):
            place = f"{base}/{turn}"
            machine.make_directory(place)
            script = f"echo >>{place}/runs; exit 5"
            argv = [sys.executable, "-c", STARTER, place, machine.run_as, script, "never"]
            worker = subprocess.Popen(argv, cwd=ROOT, start_new_session=True)
            time.sleep(0.04 + turn * 0.008)  # not a wait for something: the moment of the kill
            victims = [worker.pid, *(int(pid) for pid in _children(worker.pid))]
            for pid in victims:
                _kill(pid)
            worker.wait()
            machine.start_unit(f"{place}/unit", ["sh", "-c", script], fence=Fence(f"{place}/.token", 2))
            assert ended(machine, f"{place}/unit").returncode == 5
            assert machine.read_file(f"{place}/runs") == b"\n"

    def it_goes_on_when_its_runner_is_killed_and_says_honestly_that_the_end_is_not_known(
        self, machine: LocalMachine, unit: str, base: str
    ) -> None:
        started = machine.start_unit(unit, ["sh", "-c", until(f"{base}/go")])
        child = child_of(machine, unit)
        assert started.pid
        os.kill(started.pid, signal.SIGKILL)
        wait_until(lambda: not present(started.pid or 0), "the runner is gone")
        assert machine.unit(unit).state == "running"
        with pytest.raises(PathRefused) as caught:
            machine.remove_unit(unit)
        assert caught.value.word == "running"
        machine.write_file(f"{base}/go", b"")
        wait_until(lambda: not present(child), "the command has ended")
        assert machine.unit(unit) == Unit("vanished", None, started.pid, started.command)
        assert machine.start_unit(unit, ["true"]).already is True

    def it_has_vanished_when_all_of_it_was_killed(self, machine: LocalMachine, unit: str) -> None:
        started = machine.start_unit(unit, ["sleep", "1000"])
        assert started.pid
        os.killpg(started.pid, signal.SIGKILL)
        wait_until(lambda: machine.unit(unit).state != "running", "it is gone")
        assert machine.unit(unit) == Unit("vanished", None, started.pid, "sleep 1000")
        machine.remove_unit(unit)

    def it_has_vanished_when_the_machine_was_restarted(self, machine: LocalMachine, unit: str) -> None:
        """The numbers of the processes are taken again by others, at the same time after the start."""
        started = machine.start_unit(unit, ["sleep", "1000"])
        for name in ("pid", "child"):
            receipt = (machine.read_file(f"{unit}/{name}") or b"").decode()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            assert boot in receipt
            machine.write_file(f"{unit}/{name}", receipt.replace(boot, "00000000-0000-0000-0000-000000000000").encode())
        assert machine.unit(unit).state == "vanished"
        assert started.pid
        os.killpg(started.pid, signal.SIGKILL)


class TestRecycledNumber:
    @pytest.fixture
    def stranger(self, machine: LocalMachine) -> Iterator[int]:
        """Somebody else's process of the same user, the leader of a group."""
        stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True, user=uid_of(machine))
        yield stranger.pid
        stranger.kill()
        stranger.wait()

    def it_takes_no_other_process_for_its_own_and_leaves_it_alone(self, machine: LocalMachine, unit: str, stranger: int) -> None:
        machine.start_unit(unit, ["true"])
        ended(machine, unit)
        for name in ("pid", "child"):
            mark = (machine.read_file(f"{unit}/{name}") or b"").split()[1]
            machine.write_file(f"{unit}/{name}", f"{stranger} {mark.decode()}\n".encode())
        machine.move(f"{unit}/rc", f"{unit}-rc")
        assert machine.unit(unit).state == "vanished"
        assert machine.stop_unit(unit, 0).state == "vanished"
        assert present(stranger)


class TestStopping:
    def it_asks_first_and_records_how_the_command_ended(self, machine: LocalMachine, unit: str, fence: Fence) -> None:
        started = machine.start_unit(unit, ["sh", "-c", "trap 'echo bye; exit 4' TERM; echo on; while :; do sleep 0.01; done"], fence=fence)
        wait_until(lambda: printed(machine, unit) == b"on\n", "the trap is set")
        assert machine.stop_unit(unit, 10, fence) == Unit("finished", 4, started.pid, started.command)
        assert printed(machine, unit).startswith(b"on\n")
        assert printed(machine, unit).endswith(b"bye\n")

    def it_kills_what_does_not_heed_and_all_of_its_group(self, machine: LocalMachine, unit: str) -> None:
        script = "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done"
        started = machine.start_unit(unit, ["sh", "-c", script])
        wait_until(lambda: printed(machine, unit).endswith(b"\n"), "it heeds no TERM")
        below = int(printed(machine, unit))
        assert machine.stop_unit(unit, 0.2) == Unit("finished", 137, started.pid, started.command)
        wait_until(lambda: not present(below), "its child is gone too")

    def it_stops_a_command_whose_runner_was_killed(self, machine: LocalMachine, unit: str) -> None:
        started = machine.start_unit(unit, ["sleep", "1000"])
        child = child_of(machine, unit)
        assert started.pid
        os.kill(started.pid, signal.SIGKILL)
        wait_until(lambda: not present(started.pid or 0), "the runner is gone")
        assert machine.stop_unit(unit, 10).state == "vanished"
        assert not present(child)

    def it_changes_nothing_for_one_that_has_ended_or_never_was(self, machine: LocalMachine, unit: str) -> None:
        assert machine.stop_unit(unit) == ABSENT
        started = machine.start_unit(unit, ["sh", "-c", "exit 6"])
        ended(machine, unit)
        assert machine.stop_unit(unit) == Unit("finished", 6, started.pid, started.command)


class TestRefusals:
    def it_keeps_the_receipts_of_a_running_unit(self, machine: LocalMachine, unit: str, fence: Fence) -> None:
        machine.start_unit(unit, ["sleep", "1000"], fence=fence)
        with pytest.raises(PathRefused, match=r"The command of .*/job-1-clone still runs, so its receipts were kept\."):
            machine.remove_unit(unit, fence)
        assert machine.unit(unit).state == "running"

    def it_removes_no_directory_that_holds_more_than_receipts(self, machine: LocalMachine, unit: str) -> None:
        machine.start_unit(unit, ["true"])
        ended(machine, unit)
        machine.write_file(f"{unit}/precious", b"kept")
        with pytest.raises(VerbFailed, match="Directory not empty"):
            machine.remove_unit(unit)
        assert machine.read_file(f"{unit}/precious") == b"kept"

    def it_refuses_a_place_that_is_not_a_directory(self, machine: LocalMachine, base: str) -> None:
        machine.write_file(f"{base}/file", b"")
        os.symlink(base, f"{base}/link")
        for name in ("file", "link"):
            with pytest.raises(PathRefused, match="is not a directory"):
                machine.start_unit(f"{base}/{name}", ["true"])
            with pytest.raises(PathRefused, match="is not a directory"):
                machine.remove_unit(f"{base}/{name}")

    def it_refuses_what_is_not_a_command(self, machine: LocalMachine, unit: str) -> None:
        for argv in ([], ["-c"], ["a\0"]):
            with pytest.raises(ArgumentRefused):
                machine.start_unit(unit, argv)
        assert machine.unit(unit) == ABSENT


@pytest.mark.parametrize("missing", ["setsid -f", "setsid", "flock"])
def it_detaches_with_what_the_machine_has(machine: LocalMachine, base: str, missing: str, request: pytest.FixtureRequest) -> None:
    """An old or a small setsid knows no -f; macOS has none, but perl."""
    with directory_for_all() as directory:
        machine.search_path = programs(directory, without=(missing.partition(" ")[0],))
        if missing == "setsid -f":
            (directory / "setsid").write_text('#!/bin/sh\n[ "$1" != -f ] || exit 1\nexec /usr/bin/setsid "$@"\n')
            (directory / "setsid").chmod(0o755)
        if missing == "setsid" and not (directory / "perl").exists():
            pytest.skip("needs perl")
        unit, fence = f"{base}/unit", Fence(f"{base}/.token", 1)
        script = f"cut -d' ' -f5,6 /proc/self/stat; {until(f'{base}/go')}; exit 9"
        started = machine.start_unit(unit, ["sh", "-c", script], fence=fence)
        assert (started.state, machine.start_unit(unit, ["true"], fence=fence).already) == ("running", True)
        machine.write_file(f"{base}/go", b"")
        assert ended(machine, unit).returncode == 9
        assert printed(machine, unit).decode() == f"{started.pid} {started.pid}\n"


def it_says_what_is_missing_when_nothing_can_detach(machine: LocalMachine, base: str) -> None:
    with directory_for_all() as directory:
        machine.search_path = programs(directory, without=("setsid", "perl"))
        with pytest.raises(VerbFailed) as caught:
            machine.start_unit(f"{base}/unit", ["true"])
        assert not machine.exists(f"{base}/unit")
    assert caught.value.what.startswith("A detached command cannot be started: the server has neither setsid nor perl.")
    assert caught.value.hint == "Install util-linux on the server."


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it had ended already: as good as killed
