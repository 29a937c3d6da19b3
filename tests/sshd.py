"""A real OpenSSH server on loopback, with a host key, a configuration and a log of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil

from clusters.hosts.ssh_connection import Place
from clusters.secrets import Secret
from tests.needs import sshd
from tests.ports import free_port
from tests.waiting import wait_until

# bash reads ~/.bashrc of whoever logs in where SHLVL says that it is the first shell; what lies there is not ours to wait for.
CONFIG = """{more}
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100:30:200
LogLevel VERBOSE
SetEnv SHLVL=5
"""


class Sshd:
    """Started at once; `place` is how the panel reaches it."""

    def __init__(self, more: str = "", key: str = "ed25519") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pgr-sshd-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.port, self.log = free_port(), self.directory / "log"
        self.make_key("host_key", key)
        self.make_key("login", "ed25519")
        shutil.copy(self.directory / "login.pub", self.directory / "authorized_keys")
        (self.directory / "sshd_config").write_text(CONFIG.format(port=self.port, directory=self.directory, more=more))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        server = sshd()
        assert server
        command = [server, "-D", "-e", "-f", str(self.directory / "sshd_config")]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: f"Server listening on 127.0.0.1 port {self.port}" in self.said(), "sshd listens", 20)
        return process

    def make_key(self, name: str, kind: str) -> None:
        path = self.directory / name
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)], check=True, stdin=subprocess.DEVNULL)

    def restart(self) -> None:
        self.stop()
        self.log.write_text("")
        self.process = self._started()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def host_key(self) -> str:
        return " ".join((self.directory / "host_key.pub").read_text().split()[:2])

    @property
    def private_key(self) -> Secret:
        return Secret((self.directory / "login").read_text())

    @property
    def place(self) -> Place:
        user = pwd.getpwuid(os.geteuid()).pw_name
        return Place("alpha", "127.0.0.1", self.port, user, self.host_key, self.private_key)

    def sessions(self) -> list[psutil.Process]:
        """The processes that serve connections now."""
        return self._children(serving=True)

    def commands(self) -> list[psutil.Process]:
        """What runs for those connections now."""
        return self._children(serving=False)

    def _children(self, *, serving: bool) -> list[psutil.Process]:
        found = []
        for one in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
                if (one.name() == "sshd") is serving:
                    found.append(one)
        return found

    def hang(self) -> None:
        """The server's machine goes on, its SSH says nothing any more."""
        for one in self.sessions():
            one.send_signal(signal.SIGSTOP)

    def cut(self) -> None:
        """Every connection breaks; what was started over it goes on."""
        for one in self.sessions():
            one.kill()

    def stop(self) -> None:
        """The listener and its connections; commands that were started go on."""
        sessions = self.sessions()
        self.process.terminate()
        self.process.wait(20)
        for one in sessions:
            if one.is_running():
                one.kill()

    def remove(self) -> None:
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.directory)
