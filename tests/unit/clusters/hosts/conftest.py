"""Real processes on this machine. Each test gets a directory that the machine's user owns, and no database."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import Fence, Unit
from clusters.hosts.ssh import SSHMachine
from clusters.hosts.ssh_connection import close_connections
from tests.sshd import Sshd
from tests.waiting import wait_until

OTHER_USER = "nobody"
AnyMachine = LocalMachine | SSHMachine
AS_ROOT = os.geteuid() == 0


def printed(machine: LocalMachine, unit: str, offset: int = 0, limit: int = 1 << 16) -> bytes:
    """What a unit has printed so far."""
    return machine.follow_unit(unit, offset, 0, limit)[1]


def ended(machine: LocalMachine, directory: str) -> Unit:
    """The unit once it runs no more."""
    wait_until(lambda: machine.unit(directory).state != "running", f"{directory} has ended")
    return machine.unit(directory)


#: Everything that the wrapper's scripts use, and what the tests run through them. Nothing else need be on a server.
PROGRAMS = [
    *("cat", "chmod", "chown", "df", "du", "flock", "getconf", "grep", "head", "ldd", "ln", "mkdir", "mv", "perl", "ps", "rm", "rmdir"),
    *("setsid", "sh", "sleep", "stat", "sync", "tail", "true", "uname", "wc"),
    *("cut", "echo", "env", "false", "printf", "touch"),
]


def programs(directory: Path, *, without: tuple[str, ...] = (), shell: str = "") -> str:
    """A search path that holds the programs a server must have, but for some; `shell` stands in for sh."""
    for program in PROGRAMS:
        real = shell if shell and program == "sh" else shutil.which(program)
        if real and program not in without:
            (directory / program).symlink_to(real)
    return str(directory)


def until(path: str) -> str:
    """Shell words that wait for a file, half a minute at most: a test that fails leaves nothing behind that runs for ever."""
    return f"i=0; while ! [ -e {path} ] && [ $i -lt 3000 ]; do i=$((i + 1)); sleep 0.01; done"


@contextmanager
def directory_for_all() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter."""
    with directory_for_all() as directory:
        yield directory


@pytest.fixture(scope="session")
def path_without_flock() -> Iterator[str]:
    with directory_for_all() as directory:
        yield programs(directory, without=("flock",))


@pytest.fixture(scope="session")
def path_without_setsid() -> Iterator[str]:
    with directory_for_all() as directory:
        yield programs(directory, without=("setsid",))


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    server = Sshd()
    yield server
    close_connections()
    server.remove()


@pytest.fixture(params=["local", pytest.param("ssh", marks=pytest.mark.needs("sshd"))])
def machine(request: pytest.FixtureRequest) -> AnyMachine:
    """This machine as the panel uses it, at first hand and over SSH: as another user when we are root, else as ourselves."""
    run_as = OTHER_USER if AS_ROOT else ""
    if request.param == "ssh":
        return SSHMachine(request.getfixturevalue("sshd").place, run_as)
    return LocalMachine(run_as)


@pytest.fixture
def base(machine: LocalMachine, open_directory: Path) -> str:
    """A directory as a server's base directory is: 0700, of the machine's user."""
    path = str(open_directory / "base")
    machine.make_base_directory(path)
    return path


@pytest.fixture
def fence(base: str) -> Fence:
    return Fence(f"{base}/orders/.token", 7)


@pytest.fixture
def unit(machine: LocalMachine, base: str) -> Iterator[str]:
    """The directory of a unit, which is stopped afterwards."""
    directory = f"{base}/orders/.units/job-1-clone"
    yield directory
    machine.stop_unit(directory, 0)


def uid_of(machine: LocalMachine) -> int:
    return int(machine.owner().split(":")[0])


def present(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
