from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import HostError, UserRefused
from tests.unit.clusters.hosts.conftest import OTHER_USER

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class TestUser:
    def it_is_the_panels_own_when_none_is_given(self) -> None:
        finished = LocalMachine().run(["id", "-u"], timeout=10)
        assert finished.stdout == f"{os.geteuid()}\n"

    def it_needs_no_right_to_be_who_it_is(self) -> None:
        name = pwd.getpwuid(os.geteuid()).pw_name
        assert LocalMachine(name).run(["id", "-un"], timeout=10).stdout == f"{name}\n"

    @pytest.mark.needs("root")
    def it_has_the_groups_and_the_home_of_the_user_and_no_more(self) -> None:
        user = pwd.getpwnam(OTHER_USER)
        finished = LocalMachine(OTHER_USER).run(["sh", "-c", "id -u; id -g; id -G; echo $HOME"], timeout=10)
        groups = " ".join(map(str, os.getgrouplist(OTHER_USER, user.pw_gid)))
        assert finished.stdout.splitlines() == [str(user.pw_uid), str(user.pw_gid), groups, user.pw_dir]

    @pytest.mark.needs("root")
    def it_cannot_gain_the_panels_rights_back(self) -> None:
        finished = LocalMachine(OTHER_USER).run(["cat", "/proc/self/status"], timeout=10)
        ids = {line.split("\t")[0]: set(line.split("\t")[1:]) for line in finished.stdout.splitlines() if line.startswith(("Uid", "Gid"))}
        user = pwd.getpwnam(OTHER_USER)
        assert ids == {"Uid:": {str(user.pw_uid)}, "Gid:": {str(user.pw_gid)}}

    @pytest.mark.parametrize("name", ["no-such-user", "a\0b", "-x", "\x1b[2J"])
    def it_says_that_a_user_is_not_there(self, name: str) -> None:
        machine = LocalMachine(name)
        for verb in (
            lambda: machine.run(["true"], timeout=10),
            lambda: machine.read_file("/a"),
            lambda: machine.make_base_directory("/a/b"),
        ):
            with pytest.raises(UserRefused, match=r"There is no system user “[^\x00-\x1f]*” on this machine"):
                verb()

    @pytest.mark.skipif(os.geteuid() == 0, reason="needs a normal user")
    def it_says_that_a_normal_user_may_not_change_user(self) -> None:
        with pytest.raises(UserRefused) as caught:
            LocalMachine("root").run(["true"], timeout=10)
        own = pwd.getpwuid(os.geteuid()).pw_name
        assert caught.value.what == f"The panel runs as “{own}” and may not act as the system user “root”."
        assert caught.value.hint == "Start the panel as root or as “root”, or leave the system user of the server empty."

    @pytest.mark.needs("root")
    def it_says_so_when_root_has_lost_the_right_to_change_user(self) -> None:
        """As in a container without CAP_SETUID."""
        script = (
            "from clusters.hosts.local import LocalMachine\n"
            "try: print(LocalMachine('nobody').run(['true'], timeout=10))\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        drop = ["setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-setuid,-setgid"]
        if subprocess.run([*drop, "true"], check=False, capture_output=True).returncode:
            pytest.skip("needs setpriv, to take the right away")
        answer = subprocess.run([*drop, sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert answer.stdout == "UserRefused The panel runs as “root” and may not act as the system user “nobody”.\n"


class TestPorts:
    def it_is_free_when_nobody_listens(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        machine = LocalMachine()
        assert not machine.port_free("127.0.0.1", port)
        assert not machine.port_free("0.0.0.0", port)
        assert not machine.port_free("localhost", port)
        listener.close()
        assert machine.port_free("127.0.0.1", port)
        assert machine.port_free("localhost", port)

    def it_is_taken_when_somebody_listens_on_every_address(self) -> None:
        with socket.create_server(("0.0.0.0", 0)) as everywhere:
            assert not LocalMachine().port_free("127.0.0.1", everywhere.getsockname()[1])

    def it_is_free_again_right_after_a_server_with_connections_has_ended(self, listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server, _address = listener.accept()
        server.close()
        listener.close()
        client.close()
        assert LocalMachine().port_free("127.0.0.1", port)

    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid", "127.0.0.1;id", "a\0b", "é" * 80])
    def it_says_so_when_the_address_is_not_this_machines(self, address: str) -> None:
        with pytest.raises(HostError, match=r"A server could not listen on .* port 54321: "):
            LocalMachine().port_free(address, 54321)

    def it_forwards_to_itself(self) -> None:
        with LocalMachine().forward("127.0.0.1", 5432) as place:
            assert place == ("127.0.0.1", 5432)

    def it_tells_whether_a_port_takes_connections(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as service:
            port = service.getsockname()[1]
            assert LocalMachine().reaches("127.0.0.1", port, 5)
        assert not LocalMachine().reaches("127.0.0.1", port, 5)


def it_holds_no_descriptor_and_no_child_after_hundreds_of_commands() -> None:
    machine = LocalMachine()
    machine.run(["true"], stdin=b"x", timeout=10)
    before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else []
    children = psutil.Process().children()
    for _turn in range(200):
        machine.run(["true"], stdin=b"x", timeout=10)
    assert (sorted(os.listdir("/proc/self/fd")) if before else []) == before
    assert psutil.Process().children() == children


@pytest.mark.needs("root")
def it_becomes_a_user_by_number() -> None:
    finished = LocalMachine("4711").run(["sh", "-c", "id -u; id -g; id -G; echo $HOME"], timeout=10)
    assert finished.stdout.split() == ["4711", "4711", "4711", "/"]
