"""The scripts themselves: every refusal has its sentences, and they run on the shells that servers have."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from clusters.hosts import wrapper
from clusters.hosts.errors import HostError, LockBusy, PathRefused, TokenRefused, VerbFailed
from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import Fence
from clusters.hosts.refusals import refusal, unmarked
from tests.unit.clusters.hosts.conftest import directory_for_all, ended, printed, programs

SCRIPTS = sorted(Path(wrapper.__file__).parent.glob("*.sh"))
WORDS = sorted({word for script in SCRIPTS for word in re.findall(r"\bfail ([a-z-]+)", script.read_text())})
SHELLS = [shell for shell in map(shutil.which, ("dash", "bash", "busybox", "ksh", "mksh", "yash")) if shell]


@pytest.mark.parametrize("word", WORDS)
def it_has_a_sentence_and_a_cure_for_every_refusal(word: str) -> None:
    error = refusal(76, f"cp: disk on fire\npgreplica-wrapper: {word} /srv/a b\n")
    assert isinstance(error, HostError)
    assert "/srv/a b" in error.what or word == "no-setsid"
    assert error.hint
    assert isinstance(error, PathRefused | LockBusy) or "cp: disk on fire" in error.what


def it_knows_a_refusal_only_by_exit_code_and_mark() -> None:
    assert refusal(76, "anything\n") is None
    assert refusal(1, "pgreplica-wrapper: exists /a\n") is None
    assert refusal(75, "pgreplica-wrapper\n") is None
    busy, token = refusal(76, "pgreplica-wrapper: busy /a: process 7\n"), refusal(75, "pgreplica-wrapper: token 9\n", 8)
    assert isinstance(busy, LockBusy)
    assert busy.what == "Another command of this cluster is still running on the server, so nothing was done. It holds /a: process 7"
    assert isinstance(token, TokenRefused)
    assert (token.token, token.stored) == (8, "9")


def it_makes_what_a_hostile_machine_says_inert() -> None:
    error = refusal(76, "\x1b[2J\x00" * 1000 + "pgreplica-wrapper: exists /a\x1b]8;;x\x07\nb\u202e\n")
    assert isinstance(error, PathRefused)
    assert error.what == "/a ]8;;x b exists on the server already, so nothing was moved there."
    assert unmarked(2, "\x1b[2J no such thing\n").what == "The server's shell ended with exit code 2: [2J no such thing"
    assert len(unmarked(2, "x" * 10_000).what) < 400


def it_says_when_the_machine_has_no_shell_that_runs(tmp_path: Path) -> None:
    with pytest.raises(VerbFailed, match="The server's shell ended with exit code 127: sh: No such file or directory"):
        LocalMachine(search_path=str(tmp_path)).read_file("/etc/passwd")


@pytest.mark.parametrize("shell", SHELLS)
def it_runs_on_the_shells_that_servers_have(shell: str, tmp_path: Path) -> None:
    with directory_for_all() as directory:
        machine = LocalMachine(search_path=programs(directory, shell=shell))
        fence, place = Fence(f"{tmp_path}/c/.token", 3), f"{tmp_path}/a b'\n$x"
        assert machine.run(["printf", "%s", "a b"], timeout=10, fence=fence).stdout == "a b"
        with pytest.raises(TokenRefused):
            machine.run(["true"], timeout=10, fence=Fence(fence.path, 2))
        machine.make_directory(place, fence=fence)
        machine.write_file(f"{place}/f", b"\x00\xff\n", fence=fence)
        with pytest.raises(PathRefused):
            machine.move(place, f"{tmp_path}/c", fence)
        machine.move(f"{place}/f", f"{place}/-g", fence)
        assert (machine.list_directory(place), machine.read_file(f"{place}/-g"), machine.kind(f"{place}/f")) == (
            ["-g"],
            b"\x00\xff\n",
            "absent",
        )
        assert machine.facts()["cpus"]
        assert machine.free_bytes(place) > 0
        assert machine.directory_bytes(place) > 0
        unit = f"{tmp_path}/c/unit"
        assert machine.start_unit(unit, ["sh", "-c", "echo out; exit 4"], fence=fence).already is False
        assert (ended(machine, unit).returncode, printed(machine, unit)) == (4, b"out\n")
        machine.remove_unit(unit, fence)
        machine.start_unit(unit, ["sleep", "1000"], fence=fence)
        assert machine.stop_unit(unit, 10, fence).returncode == 143
