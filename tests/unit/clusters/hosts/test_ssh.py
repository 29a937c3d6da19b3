"""What is particular to a machine that is reached over SSH: whom it trusts, what it sends, and what it makes of a server that is gone."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import psutil
import pytest

from clusters.fingerprints import fingerprint
from clusters.hosts import ssh_transport
from clusters.hosts.errors import CommandTimeout, HostError, MachineUnreachable, OutcomeUnknown, UserRefused
from clusters.hosts.machine import Fence
from clusters.hosts.ssh import SSHMachine
from clusters.hosts.ssh_connection import Connection, Place, close_connections, connection_to, offered_host_key
from clusters.hosts.ssh_errors import HostKeyChanged, HostKeyNotPinned, LoginRefused, ProtocolRefused
from clusters.hosts.ssh_stream import for_any_shell
from clusters.hosts.ssh_transport import ASK_SECONDS, DEAD_SECONDS, SILENT_SECONDS
from clusters.secrets import Secret
from tests.rounds import rounds
from tests.sshd import Sshd
from tests.unit.clusters.hosts.conftest import AS_ROOT, OTHER_USER, directory_for_all, ended, present, programs, until
from tests.unit.clusters.hosts.test_run import ODD_WORDS
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("sshd")
RUN_AS = OTHER_USER if AS_ROOT else ""


@pytest.fixture
def over(sshd: Sshd) -> SSHMachine:
    return SSHMachine(sshd.place, RUN_AS)


@contextmanager
def server(more: str = "", key: str = "ed25519") -> Iterator[Sshd]:
    """A server of the test's own, to be maltreated."""
    with contextlib.ExitStack() as stack:
        one = Sshd(more, key)
        stack.callback(one.remove)
        stack.callback(close_connections)
        yield one


class InThread(threading.Thread):
    """Calls something in a thread; `outcome` is what it gave or raised, `seconds` how long it took."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call, self.outcome, self.seconds = call, None, 0.0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        try:
            self.outcome = self._call()
        except Exception as error:
            self.outcome = error
        self.seconds = time.monotonic() - began

    def ended(self, seconds: float = 30) -> Any:
        self.join(seconds)
        assert not self.is_alive()
        return self.outcome


class TestTrust:
    def it_sends_nothing_to_a_server_with_another_host_key(self) -> None:
        with server("LogLevel DEBUG1") as sshd:
            pinned = sshd.host_key
            SSHMachine(sshd.place).run(["true"], timeout=10)
            assert "userauth-request for user" in sshd.said()  # as it is when somebody logs in
            close_connections()
            place = sshd.place
            sshd.make_key("host_key", "ed25519")
            sshd.restart()
            for _turn in range(20):
                with pytest.raises(HostKeyChanged) as caught:
                    SSHMachine(place, RUN_AS).run(["true"], timeout=10)
            wait_until(
                lambda: len(re.findall(r"Connection (?:closed|reset) by 127.0.0.1 port \d+ \[preauth\]", sshd.said())) == 20, "they ended"
            )
            assert (caught.value.pinned, caught.value.offered) == (pinned, sshd.host_key)
            assert fingerprint(pinned) in caught.value.what
            assert fingerprint(sshd.host_key) in caught.value.what
            assert not re.search("userauth|publickey|[Aa]uthent|user root", sshd.said().partition("Server listening")[2])

    def it_takes_a_key_of_another_type_for_another_key(self) -> None:
        with server() as sshd:
            place = sshd.place
            sshd.make_key("host_key", "ecdsa")
            sshd.restart()
            with pytest.raises(HostKeyChanged) as caught:
                Connection(place)
            assert caught.value.offered == sshd.host_key

    def it_shows_the_fingerprint_that_ssh_keygen_shows(self, sshd: Sshd) -> None:
        assert offered_host_key(replace(sshd.place, host_key="")) == sshd.host_key
        path = str(sshd.directory / "host_key.pub")
        shown = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
        assert shown.split()[1] == fingerprint(sshd.host_key)

    @pytest.mark.parametrize("key", ["ecdsa", "rsa"])
    def it_pins_keys_of_every_type(self, key: str) -> None:
        with server(key=key) as sshd:
            assert SSHMachine(sshd.place).run(["echo", "here"], timeout=10).stdout == "here\n"

    @pytest.mark.parametrize("pinned", ["", "ssh-dss AAAA", "nonsense"])
    def it_does_not_log_in_while_no_key_is_pinned(self, sshd: Sshd, pinned: str) -> None:
        with pytest.raises(HostKeyNotPinned):
            Connection(replace(sshd.place, host_key=pinned))

    def it_says_so_when_the_server_does_not_accept_the_login(self, sshd: Sshd) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(sshd.directory / "stranger")], check=True)
        stranger = Secret((sshd.directory / "stranger").read_text())
        with pytest.raises(LoginRefused, match=r"alpha did not let “.*” in with the panel's key"):
            Connection(replace(sshd.place, private_key=stranger))

    @pytest.mark.parametrize(
        "weak", ["Ciphers aes128-cbc,3des-cbc", "MACs hmac-sha1\nCiphers aes128-ctr", "KexAlgorithms diffie-hellman-group14-sha1"]
    )
    def it_accepts_no_weak_algorithm(self, weak: str) -> None:
        with server(weak) as sshd, pytest.raises(ProtocolRefused, match="knows no algorithm that the panel accepts"):
            Connection(sshd.place)

    def it_requires_strict_key_exchange(self, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        class Anybody(paramiko.ServerInterface):
            def get_allowed_auths(self, username: str) -> str:
                asked.append(username)
                return "publickey"

        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                transport = paramiko.Transport(listener.accept()[0], strict_kex=False)
                transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(sshd.directory / "host_key")))
                with suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=Anybody())

            serving = InThread(serve)
            with pytest.raises(ProtocolRefused, match="does not know strict key exchange"):
                Connection(replace(sshd.place, port=listener.getsockname()[1]))
            serving.ended()
        assert asked == []

    def it_uses_no_agent_no_key_file_and_no_configuration_of_the_panels_user(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would log in, were it to find the key that lies there."""
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh/id_ed25519").write_text(sshd.private_key.reveal())
        monkeypatch.setenv("HOME", str(tmp_path))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(sshd.directory / "other")], check=True)
        other = Secret((sshd.directory / "other").read_text())
        with pytest.raises(LoginRefused):
            Connection(replace(sshd.place, private_key=other))


class TestUser:
    def it_says_that_a_user_is_not_there(self, sshd: Sshd) -> None:
        with pytest.raises(UserRefused, match="There is no system user “no-such-user” on alpha"):
            SSHMachine(sshd.place, "no-such-user").run(["true"], timeout=10)

    @pytest.mark.needs("root")
    def it_becomes_a_user_by_number(self, sshd: Sshd) -> None:
        machine = SSHMachine(sshd.place, "4711")
        assert machine.run(["sh", "-c", "id -u; id -g; id -G; echo $HOME"], timeout=10).stdout.split() == ["4711", "4711", "4711", "/"]
        assert machine.owner() == "4711:4711"

    @pytest.mark.needs("root")
    def it_has_the_groups_and_the_home_of_the_user_and_cannot_go_back(self, sshd: Sshd) -> None:
        user = pwd.getpwnam(OTHER_USER)
        script = "id -u; id -g; id -G; echo $HOME; grep -E '^(Uid|Gid)' /proc/self/status | cut -f 2- | tr '\\t' '\\n' | sort -u"
        said = SSHMachine(sshd.place, OTHER_USER).run(["sh", "-c", script], timeout=10).stdout.splitlines()
        groups = " ".join(map(str, os.getgrouplist(OTHER_USER, user.pw_gid)))
        assert said == [str(user.pw_uid), str(user.pw_gid), groups, user.pw_dir, str(user.pw_uid)]

    @pytest.mark.needs("root", "sudo")
    def it_becomes_the_user_by_sudo_where_there_is_no_setpriv(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        with without_setpriv() as sshd:
            machine = SSHMachine(sshd.place, OTHER_USER)
            assert machine.identity().way == "sudo"
            assert machine.run(["sh", "-c", "id -un; umask; pwd; cat; exit 7"], timeout=10, stdin=b"x" * 100000).returncode == 7
            finished = machine.run(["env"], env={"PGPASSFILE": "/a b"}, timeout=10)
            assert {line.partition("=")[0] for line in finished.stdout.splitlines()} == {"PATH", "HOME", "LC_ALL", "LANG", "PGPASSFILE"}
            pids: list[str] = []
            with pytest.raises(CommandTimeout):
                machine.run(["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; echo $$; wait"], timeout=1, on_line=pids.append)
            assert [present(int(pid)) for pid in pids] == [False, False]

    @pytest.mark.needs("root")
    def it_says_how_to_allow_it_where_neither_way_is_open(self) -> None:
        with without_setpriv(sudo=False) as sshd, pytest.raises(UserRefused) as caught:
            SSHMachine(sshd.place, OTHER_USER).run(["true"], timeout=10)
        assert "who may not act as the system user “nobody”" in caught.value.what
        assert "root ALL=(nobody) NOPASSWD: ALL" in caught.value.hint


@contextmanager
def without_setpriv(*, sudo: bool = True) -> Iterator[Sshd]:
    with directory_for_all() as directory:
        path = programs(directory)
        (directory / "id").symlink_to(shutil.which("id") or "")
        if sudo:
            (directory / "sudo").symlink_to(shutil.which("sudo") or "")
        with server(f"SetEnv PATH={path} SHLVL=5") as sshd:
            yield sshd


class TestCommand:
    @pytest.mark.parametrize("shell", ["sh", "bash", "dash", "busybox"])
    def it_is_one_line_that_every_shell_takes(self, shell: str) -> None:
        program = shutil.which(shell)
        if program is None:
            pytest.skip(f"needs {shell}")
        line = for_any_shell(["printf", "[%s]", *ODD_WORDS, "\udcff"])
        assert "\n" not in line
        assert "!" not in line
        command = [program, *(["sh"] if shell == "busybox" else []), "-c", line]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        assert answer == "".join(f"[{word}]" for word in [*ODD_WORDS, "\udcff"]).encode("utf-8", "surrogateescape")

    def it_is_not_troubled_by_a_login_shell_that_talks(self, open_directory: Path) -> None:
        (open_directory / "rc").write_text("echo Welcome; echo 'pgreplica 0 1 2 3' ; printf 'no end of line'; echo Ouch >&2\n")
        with server(f"SetEnv BASH_ENV={open_directory}/rc SHLVL=5") as sshd:
            machine = SSHMachine(sshd.place, RUN_AS)
            finished = machine.run(["sh", "-c", "echo out; echo err >&2"], timeout=10)
            if not pwd.getpwuid(os.geteuid()).pw_shell.endswith("bash"):
                pytest.skip("needs bash as the login shell")
            assert (finished.stdout, finished.stderr) == ("out\n", "err\n")
            assert machine.facts()["system"]

    def it_shows_no_value_of_the_environment_and_no_input_to_ps(self, over: SSHMachine) -> None:
        canary, seen, stop = "canary-4711-secret", [], threading.Event()

        def look() -> None:
            while not stop.is_set():
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    with suppress(OSError):
                        text = path.read_bytes()
                        if canary.encode() in text:
                            seen.append(text)

        looking = InThread(look)
        for _turn in range(rounds(10, 100)):
            script = 'read -r x; echo "${#x} ${#PGPASSWORD}"; sleep 0.05'
            finished = over.run(["sh", "-c", script], env={"PGPASSWORD": canary}, stdin=canary.encode() + b"\n", timeout=10)
            assert finished.stdout == "18 18\n"
        stop.set()
        looking.ended()
        assert seen == []

    def it_ends_by_the_signal_that_ended_it(self, over: SSHMachine) -> None:
        for name, number in (("KILL", 9), ("TERM", 15), ("SEGV", 11)):
            assert over.run(["sh", "-c", f"ulimit -c 0; kill -{name} $$"], timeout=10).returncode == 128 + number

    def it_gives_all_of_a_large_answer_to_many_threads_at_once(self, over: SSHMachine) -> None:
        data = os.urandom(300_000)
        asked = [InThread(lambda: over.run(["sha256sum"], stdin=data, timeout=30).stdout) for _turn in range(12)]
        assert len({one.ended() for one in asked}) == 1
        flooded = [InThread(lambda: len(over.run(["sh", "-c", "yes | head -c 3000000"], timeout=30).stdout)) for _turn in range(8)]
        assert all(1_000_000 < one.ended() < 1_100_000 for one in flooded)

    def it_makes_do_with_a_server_that_allows_few_sessions(self) -> None:
        with server("MaxSessions 2") as sshd:
            machine = SSHMachine(sshd.place)
            asked = [InThread(lambda: machine.run(["echo", "here"], timeout=30).stdout) for _turn in range(8)]
            assert {one.ended() for one in asked} == {"here\n"}


class TestConnection:
    def it_is_one_for_all_threads(self) -> None:
        with server() as sshd:
            machine = SSHMachine(sshd.place, RUN_AS)
            asked = [InThread(lambda: machine.run(["true"], timeout=10).ok) for _turn in range(8)]
            assert [one.ended() for one in asked] == [True] * 8
            assert sshd.said().count("Accepted publickey") == 1

    def it_is_opened_again_after_it_broke(self) -> None:
        with server() as sshd:
            machine = SSHMachine(sshd.place, RUN_AS)
            for _turn in range(3):
                assert machine.run(["echo", "here"], timeout=10).stdout == "here\n"
                sshd.cut()
            assert sshd.said().count("Accepted publickey") == 3

    def it_is_not_shared_with_a_process_that_was_forked(self, over: SSHMachine) -> None:
        over.run(["true"], timeout=10)
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if over.run(["echo", "here"], timeout=20).stdout == "here\n" else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert over.run(["echo", "here"], timeout=10).stdout == "here\n"

    @pytest.mark.parametrize("port", [1, 0])
    def it_says_that_a_server_does_not_answer(self, sshd: Sshd, port: int) -> None:
        """Nobody listens; somebody listens who says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.MonkeyPatch.context() as patch:
            patch.setattr(ssh_transport, "OPEN_SECONDS", 0.5)
            place = replace(sshd.place, port=port or deaf.getsockname()[1])
            with pytest.raises(MachineUnreachable, match=r"alpha does not answer over SSH at 127\.0\.0\.1 port \d+: "):
                SSHMachine(place).run(["true"], timeout=5)

    def it_reaches_a_server_through_another(self) -> None:
        with server() as gate, server() as inner:
            place = replace(inner.place, name="beta", jump=gate.place)
            machine = SSHMachine(place, RUN_AS)
            assert machine.run(["echo", "here"], timeout=10).stdout == "here\n"
            assert isinstance(connection_to(place).transport.sock, paramiko.Channel)
            gate.cut()
            assert machine.run(["echo", "again"], timeout=10).stdout == "again\n"
            gate.stop()
            inner.cut()
            with pytest.raises(MachineUnreachable, match="alpha does not answer"):
                machine.run(["true"], timeout=10)

    def it_trusts_no_jump_server_with_another_host_key(self, sshd: Sshd) -> None:
        with server() as gate:
            place = replace(sshd.place, name="beta", jump=replace(gate.place, name="gate", host_key=sshd.host_key))
            with pytest.raises(HostKeyChanged, match="The SSH server of gate shows another host key"):
                offered_host_key(place)


class Proxy:
    """Between the panel and a server: it carries bytes until it is told to swallow them."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self._target, self.swallows = self._listener.getsockname()[1], port, False
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                if not self.swallows:
                    sink.sendall(chunk)

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            one.close()


class TestLoss:
    @pytest.mark.parametrize("how", ["hangs", "swallows"])
    def it_is_noticed_within_ten_seconds_that_a_server_vanished(self, how: str, open_directory: Path) -> None:
        with server() as sshd:
            proxy = Proxy(sshd.port)
            machine = SSHMachine(replace(sshd.place, port=proxy.port), RUN_AS)
            script, begun = f"echo begun; {until(f'{open_directory}/go')}", threading.Event()
            asked = InThread(lambda: machine.run(["sh", "-c", script], timeout=60, on_line=lambda _line: begun.set()))
            assert begun.wait(60)
            began = time.monotonic()
            if how == "hangs":
                sshd.hang()
            else:
                proxy.swallows = True
            assert isinstance(asked.ended(), OutcomeUnknown)
            # 8.1 s on a quiet machine; a busy one may hold the threads up, which is no matter of how it is noticed.
            assert time.monotonic() - began < DEAD_SECONDS
            assert SILENT_SECONDS + ASK_SECONDS < 10
            (open_directory / "go").touch()
            proxy.close()

    def it_takes_a_server_that_is_only_slow_for_no_lost_one(self, over: SSHMachine) -> None:
        assert over.run(["sleep", "9"], timeout=20).ok

    def it_does_not_know_what_became_of_a_command_whose_connection_broke(self, open_directory: Path) -> None:
        with server() as sshd:
            machine = SSHMachine(sshd.place, "")
            script = f"echo begun; {until(f'{open_directory}/go')}; touch {open_directory}/done"
            begun = threading.Event()
            asked = InThread(lambda: machine.run(["sh", "-c", script], timeout=60, on_line=lambda _line: begun.set()))
            assert begun.wait(20)
            sshd.cut()
            assert isinstance(asked.ended(), OutcomeUnknown)
            (open_directory / "go").touch()
            wait_until((open_directory / "done").exists, "it went on", 20)

    def it_finds_a_unit_again_whose_connection_broke(self, open_directory: Path) -> None:
        with server() as sshd:
            machine = SSHMachine(sshd.place, "")
            fence, unit = Fence(f"{open_directory}/.token", 1), f"{open_directory}/units/copy"
            first = machine.start_unit(unit, ["sh", "-c", f"echo one; {until(f'{open_directory}/go')}; echo two"], fence=fence)
            wait_until(lambda: not sshd.commands(), "the start has ended", 20)
            following = InThread(lambda: machine.follow_unit(unit, 0, 30))
            wait_until(sshd.commands, "it is followed", 20)
            sshd.cut()
            assert isinstance(following.ended(), OutcomeUnknown)
            found = machine.start_unit(unit, ["true"], fence=fence)
            assert (found.state, found.already, found.pid) == ("running", True, first.pid)
            (open_directory / "go").touch()
            assert ended(machine, unit).returncode == 0
            assert machine.follow_unit(unit, 0, 0)[1] == b"one\ntwo\n"


class TestForward:
    def it_leads_to_a_port_of_the_server(self, over: SSHMachine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as service:

            def echo() -> None:
                for _client in range(2):
                    with service.accept()[0] as client:
                        while chunk := client.recv(65536):
                            client.sendall(chunk)

            echoing = InThread(echo)
            with over.forward("127.0.0.1", service.getsockname()[1]) as (host, port):
                for _client in range(2):
                    with socket.create_connection((host, port), timeout=10) as client:
                        data = os.urandom(200_000)
                        sending = InThread(lambda client=client, data=data: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
                        came = b"".join(iter(lambda client=client: client.recv(65536), b""))
                        sending.ended()
                        assert came == data
            echoing.ended()

    def it_refuses_where_the_server_would(self, over: SSHMachine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as service:
            port = service.getsockname()[1]
        with over.forward("127.0.0.1", port) as place, pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, timeout=5)

    def it_tells_whether_the_server_reaches_a_port(self, over: SSHMachine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as service:
            port = service.getsockname()[1]
            assert over.reaches("127.0.0.1", port, 5)
        assert not over.reaches("127.0.0.1", port, 5)

    def it_tells_a_connection_that_broke_on_the_way_from_a_port_that_closes(self) -> None:
        """The first is asked again, the second is an answer."""
        with server() as sshd, socket.create_server(("127.0.0.1", 0)) as service:
            machine, port = SSHMachine(sshd.place), service.getsockname()[1]

            def closed() -> None:
                service.accept()[0].close()

            def cut() -> None:
                with service.accept()[0] as client:
                    sshd.cut()
                    assert client.recv(1) == b""

            def asked(then: Callable[[], None]) -> None:
                with machine.forward("127.0.0.1", port) as place:
                    happening = InThread(then)
                    with socket.create_connection(place, timeout=10) as client:
                        assert client.recv(1) == b""
                    happening.ended()
                    raise HostError("node1 does not answer.", "Look at it.")

            with pytest.raises(HostError, match=r"^node1 does not answer\."):
                asked(closed)
            with pytest.raises(MachineUnreachable, match=r"was lost on the way to its port .*: node1 does not answer\."):
                asked(cut)

    def it_leaves_no_thread_and_no_descriptor_behind(self, over: SSHMachine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as service:

            def turn() -> None:
                with over.forward("127.0.0.1", service.getsockname()[1]) as place, socket.create_connection(place, timeout=5) as client:
                    client.sendall(b"x")
                    service.accept()[0].close()

            turn()
            before, descriptors = threading.active_count(), psutil.Process().num_fds()
            for _turn in range(20):
                turn()
            wait_until(lambda: threading.active_count() <= before, "the threads have ended", 10)
            wait_until(lambda: psutil.Process().num_fds() <= descriptors, "the descriptors are closed", 10)

    def it_says_so_when_the_server_cannot_be_reached(self) -> None:
        with server() as sshd:
            machine = SSHMachine(sshd.place)
            machine.run(["true"], timeout=10)
            sshd.stop()
            with pytest.raises(MachineUnreachable), machine.forward("127.0.0.1", 5432):
                pass


class TestPorts:
    def it_is_free_when_nobody_listens(self, over: SSHMachine) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            for address in ("127.0.0.1", "0.0.0.0", "localhost"):
                assert not over.port_free(address, port)
            assert over.port_free("127.0.0.2", port)
        for address in ("127.0.0.1", "0.0.0.0", "localhost"):
            assert over.port_free(address, port)

    def it_is_taken_when_somebody_listens_on_every_address(self, over: SSHMachine) -> None:
        with socket.create_server(("0.0.0.0", 0)) as everywhere:
            assert not over.port_free("127.0.0.1", everywhere.getsockname()[1])

    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid", "127.0.0.1;id", "é", "-x"])
    def it_says_so_when_the_address_is_not_the_servers(self, over: SSHMachine, address: str) -> None:
        with pytest.raises(HostError, match=r"A server could not listen on .* port 54321: "):
            over.port_free(address, 54321)


def it_prints_no_key_in_any_text_about_a_place(sshd: Sshd) -> None:
    assert "PRIVATE" not in repr(sshd.place) + repr(SSHMachine(sshd.place))
    assert isinstance(sshd.place, Place)


class Odd(paramiko.ServerInterface):
    """A server that lets everybody in, and then answers no request for a command, or answers with anything."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self._answer is None:
            return False
        threading.Thread(target=self._talk, args=(channel, self._answer), daemon=True).start()
        return True

    def _talk(self, channel: paramiko.Channel, answer: bytes) -> None:
        with suppress(OSError):
            for _piece in range(200):
                channel.sendall(answer)
                channel.sendall_stderr(answer)
            channel.send_exit_status(0)
            channel.close()


class TestHostileServer:
    @pytest.mark.parametrize("answer", [None, b"", b"\x00\xff\x1b]0;x\x07" * 5000, b"pgreplica 0 1 2 3\n", b"x" * 50_000])
    def it_is_met_with_an_error_and_within_bounds(self, sshd: Sshd, answer: bytes | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(str(sshd.directory / "host_key")))
                with suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=Odd(answer))

            serving = InThread(serve)
            place = replace(sshd.place, name="odd", port=listener.getsockname()[1])
            with pytest.raises(HostError) as caught:
                SSHMachine(place).run(["true"], timeout=5)
            assert len(caught.value.what) < 1000
            assert "\x1b" not in caught.value.what
            serving.ended()
            close_connections("odd")
