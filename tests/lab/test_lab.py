"""The lab itself: separate servers, each fault and its end, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import postgres
from tests.lab.cgroups import Cgroups
from tests.lab.commands import LabError, run
from tests.lab.lab import CHECKOUT, Lab, sweep
from tests.lab.network import Network
from tests.lab.server import LabServer
from tests.lab.site import Site
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("lab")


@pytest.fixture
def alpha(lab: Lab) -> Iterator[LabServer]:
    yield lab["alpha"]
    lab.heal()
    lab["alpha"].empty()


@pytest.fixture
def database(alpha: LabServer) -> LabServer:
    """Alpha, with a database that has one row."""
    postgres.start(alpha, "--restart", "unless-stopped")
    with postgres.connection(alpha) as opened:
        opened.execute("CREATE TABLE kept AS SELECT 1 AS id")
    return alpha


def reaches(source: LabServer, target: LabServer, port: int = 22) -> bool:
    """Whether a connection from one server to the other is accepted."""
    words = ["timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{target.address}/{port}"]
    return source.run(words, check=False).returncode == 0


LISTEN = "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 999)); s.settimeout(3); print(s.recv(9))"


def hears(target: LabServer, source: LabServer) -> bool:
    """Whether a datagram arrives, for which no answer has to come back."""
    tell = ["bash", "-c", f"echo hear > /dev/udp/{target.address}/999"]
    with subprocess.Popen(target.inside(["/usr/bin/python3", "-c", LISTEN]), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listening:
        wait_until(lambda: source.run(tell, check=False) and listening.poll() is not None, "the end of listening", 20)
        return listening.returncode == 0


def talk(connection: socket.socket) -> None:
    """As long as the other side answers."""
    while connection.recv(100):
        connection.sendall(b"again")


def reached(target: LabServer, port: int = 22, seconds: float = 1) -> bool:
    """The same from this machine."""
    try:
        with socket.create_connection((target.address, port), timeout=seconds):
            return True
    except OSError:
        return False


# -- separate servers


def it_has_servers_with_own_name_address_host_key_and_engine(lab: Lab) -> None:
    servers = list(lab.servers.values())
    assert [server.ssh(["hostname"]).stdout.strip() for server in servers] == ["alpha", "beta", "gamma"]
    assert [server.address for server in servers] == [f"{lab.site.prefix}.{number}" for number in (11, 12, 13)]
    assert len({server.host_key for server in servers}) == 3
    assert len({server.ssh(["docker", "info", "--format", "{{.ID}}"]).stdout for server in servers}) == 3


def it_shows_the_fingerprint_that_a_client_sees(alpha: LabServer) -> None:
    seen = run(["ssh-keyscan", "-t", "ed25519", alpha.address]).stdout
    assert run(["ssh-keygen", "-l", "-f", "-"], given=seen.encode()).stdout.split()[1] == alpha.fingerprint


def it_lets_one_server_log_in_to_another(lab: Lab, alpha: LabServer) -> None:
    alpha.run(["install", "-m", "0600", "/dev/stdin", "/root/.ssh/id_ed25519"], given=lab.key.read_bytes())
    answer = alpha.run(["ssh", "-o", "StrictHostKeyChecking=accept-new", f"root@{lab['beta'].address}", "hostname; echo $SSH_CONNECTION"])
    alpha.run(["rm", "/root/.ssh/id_ed25519"])
    assert answer.stdout.split() == ["beta", alpha.address, answer.stdout.split()[2], lab["beta"].address, "22"]


def it_refuses_whoever_has_no_key(alpha: LabServer, tmp_path: Path) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")])
    stranger = LabServer(alpha.site, alpha.name, alpha.number, tmp_path / "other")
    assert "Permission denied (publickey)" in stranger.ssh(["true"], check=False).stderr
    stranger.authorize((tmp_path / "other.pub").read_text())
    assert stranger.ssh(["whoami"]).stdout == "root\n"


def it_lets_a_user_in_who_is_not_root(lab: Lab, alpha: LabServer) -> None:
    alpha.add_user("deploy", lab.public_key)
    words = [word.replace("root@", "deploy@") for word in alpha.ssh_words()]
    assert run([*words, "id -un; docker version --format '{{.Server.Os}}'"]).stdout == "deploy\nlinux\n"


def it_has_another_host_key_after_a_change(lab: Lab, alpha: LabServer) -> None:
    alpha.change_host_key()
    wait_until(lambda: "HOST IDENTIFICATION HAS CHANGED" in alpha.ssh(["true"], check=False).stderr, "the refusal")
    lab.write_known_hosts()
    assert alpha.ssh(["hostname"]).stdout == "alpha\n"


def it_publishes_ports_and_keeps_containers_to_their_engine(lab: Lab, database: LabServer) -> None:
    assert postgres.value(database, "SELECT count(*) FROM kept") == 1
    assert postgres.value(database, "SELECT host(inet_client_addr())") == lab.site.own_address
    assert reaches(lab["beta"], database, 5432)
    names = {server.name: server.ssh(["docker", "ps", "--format", "{{.Names}}"]).stdout.split() for server in lab.servers.values()}
    assert names == {"alpha": ["db"], "beta": [], "gamma": []}


def it_has_compose_2_for_everybody(alpha: LabServer) -> None:
    assert alpha.ssh(["docker", "compose", "version", "--short"]).stdout.startswith("2.")


def it_leads_nowhere_else_and_sees_nothing_of_this_machine(alpha: LabServer) -> None:
    routes = {line.split()[0] for line in alpha.run(["ip", "route"]).stdout.splitlines()}
    assert routes == {f"{alpha.site.prefix}.0/24", "172.17.0.0/16"}
    assert alpha.run(["touch", "/usr/here"], check=False).stderr == "touch: cannot touch '/usr/here': Read-only file system\n"
    assert alpha.run(["ls", str(CHECKOUT)], check=False).returncode == 2
    assert int(alpha.run(["sh", "-c", "ls /proc | grep -c '^[0-9]'"]).stdout) < 30


# -- faults


def it_keeps_its_data_over_a_sudden_death(database: LabServer) -> None:
    with database.powered_off():
        assert not reached(database)
        assert not reached(database, 5432)
        assert not database.is_on()
    assert reached(database)
    wait_until(lambda: postgres.answers(database), "the database after the boot", 30)
    assert postgres.value(database, "SELECT count(*) FROM kept") == 1
    assert "was not properly shut down" in database.docker("logs", "db").stderr


def it_says_no_farewell_when_it_dies(database: LabServer) -> None:
    """An open connection must not be told: that is what makes a dead server so hard to notice."""
    with postgres.connection(database) as opened:
        descriptor = socket.socket(fileno=os.dup(opened.fileno()))
        with descriptor, database.powered_off():
            descriptor.setblocking(False)
            with pytest.raises(BlockingIOError):
                descriptor.recv(1)
        opened.close()


def it_shuts_down_and_reboots_in_order(database: LabServer) -> None:
    database.shut_down()
    assert not database.is_on()
    database.boot()
    wait_until(lambda: postgres.answers(database), "the database after the boot", 30)
    assert "was not properly shut down" not in database.docker("logs", "db").stderr
    database.reboot()
    assert database.ssh(["hostname"]).stdout == "alpha\n"


def it_is_cut_off_and_comes_back(lab: Lab, alpha: LabServer) -> None:
    with alpha.cut_off():
        assert not reached(alpha)
        assert not reaches(lab["beta"], alpha)
        assert alpha.is_on()
        assert alpha.run(["hostname"]).stdout == "alpha\n"
    wait_until(lambda: reached(alpha), "the way to alpha", 10)


def it_parts_two_servers_while_everybody_else_hears_both(lab: Lab, alpha: LabServer) -> None:
    beta, gamma = lab["beta"], lab["gamma"]
    with lab.parted(alpha, beta):
        assert [reaches(alpha, beta), reaches(beta, alpha)] == [False, False]
        assert [reaches(gamma, alpha), reaches(gamma, beta), reached(alpha), reached(beta)] == [True] * 4
    assert [reaches(alpha, beta), reaches(beta, alpha)] == [True, True]


def it_parts_one_direction_alone(lab: Lab, alpha: LabServer) -> None:
    beta = lab["beta"]
    with lab.parted(alpha, beta, one_way=True):
        assert [hears(beta, alpha), hears(alpha, beta)] == [False, True]


def it_parts_the_panel_from_a_server(lab: Lab, alpha: LabServer) -> None:
    with lab.parted(lab.site.own_address, alpha):
        assert not reached(alpha)
        assert reaches(lab["beta"], alpha)
    assert reached(alpha)


def it_hangs_and_goes_on(alpha: LabServer) -> None:
    with alpha.hung():
        with socket.create_connection((alpha.address, 22), timeout=1) as connection, pytest.raises(TimeoutError):
            connection.recv(100)
        with pytest.raises(LabError, match="alpha hangs"):
            alpha.run(["true"])
    with socket.create_connection((alpha.address, 22), timeout=5) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")


def it_can_be_powered_off_while_it_hangs(alpha: LabServer) -> None:
    alpha.hang()
    alpha.reboot()
    assert alpha.ssh(["hostname"]).stdout == "alpha\n"


def it_loses_its_engine_and_keeps_its_containers(database: LabServer) -> None:
    with database.engine_dead():
        assert database.ssh(["docker", "ps"], check=False).returncode != 0
        assert postgres.value(database, "SELECT count(*) FROM kept") == 1
    assert database.ssh(["docker", "ps"]).returncode == 0


@pytest.mark.parametrize("port", [22, 5432])
def it_refuses_on_one_port_and_resets_what_is_open_there(database: LabServer, port: int) -> None:
    with socket.create_connection((database.address, port), timeout=2) as connection, database.refusing(port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((database.address, port), timeout=2)
        assert reached(database, {22: 5432, 5432: 22}[port])
        connection.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            talk(connection)
    assert reached(database, port)


@pytest.mark.parametrize("path", ["/srv/postgres", "/var/lib/docker"])
def it_runs_out_of_disk(alpha: LabServer, path: str) -> None:
    alpha.give_disk(path, 400)
    assert "postgres:16" in alpha.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    with alpha.full(path):
        refused = alpha.run(["dd", "if=/dev/zero", f"of={path}/more", "bs=4096", "count=1"], check=False)
        assert "No space left on device" in refused.stderr
        assert alpha.run(["touch", "/srv/elsewhere"]).returncode == 0
    alpha.run(["dd", "if=/dev/zero", f"of={path}/more", "bs=4096", "count=1"])
    alpha.take_disk(path)
    assert alpha.run(["ls", f"{path}/more"], check=False).returncode != 0


def it_fills_no_disk_of_this_machine(alpha: LabServer) -> None:
    with pytest.raises(LabError, match=r"^/srv of alpha is not on a disk of its own"):
        alpha.fill("/srv")


def it_is_slow_for_a_while(alpha: LabServer) -> None:
    def seconds_for_a_megabyte() -> float:
        began = time.monotonic()
        assert len(alpha.ssh(["head -c 1000000 /dev/zero | tr '\\0' x"]).stdout) == 1_000_000
        return time.monotonic() - began

    with alpha.slow("4mbit"):
        slow = seconds_for_a_megabyte()
    assert slow > 1.5
    assert seconds_for_a_megabyte() < slow


def it_takes_back_every_fault_at_once(lab: Lab) -> None:
    alpha, beta, gamma = lab.servers.values()
    lab.network.drop(beta.address, gamma.address)
    lab.network.cable("beta", connected=False)
    beta.slow_down()
    alpha.refuse(22)
    beta.kill_engine()
    gamma.hang()
    gamma.thaw()
    gamma.refuse(22)
    gamma.hang()
    alpha.power_off()
    lab.heal()
    assert [server.ssh(["docker info --format '{{.Name}}'"]).stdout.strip() for server in (alpha, beta, gamma)] == [
        "alpha",
        "beta",
        "gamma",
    ]
    assert reaches(beta, gamma)


# -- nothing left

OWNER = """
import sys
from tests.lab.lab import Lab
from tests.lab.site import Site
lab = Lab(Site(name="killed", prefix="10.77.99"))
lab.__enter__()
(server,) = lab.up(1)
server.give_disk("/srv/disk", 64)
server.docker("run", "--detach", "--env", "POSTGRES_PASSWORD=x", "postgres:16")
print(lab._reaper.pid, flush=True)
sys.stdin.read()
"""
KILLED = Site(name="killed", prefix="10.77.99")


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that has a lab of its own, with a disk and a container, and the number of its reaper."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the lab did not come up"
        yield process, int(line)
        process.kill()
    sweep(KILLED)


def traces(site: Site) -> dict[str, list[str]]:
    """All that this machine has of a lab."""
    commands = [
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if _alive(path)
    ]
    return {
        "namespaces": sorted(Network(site).namespaces()),
        "processes": [line for line in commands if str(site.directory) in line or f"lab.reaper {site.name} " in line],
        "groups": sorted(Cgroups(site).servers()),
        "mounts": [
            line for line in Path("/proc/mounts").read_text().splitlines() if f"{site.name}-" in line or str(site.directory) in line
        ],
        "loop devices": [line for line in run(["losetup", "--list", "--noheadings"]).stdout.splitlines() if str(site.directory) in line],
        "links": [line for line in run(["ip", "-oneline", "link"]).stdout.splitlines() if f" {site.own_link}" in line],
        "files": [str(path) for path in [site.directory] if path.exists()],
    }


def _alive(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


NOTHING: dict[str, list[str]] = {
    "namespaces": [],
    "processes": [],
    "groups": [],
    "mounts": [],
    "loop devices": [],
    "links": [],
    "files": [],
}


def it_leaves_nothing_when_its_owner_is_killed(owner: tuple[subprocess.Popen[bytes], int]) -> None:
    process, _reaper = owner
    assert all(traces(KILLED).values())
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: traces(KILLED) == NOTHING, "the end of the killed owner's lab", 30)


def it_leaves_nothing_to_the_next_lab_when_the_reaper_is_killed_too(owner: tuple[subprocess.Popen[bytes], int]) -> None:
    process, reaper = owner
    os.kill(reaper, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert traces(KILLED)["namespaces"] == ["killed-alpha", "killed-switch"]
    with Lab(KILLED):
        assert traces(KILLED) | {"processes": []} == NOTHING
    assert traces(KILLED) == NOTHING


def it_lets_a_second_owner_wait_for_the_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.locks.SECONDS", 0.2)
    with pytest.raises(LabError, match=r"^another process has held /run/lock/pgreplica-lab"), Lab(lab.site):
        pass
    assert lab["alpha"].is_on()
