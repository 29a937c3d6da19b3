"""The panel from its Dockerfile and compose.yml, in an engine: it manages other servers, loses a worker, is upgraded, has no rights."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.lab.lab import Lab
from tests.lab.panel.images import archives
from tests.lab.panel.index import serving
from tests.lab.panel.installation import HOST, Client, Installation
from tests.lab.server import LabServer
from tests.lab.stories.stage import BASE, USER, emptied, user_made
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("lab")

OURS = ("web", "worker", "beat", "monitor", "alerter")
PASSWORD = f"database-{secrets.token_hex(12)}"
ADMINISTRATOR = f"administrator-{secrets.token_hex(12)}"
OWNER = f"owner-{secrets.token_hex(12)}"
LEASE_SECONDS = 30  # the default, which compose.yml leaves as it is
CREATE = 'read -r DJANGO_SUPERUSER_PASSWORD; export DJANGO_SUPERUSER_PASSWORD; exec python manage.py createsuperuser --noinput "$@"'
LOOK_INSIDE = "id -u; grep CapEff /proc/self/status; touch /app/x 2>&1 || :"
#: Command lines, and the environment of what is ours. The image `postgres` hands its password on to its own process, and to nobody else.
PROCESSES = """
for each in /proc/[0-9]*; do
  cat "$each/cmdline" 2>/dev/null
  [ "$(stat -c %u "$each" 2>/dev/null)" != 10001 ] || cat "$each/environ" 2>/dev/null
done; :
"""
#: A page without a proxy in front, asked for by this name.
PLAIN = """
import http.client
connection = http.client.HTTPConnection("127.0.0.1", 8080)
connection.request("GET", "/admin/login/", headers={"Host": "%s"})
answer = connection.getresponse()
print(answer.status, answer.headers.get("Location"))
"""
NEXT = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tasks", "{latest}")]
    operations = [migrations.RunSQL("CREATE TABLE made_by_the_next_version (id int)")]
"""


@dataclass
class Panel:
    lab: Lab
    installation: Installation
    client: Client

    @property
    def server(self) -> LabServer:
        return self.installation.server

    def enrol(self, name: str) -> None:
        """As docs/how-to/add-a-server-over-ssh.md says, with a key that the panel makes."""
        server = self.lab[name]
        user_made(server)
        given = {"connection": "ssh", "runtime": "docker", "ssh_user": "root", "run_as": USER, "base_directory": BASE}
        told = self.client.post("servers", name=name, address=server.address, **given)
        server.authorize(told["ssh"]["authorized_keys"])
        self.client.done(f"servers/{name}/read-host-key")
        offered = self.client.get(f"servers/{name}")["ssh"]["host_key_offered"]
        assert offered == server.fingerprint
        self.client.post(f"servers/{name}/host-key", fingerprint=offered)
        self.client.done(f"servers/{name}/check")
        assert [one["severity"] for one in self.client.get(f"servers/{name}")["findings"] if one["severity"] == "error"] == []

    def holder(self, job: int) -> str:
        """The container of the worker that has the job."""
        return self.installation.ask(f"SELECT split_part(worker, ':', 1) FROM tasks_job WHERE id = {job} AND lease_until > now()")


@pytest.fixture(scope="module")
def panel(lab: Lab) -> Iterator[Panel]:
    """Installed on alpha, with an administrator and a token; removed with all that it has made."""
    installation = Installation(lab["alpha"])
    for archive in archives(lab.site.cache):
        lab["alpha"].load(archive)
    with serving(lab.site.own_address, lab.site.cache) as index:
        installation.unpack(index, PASSWORD)
        installation.compose("up", "--detach", "--build")
        installation.wait_healthy()
        words = ["--username", "adam", "--email", "adam@example.org"]
        installation.compose("exec", "-T", "web", "sh", "-c", CREATE, "sh", *words, given=f"{ADMINISTRATOR}\n".encode())
        token = installation.manage("token", "create", "story", "--user", "adam", "--scope", "operate", "--json")
        with installation.reached() as port:
            wait_until(lambda: _answers(port), "the tunnel", 10)
            yield Panel(lab, installation, Client(port, json.loads(token)["token"]))
    installation.compose("down", "--volumes", "--rmi", "local", "--remove-orphans")
    emptied(lab)
    lab["alpha"].run(["rm", "-rf", "/srv/panel"])


def _answers(port: int) -> bool:
    try:
        return Client(port).ask("GET", "/healthz")[0] == 200
    except OSError:
        return False


def it_has_no_rights_and_no_secrets_that_it_does_not_need(panel: Panel) -> None:
    installation = panel.installation
    containers = installation.inspected(*installation.containers())
    assert len(containers) == 7  # migrate has done its work
    for one in containers:
        assert one["HostConfig"]["ReadonlyRootfs"] is True
        assert one["HostConfig"]["CapDrop"] == ["ALL"]
        assert one["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
        assert one["State"]["Health"]["Status"] == "healthy"
        listed = panel.server.docker("top", one["Id"], "-eo", "uid,pid").stdout.splitlines()[1:]
        assert [line for line in listed if line.split()[0] == "0"] == []
    for service in OURS:
        told = installation.compose("exec", "-T", service, "sh", "-c", LOOK_INSIDE)
        assert told.splitlines() == ["10001", "CapEff:\t0000000000000000", "touch: cannot touch '/app/x': Read-only file system"]
    keys = installation.compose("exec", "-T", "web", "sh", "-c", "cat /var/lib/pgreplica-admin/secrets/*").split()
    assert len(keys) == 2
    images = [installation.compose("images", "--quiet").split()[0]]
    shown = panel.server.docker("inspect", *[one["Id"] for one in containers], *images).stdout
    shown += panel.server.docker("history", "--no-trunc", *images).stdout
    shown += panel.server.run(["sh", "-c", PROCESSES]).stdout
    assert [number for number, secret in enumerate([PASSWORD, ADMINISTRATOR, *keys]) if secret in shown] == []


def it_asks_for_tls_and_for_its_own_name(panel: Panel) -> None:
    client = panel.client
    assert client.ask("GET", "/healthz") == (200, {"status": "ok", "database": True, "broker": True})
    assert client.get("servers") == []
    assert Client(client.port).ask("GET", "/api/v1/servers")[0] == 401
    answers = [panel.installation.compose("exec", "-T", "web", "python", "-c", PLAIN % name).split() for name in (HOST, "elsewhere.test")]
    assert answers == [["301", f"https://{HOST}/admin/login/"], ["400", "None"]]


def it_manages_other_servers_and_goes_on_when_a_worker_is_killed(panel: Panel) -> None:
    installation, client = panel.installation, panel.client
    for name in ("beta", "gamma"):
        panel.enrol(name)
    networks = [f"{panel.lab.site.prefix}.0/24"]
    client.done(
        "clusters", name="orders", server="beta", database="shop", owner_role="shop", owner_password=OWNER, postgres_major=16,
        client_networks=networks,
    )  # fmt: skip
    _execute(panel, "beta", "CREATE TABLE sold AS SELECT number, repeat('x', 500) AS text FROM generate_series(1, 60000) AS number")
    installation.compose("up", "--detach", "--scale", "worker=3")
    assert len(installation.containers("worker")) == 3
    installation.wait_healthy()

    job = client.post("clusters/orders/standbys", server="gamma", max_rate="4M")["id"]
    step = wait_until(lambda: _copying(client, job), "the copy is under way", 60)
    killed = panel.holder(job)
    panel.server.docker("kill", "--signal", "KILL", killed)  # and the engine leaves it so
    began = time.monotonic()
    taken = f"Taken over from worker {killed}"
    wait_until(lambda: any(taken in event["text"] for event in client.events(job)), "another worker has the job", LEASE_SECONDS + 15)
    assert time.monotonic() - began < LEASE_SECONDS + 10, "the lease and one round of the sweeper"
    other = panel.holder(job)
    told = client.ended(job)
    assert other in [container[:12] for container in installation.containers("worker")]
    assert [one["name"] for one in told["steps"] if one["status"] != "done"] == []

    events = client.events(job)
    assert [event["seq"] for event in events] == list(range(1, told["events"] + 1))
    assert step["name"] == "data_copied"
    assert _execute(panel, "gamma", "SELECT count(*) FROM sold") == 60000
    _execute(panel, "beta", "INSERT INTO sold VALUES (0, 'after')")
    wait_until(lambda: _execute(panel, "gamma", "SELECT count(*) FROM sold") == 60001, "the row on the standby", 10)


def it_is_upgraded_by_another_image_and_keeps_what_it_has(panel: Panel) -> None:
    installation = panel.installation
    before = installation.compose("exec", "-T", "web", "cat", "/var/lib/pgreplica-admin/secrets/encryption.keys")
    migrations = installation.directory / "tasks/migrations"
    latest = max(path.stem for path in migrations.glob("[0-9]*.py"))
    (migrations / "9000_next.py").write_text(NEXT.format(latest=latest))
    installation.settings(PGREPLICA_IMAGE="pgreplica-admin:next", PGREPLICA_WORKERS="2")
    installation.compose("up", "--detach", "--build")
    installation.wait_healthy()
    assert installation.ask("SELECT count(*) FROM made_by_the_next_version") == "0"
    running = installation.inspected(*installation.containers(*OURS))
    assert [one["Config"]["Image"] for one in running] == ["pgreplica-admin:next"] * 6  # web, beat, monitor, alerter, two workers
    assert installation.compose("exec", "-T", "web", "cat", "/var/lib/pgreplica-admin/secrets/encryption.keys") == before
    wait_until(lambda: _answers(panel.client.port), "the page", 20)
    assert panel.client.get("audit/verify")["intact"] is True


def it_stops_in_order_and_within_its_time(panel: Panel) -> None:
    containers = panel.installation.containers()
    began = time.monotonic()
    panel.installation.compose("stop")
    assert time.monotonic() - began < 25
    ends = {one["Name"]: one["State"]["ExitCode"] for one in panel.installation.inspected(*containers)}
    assert [name for name, code in ends.items() if code not in (0, 143)] == [], ends  # 137: killed when the time was over


def _copying(client: Client, job: int) -> Any:
    told = client.get(f"jobs/{job}")
    assert not told["ended"], told
    return next((one for one in told["steps"] if one["status"] == "running" and one["progress"].get("done")), None)


def _execute(panel: Panel, server: str, statement: str) -> Any:
    """As the application does, at the published port."""
    given: dict[str, Any] = {"host": panel.lab[server].address, "port": 5432, "user": "shop", "password": OWNER, "dbname": "shop"}
    with psycopg.connect(**given, autocommit=True, connect_timeout=5) as session:
        answer = session.execute(statement.encode())
        row = answer.fetchone() if answer.description else None
    return row[0] if row else None
