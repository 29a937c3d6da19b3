"""One server of the lab: made, booted, switched off, told to run something. Nothing about it is remembered here: it is looked at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.lab import root as root_files
from tests.lab.boot import ENVIRONMENT
from tests.lab.cgroups import Cgroups
from tests.lab.commands import LabError, run
from tests.lab.network import Network
from tests.lab.site import Site
from tests.waiting import wait_until

BOOT = Path(__file__).parent / "boot.py"
DATA_ROOT = "var/lib/docker"
#: `sh` joins the control groups that are named before `--`, then becomes the program after it.
JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
PING = b"GET /_ping HTTP/1.0\r\n\r\n"


class Machine:
    def __init__(self, site: Site, name: str, number: int, key: Path | None = None) -> None:
        self.site, self.name, self.number, self.key = site, name, number, key or site.directory / "id_ed25519"
        self.directory = site.servers / name
        self.root = self.directory / "root"
        self.address = site.address(number)
        self.network, self.cgroups = Network(site), Cgroups(site)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.address}>"

    # -- made once

    def make(self, public_key: str, template: Path | None = None) -> None:
        """Its directory, with its own host key, and with the engine's data (images) of `template`."""
        self.directory.mkdir(parents=True, mode=0o700)
        (self.directory / "disks.json").write_text("[]")
        (self.directory / "number").write_text(str(self.number))
        root_files.make(self.root, self.name, self.address, self.site.own_address)
        self.authorize(public_key)
        if template:
            copy_engine_data(template, self.root / DATA_ROOT)

    def authorize(self, public_key: str) -> None:
        """Let the holder of this key log in as root."""
        root_files.authorize(self.root, public_key)

    @property
    def host_key(self) -> str:
        """Kind and key, as in a known_hosts file."""
        return " ".join((self.root / root_files.HOST_KEY).with_suffix(".pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        return run(["ssh-keygen", "-l", "-f", str((self.root / root_files.HOST_KEY).with_suffix(".pub"))]).stdout.split()[1]

    def change_host_key(self) -> None:
        """As after a reinstallation, or as somebody who pretends to be this server."""
        root_files.make_host_key(self.root, self.name)
        if self.is_on():
            self.run(["sh", "-c", "kill -HUP $(cat /run/sshd.pid)"])

    # -- power

    def is_on(self) -> bool:
        return self.init() is not None

    def init(self) -> int | None:
        """The number that this machine knows the server's PID 1 by: the one of its processes that is 1 just one level below."""
        return next((process for process in self.cgroups.processes(self.name) if _numbers_of(process)[1:] == ["1"]), None)

    def boot(self, *, wait: bool = True) -> None:
        if self.is_on():
            return
        self.network.plug(self.name, self.number)
        namespaces = ["nsenter", f"--net=/run/netns/{self.site.namespace(self.name)}", "unshare", "--mount", "--propagation", "private"]
        others = ["--uts", "--ipc", "--pid", "--fork"]
        program = [sys.executable, "-I", "-S", str(BOOT), self.name, str(self.directory)]
        groups = self.cgroups.make(self.name)  # those of the namespace's root; its processes go into others from there
        inside = joining(self.cgroups.homes(self.name), ["setsid", "--fork", *namespaces, *others, *program])
        argv = joining(groups, ["unshare", "--cgroup", *inside])
        with (self.directory / "console.log").open("ab") as log:
            subprocess.run(argv, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds: float = 60) -> None:
        self.wait_ssh(seconds)
        self.wait_engine(seconds)

    def wait_ssh(self, seconds: float = 60) -> None:
        self._wait(lambda: _answers(self.address, 22), "SSH", seconds)

    def wait_engine(self, seconds: float = 60) -> None:
        self._wait(self.engine_answers, "the engine", seconds)
        self.docker("info")

    def power_off(self) -> None:
        """Sudden death. The cable first, so that the dying server says no farewell. Safe to repeat, and after a lab that was killed."""
        self.network.cable(self.name, connected=False)
        self._kill_all()
        if self.cgroups.frozen(self.name):
            self.cgroups.freeze(self.name, frozen=False)  # what is frozen does not die
        wait_until(self._kill_all, f"the end of {self.name}'s processes", 30)
        self.network.unplug(self.name)
        self.cgroups.remove(self.name)

    def shut_down(self) -> None:
        """In order: the engine stops its containers first."""
        process = self.init()
        if process is not None:
            os.kill(process, signal.SIGTERM)
            wait_until(lambda: not self.is_on(), f"{self.name} to shut down", 60)
        self.power_off()

    def reboot(self) -> None:
        self.power_off()
        self.boot()

    def engine_answers(self) -> bool:
        process = self.init()
        return process is not None and _engine_answers(f"/proc/{process}/root/run/docker.sock")

    # -- commands

    def run(
        self, argv: Sequence[str], *, check: bool = True, given: bytes | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` as the server's root, without SSH."""
        return run(self.inside(argv), check=check, given=given, seconds=seconds)

    def ssh(self, argv: Sequence[str], *, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Log in with the lab's own key, as any program of this machine would."""
        return run([*self.ssh_words(), *argv], check=check, seconds=seconds)

    def ssh_words(self) -> list[str]:
        options = ("BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=5", f"UserKnownHostsFile={self.site.directory}/known_hosts")
        return ["ssh", "-F", "none", "-i", str(self.key), *(word for option in options for word in ("-o", option)), f"root@{self.address}"]

    def docker(self, *words: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return self.run(["docker", *words], check=check, seconds=seconds)

    def load(self, image: Path) -> None:
        """Give the engine an image from a file, as `docker load` does."""
        self.run(["docker", "load", "--quiet"], given=image.read_bytes(), seconds=120)

    def add_user(self, name: str, public_key: str, *, groups: Sequence[str] = ("docker",)) -> None:
        """Somebody who is not root and logs in with this key."""
        self.run(["useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", "--groups", ",".join(groups), name])
        owned = ["-o", name, "-g", name]
        place = f"/home/{name}/.ssh"
        self.run(["install", "-d", "-m", "0700", *owned, place])
        self.run(["install", "-m", "0600", *owned, "/dev/stdin", f"{place}/authorized_keys"], given=f"{public_key}\n".encode())

    def empty(self) -> None:
        """No container, no volume, no network of anyone's is left in the engine; images stay."""
        for listing, removing in (
            (["ps", "-aq"], ["rm", "--force", "--volumes"]),
            (["volume", "ls", "-q"], ["volume", "rm", "--force"]),
            (["network", "ls", "-q", "--filter", "type=custom"], ["network", "rm"]),
        ):
            found = self.docker(*listing).stdout.split()
            if found:
                self.docker(*removing, *found)

    # -- how

    def _kill_all(self) -> bool:
        """Whether nobody was left to be killed."""
        processes = self.cgroups.processes(self.name)
        for process in processes:
            _kill(process)
        return not processes

    def inside(self, argv: Sequence[str]) -> list[str]:
        process = self.init()
        if process is None:
            raise LabError(f"{self.name} is off")
        if self.cgroups.frozen(self.name):
            raise LabError(f"{self.name} hangs: a command in it would hang, too")
        namespaces = ["nsenter", f"--target={process}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wd=/"]
        environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return joining(self.cgroups.homes(self.name), [*namespaces, "env", "--ignore-environment", *environment, *argv])

    def _wait(self, answer: Callable[[], bool], what: str, seconds: float) -> None:
        """`wait_until`, with what the server wrote on its console and in its logs."""
        try:
            wait_until(answer, f"{what} of {self.name}", seconds)
        except AssertionError as late:
            raise LabError(f"{late}\n{self.logs()}") from None

    def logs(self) -> str:
        paths = [self.directory / "console.log", *sorted((self.root / "var/log").glob("*d.log"))]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in paths if path.exists())


def copy_engine_data(template: Path, target: Path) -> None:
    """The files of images are never written to (a container has its own layer above), so servers share them where that is possible."""
    for part in template.iterdir():
        copied = part.name == "overlay2" and run(["cp", "--archive", "--link", str(part), str(target)], check=False).returncode == 0
        if not copied:
            run(["cp", "--archive", str(part), str(target)])


def joining(groups: Iterable[Path], argv: Sequence[str]) -> list[str]:
    """`argv`, run in these control groups."""
    return ["sh", "-c", JOIN, "join", *(str(group / "cgroup.procs") for group in groups), "--", *argv]


def _numbers_of(process: int) -> list[str]:
    """The numbers of a process in the namespaces it is in, this machine's first."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def _engine_answers(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(path)
            connection.sendall(PING)
            return b"200 OK" in connection.recv(200)
    except OSError:
        return False
