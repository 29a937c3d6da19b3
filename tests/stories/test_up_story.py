"""`./pgreplica up` as a person uses it: start, look, stop, kill, start again; and the demo from nothing to a replicated row."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from launcher.checks import free_ports
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 180.0  # on a busy machine; on an idle one a start takes about five


class Panel:
    """One state directory, and the panel that runs on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "s"
        self.port = free_ports(21000, 1)[0]
        self.log = root / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def said(self) -> str:
        return self.log.read_text()

    def environment(self) -> dict[str, str]:
        """As a person's shell: nothing of the test run's own settings."""
        ours = ("PGREPLICA_", "DATABASE_URL", "REDIS_URL", "DJANGO_", "PYTEST_", "PYTHONWARNINGS")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "pgreplica"), *words]

    def up(self, *options: str) -> None:
        with self.log.open("wb") as log:
            words = self.command("up", "--state-dir", str(self.state), "--port", str(self.port), *options)
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=self.environment(), cwd="/", start_new_session=True)
        wait_until(lambda: "is ready" in self.said or self.process is None or self.process.poll() is not None, "the banner", SECONDS)
        assert self.process.poll() is None, self.said

    def run(self, *words: str, before: tuple[str, ...] | None = None) -> subprocess.CompletedProcess[str]:
        front = ("--state-dir", str(self.state)) if before is None else before
        return subprocess.run(
            self.command(*front, *words), capture_output=True, text=True, env=self.environment(), cwd="/", check=False, timeout=SECONDS
        )

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def processes(self, below: str = "") -> list[str]:
        """What runs and names the state directory, or was started by the panel (its environment says so)."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"{self.state}{below}".encode() in text and int(entry.name) != os.getpid():
                found.append(text.split(b"\0PATH=")[0].decode("utf-8", "replace"))
        return found


@pytest.fixture
def panel() -> Iterator[Panel]:
    root = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    root.chmod(0o755)
    panel = Panel(root)
    yield panel
    if panel.process is not None and panel.process.poll() is None:
        panel.run("demo", "remove")
        panel.end(signal.SIGINT)
    for pid_file in root.rglob("postmaster.pid"):
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    shutil.rmtree(root, ignore_errors=True)


def sign_in(address: str, name: str, password: str) -> bool:
    """Whether these words open the panel."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    page = opener.open(f"{address}admin/login/", timeout=30).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None
    fields = {"csrfmiddlewaretoken": token[1], "username": name, "password": password, "next": "/admin/password_change/"}
    answer = opener.open(f"{address}admin/login/", urllib.parse.urlencode(fields).encode(), timeout=30)
    return bool(answer.url == f"{address}admin/password_change/")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_panel_starts_is_used_stops_and_starts_again(panel: Panel) -> None:
    panel.up("--no-demo")

    # The banner says where it is and, this once, the administrator's password.
    assert f"  Address    {panel.address}\n" in panel.said
    password = re.search(r"  User       admin\n  Password   (\S+)   \(shown this once\)\n", panel.said)
    assert password is not None
    assert sign_in(panel.address, "admin", password[1])

    # Other commands find it through the state directory; only its owner may read how.
    assert stat.S_IMODE((panel.state / "panel.json").stat().st_mode) == 0o600
    assert panel.run("secrets_check").stdout == "0 stored secrets are ciphertext and can be read.\n"
    second = panel.run("up", "--state-dir", str(panel.state), before=())
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == (
        f"pgreplica: a panel runs already on {panel.state} ({panel.address}). Use that one, stop it with Ctrl-C in its terminal, "
        "or give this one another directory: ./pgreplica up --state-dir DIR --port PORT\n"
    )

    # No password stands in any command line, and the passwords' files are their owner's.
    secrets = [path.read_text().strip() for path in (panel.state / "secrets").iterdir()]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [secret for secret in [*secrets, password[1]] if secret in listed] == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in (panel.state / "secrets").iterdir()} == {0o600}

    # A process that ends is started again.
    worker = next(line for line in panel.processes() if "celery" in line and "worker" in line)
    assert worker
    pid = next(entry.name for entry in Path("/proc").glob("[0-9]*") if _is_worker_of(entry, panel))
    os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: "worker ended (by SIGKILL); it starts again in 1 s" in panel.said, "the note about the worker", SECONDS)
    wait_until(lambda: any(_is_worker_of(entry, panel) for entry in Path("/proc").glob("[0-9]*")), "the next worker", SECONDS)

    # Ctrl-C: all of it ends, in order, and says so.
    assert panel.end(signal.SIGINT) == 0
    assert panel.said.endswith(
        "panel    | stopping: alerter, monitor, beat, web, worker, database, broker; managed databases keep running\npanel    | stopped\n"
    )
    assert panel.processes() == []
    assert panel.run("secrets_check").stderr.startswith(f"pgreplica: no panel runs on {panel.state}.")

    # The second start makes no second administrator; killed without a chance to stop, it leaves nothing behind.
    panel.up()
    assert "Password " not in panel.said
    assert sign_in(panel.address, "admin", password[1])
    assert panel.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: panel.processes() == [], "the end of all processes", 30)


def _is_worker_of(entry: Path, panel: Panel) -> bool:
    try:
        return b"\0worker\0" in (entry / "cmdline").read_bytes() and str(panel.state).encode() in (entry / "environ").read_bytes()
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_first_start_makes_a_demo_that_replicates(panel: Panel) -> None:
    panel.up()
    wait_until(lambda: _demo_is_complete(panel), "the demo", SECONDS)
    cluster = json.loads(panel.run("cluster", "show", "demo", "--json").stdout)
    assert [(one["name"], one["role"], one["state"]) for one in cluster["instances"]] == [
        ("node1", "primary", "running"),
        ("node2", "standby", "streaming"),
    ]

    # A row written on the primary is read on the standby.
    on_primary, on_standby = (
        panel.run("cluster", "dsn", "demo", "--instance", name, "--with-password").stdout.strip() for name in ("node1", "node2")
    )
    with psycopg.connect(on_primary, autocommit=True) as primary:
        primary.execute("CREATE TABLE story AS SELECT 'written on the primary' AS text")
    with psycopg.connect(on_standby, autocommit=True) as standby:
        wait_until(lambda: standby.execute("SELECT to_regclass('story') IS NOT NULL").fetchone() == (True,), "the table", 30)
        assert standby.execute("SELECT text FROM story").fetchone() == ("written on the primary",)
        assert standby.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)

    # Stopping the panel never stops a managed database.
    assert panel.end(signal.SIGINT) == 0
    with psycopg.connect(on_standby) as standby:
        assert standby.execute("SELECT text FROM story").fetchone() == ("written on the primary",)

    # The demo goes when asked to, and does not come back.
    panel.up()
    removed = panel.run("demo", "remove")
    assert (removed.returncode, removed.stderr) == (0, "")
    assert panel.processes("/clusters") == []
    assert panel.run("demo", "remove").stdout == "There is no demo cluster; nothing is to be removed.\n"
    assert panel.end(signal.SIGINT) == 0


def _demo_is_complete(panel: Panel) -> bool:
    """Asked of the panel's database: a command for each look would cost seconds of the machine's time."""
    url = json.loads((panel.state / "panel.json").read_text())["environment"]["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT status, summary, hint FROM tasks_job WHERE kind = 'add_standby'").fetchall()
    assert not rows or rows[0][0] in ("queued", "running", "done"), rows
    return bool(rows) and rows[0][0] == "done"
