"""A server with all that can go wrong with it. Each fault is a method, its end another, and a context manager does both."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator

from tests.lab.commands import LabError, run
from tests.lab.machine import Machine

FILLER = ".filler"
FILL = f'cd "$0" && fallocate -l "$(df --output=avail -B1 . | tail -1)" {FILLER}; cat /dev/zero > {FILLER}.rest; sync; :'
MARK = "pgreplica-lab"


def asked_for(port: int) -> list[str]:
    """iptables' words for the packets of connections to this port, whatever container it was then led to."""
    connection = ["-m", "conntrack", "--ctorigdstport", str(port), "--ctdir", "ORIGINAL"]
    return ["-p", "tcp", *connection, "-m", "comment", "--comment", MARK]


class LabServer(Machine):
    @contextlib.contextmanager
    def powered_off(self) -> Iterator[None]:
        self.power_off()
        try:
            yield
        finally:
            self.boot()

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Its cable is out: it runs, and nobody reaches it."""
        self.network.cable(self.name, connected=False)
        try:
            yield
        finally:
            self.network.cable(self.name, connected=True)

    def hang(self) -> None:
        """It accepts connections, and nothing answers on them."""
        self.cgroups.freeze(self.name, frozen=True)

    def thaw(self) -> None:
        self.cgroups.freeze(self.name, frozen=False)

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        self.hang()
        try:
            yield
        finally:
            self.thaw()

    def kill_engine(self) -> None:
        """SIGKILL for the engine alone. Its containers go on."""
        self.run(["sh", "-c", "kill -KILL $(cat /run/docker.pid)"])
        self._wait(lambda: not self.engine_answers(), "the end of the engine", 10)

    def start_engine(self) -> None:
        if self.engine_answers():
            return
        self.run(["sh", "-c", "setsid /bin/sh /etc/lab/engine.sh < /dev/null > /dev/null 2>&1 &"])
        self.wait_engine()

    @contextlib.contextmanager
    def engine_dead(self) -> Iterator[None]:
        self.kill_engine()
        try:
            yield
        finally:
            self.start_engine()

    def slow_down(self, rate: str = "20mbit") -> None:
        self.network.slow(self.name, rate)

    @contextlib.contextmanager
    def slow(self, rate: str = "20mbit") -> Iterator[None]:
        """At most `rate` (tc's words) over its cable, in each direction."""
        self.slow_down(rate)
        try:
            yield
        finally:
            self.network.fast(self.name)

    def refuse(self, port: int) -> None:
        """Every packet to this port, one of an open connection too, is answered with a reset: for sshd as for a container behind it."""
        for chain in ("INPUT", "DOCKER-USER"):
            self._filter("-I", chain, *asked_for(port), "-j", "REJECT", "--reject-with", "tcp-reset")

    def accept_all(self) -> None:
        """Takes back every `refuse`."""
        for chain in ("INPUT", "DOCKER-USER"):
            for rule in [line.split()[2:] for line in self._filter("-S", chain).stdout.splitlines() if MARK in line]:
                self._filter("-D", chain, *rule)

    @contextlib.contextmanager
    def refusing(self, port: int) -> Iterator[None]:
        self.refuse(port)
        try:
            yield
        finally:
            self.accept_all()

    def give_disk(self, path: str, megabytes: int) -> None:
        """A disk of its own at `path` from now on, with what lies there now. The server is shut down and booted for it."""
        self.shut_down()
        disks = self._disks()
        image = f"disk{len(disks)}.img"
        with (self.directory / image).open("wb") as file:
            file.truncate(megabytes * 2**20)
        run(["mkfs.ext4", "-q", "-F", "-m", "0", str(self.directory / image)])
        self._write_disks([*disks, {"image": image, "path": path}])
        self.boot()

    def take_disk(self, path: str) -> None:
        """Back to what lay at `path` before; what was written to the disk is gone."""
        self.power_off()
        for disk in (disk for disk in self._disks() if disk["path"] == path):
            (self.directory / disk["image"]).unlink()
        self._write_disks([disk for disk in self._disks() if disk["path"] != path])
        self.boot()

    def fill(self, path: str) -> None:
        """Leave not one byte free on the disk that `give_disk` has put there."""
        if path not in [disk["path"] for disk in self._disks()]:
            raise LabError(f"{path} of {self.name} is not on a disk of its own: filling it would fill this machine's. First: give_disk.")
        self.run(["sh", "-c", FILL, path])

    def free(self, path: str) -> None:
        self.run(["sh", "-c", f'rm -f "$0"/{FILLER} "$0"/{FILLER}.rest', path])

    @contextlib.contextmanager
    def full(self, path: str) -> Iterator[None]:
        self.fill(path)
        try:
            yield
        finally:
            self.free(path)

    def heal(self) -> None:
        """Take back every fault, whoever made it and however far."""
        if not self.is_on():
            self.power_off()  # what a server that died by itself leaves
            self.boot()
            return
        self.thaw()
        self.network.cable(self.name, connected=True)
        self.network.fast(self.name)
        self.start_engine()
        self.accept_all()
        for disk in self._disks():
            self.free(disk["path"])

    def _filter(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(["iptables", "--wait", *words])

    def _disks(self) -> list[dict[str, str]]:
        return json.loads((self.directory / "disks.json").read_text())  # type: ignore[no-any-return]

    def _write_disks(self, disks: list[dict[str, str]]) -> None:
        (self.directory / "disks.json").write_text(json.dumps(disks))
