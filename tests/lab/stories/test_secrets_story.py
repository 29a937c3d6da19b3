"""Every password, key and passphrase of a cluster's life over SSH and Docker is looked for in all places where it must not be."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from clusters.models import Cluster, Server, SshKey
from tasks.registration import ssh_key_change
from tests.lab.commands import run
from tests.lab.lab import Lab
from tests.lab.server import LabServer
from tests.lab.stories.stage import BASE, LabStage
from tests.stage import OPERATOR, log_of
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("lab")

CHECKOUT = Path(__file__).resolve().parents[3]
#: With what a shell, a conninfo, SQL, YAML or an URL would have to quote.
OWNER = f"owner'\"\\$x %40:@/#{secrets.token_hex(8)}"
PASSPHRASE = f"passphrase {secrets.token_hex(8)}"
#: `docker inspect` of each container when it is made, until this end of standard input is closed.
INSPECT_ALL = """
rm -f /run/created && mkfifo /run/created
docker events --filter type=container --filter event=create --format '{{.ID}}' > /run/created & events=$!
while read -r id; do docker inspect "$id"; done < /run/created &
read -r _
kill $events
wait
"""
#: In the place of pg_basebackup: what it was given to log in with stands in its error.
TALKATIVE = """#!/bin/sh
for word; do
  case "$word" in *passfile=*) file="${word##*passfile=}"; file="${file%% *}" ;; esac
done
echo "pg_basebackup: error: connection failed: $(cat "$(echo "$file" | tr -d "'")")" >&2
exit 1
"""
PLACES = (BASE, "/var/log", "/var/lib/docker/containers", "/tmp", "/root", "/home")


@dataclass
class Watch:
    """What was seen meanwhile, in processes and in containers."""

    directory: Path

    @property
    def processes(self) -> str:
        return (self.directory / "processes").read_text(errors="replace")

    @property
    def containers(self) -> str:
        return "".join(path.read_text() for path in self.directory.glob("*.inspected"))


@contextlib.contextmanager
def watching(lab: Lab, directory: Path) -> Iterator[Watch]:
    watch = Watch(directory)
    argv = [[sys.executable, "-m", "tests.lab.sampler", lab.site.name, str(directory / "processes")]]
    argv += [server.inside(["sh", "-c", INSPECT_ALL]) for server in lab.servers.values()]
    with contextlib.ExitStack() as ended:
        for number, words in enumerate(argv):
            output = ended.enter_context((directory / f"{number}.inspected").open("wb"))
            watcher = ended.enter_context(subprocess.Popen(words, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=output))
            assert watcher.stdin is not None
            ended.callback(watcher.stdin.close)
        wait_until((directory / "processes").exists, "the sampler looks", 20)
        yield watch


def it_keeps_every_secret_to_itself(lab_stage: LabStage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    servers = lab_stage.lab.servers
    key_with_passphrase(lab_stage, "beta", tmp_path / "key")
    with talkative(servers["gamma"]), watching(lab_stage.lab, tmp_path) as watch:
        lab_stage.create(owner_password=OWNER, settings={"log_statement": "all"})
        lab_stage.standby(server="beta")
        lab_stage.done("switchover", cluster="orders", to="node2", reason="secrets", confirm="orders")
        failed = lab_stage.run("add_standby", cluster="orders", server="gamma")
        assert failed.status == "failed", log_of(failed)
        lab_stage.done("verify", cluster="orders")
        shown = "".join(
            server.docker("inspect", *server.docker("ps", "-aq").stdout.split(), check=False).stdout for server in servers.values()
        )
    assert any("connection failed" in line and "********" in line for line in log_of(failed).splitlines()), "the error is there, masked"
    assert all(name in watch.processes for name in ("initdb", "pg_basebackup", "pg_controldata", "docker run")), "the sampler has missed it"
    assert all(name in watch.containers for name in ("initdb", "pg_basebackup", "pg_verifybackup")), "containers came unseen"

    found = {
        **{place: named_in(text) for place, text in (("processes", watch.processes), ("containers", watch.containers), ("inspect", shown))},
        "the panel's log": named_in(caplog.text),
        **{f"table {table}": named_in(text) for table, text in tables()},
    }
    assert {place: names for place, names in found.items() if names} == {}
    for name, server in servers.items():
        assert [path for path in files_with_secrets(server) if not kept_apart(server, path)] == [], name
    assert files_with_secrets(servers["alpha"]) != [], "the password files themselves are found"


# -- what is planted


def key_with_passphrase(stage: LabStage, name: str, path: Path) -> None:
    """The panel is given a key as a person has it, closed with a passphrase."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "mine", "-f", str(path)])
    stage.lab[name].authorize(path.with_suffix(".pub").read_text())
    given = {"private_key": path.read_text(), "passphrase": PASSPHRASE}
    ssh_key_change(actor=OPERATOR, server=Server.objects.get(name=name), data=given)


@contextlib.contextmanager
def talkative(server: LabServer) -> Iterator[None]:
    """Meanwhile its image has a pg_basebackup that gives away what it knows."""
    image = server.docker("image", "inspect", "--format={{.Id}}", "postgres:16").stdout.strip()
    server.run(["install", "-m", "0755", "/dev/stdin", "/srv/talkative"], given=TALKATIVE.encode())
    server.docker("create", "--name", "talkative", "postgres:16")
    server.docker("cp", "/srv/talkative", "talkative:/usr/lib/postgresql/16/bin/pg_basebackup")
    server.docker("commit", "talkative", "postgres:16")
    server.docker("rm", "talkative")
    try:
        yield
    finally:
        server.docker("tag", image, "postgres:16")


# -- what is looked for


def planted() -> dict[str, str]:
    row = Cluster.objects.get(name="orders")
    passwords = {name: getattr(row, f"{name}_password").reveal() for name in ("superuser", "owner", "replication", "panel")}
    assert passwords["owner"] == OWNER
    keys = {
        f"key of {key.server.name}, line {number}": line
        for key in SshKey.objects.select_related("server")
        for number, line in enumerate(key.private_key.reveal().splitlines())
        if number > 2 and "-----" not in line  # what comes before is the public half
    }
    return {**passwords, "passphrase": PASSPHRASE, **keys}


def forms() -> dict[str, str]:
    """Form of a secret -> whose it is."""
    found = {}
    for name, secret in planted().items():
        data = secret.encode()
        others = (secret.replace("'", "''"), secret.replace("\\", "\\\\"), quote(secret, safe=""), json.dumps(secret)[1:-1], data.hex())
        found |= dict.fromkeys((secret, *others, base64.b64encode(data).decode().rstrip("=")), name)
    return found


def named_in(text: str) -> list[str]:
    """Whose secrets the text holds."""
    return sorted({name for form, name in forms().items() if form in text})


def tables() -> Iterator[tuple[str, str]]:
    """Every row of the panel's database, as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT string_agg(one::text, chr(10)) FROM "{table}" AS one')
            yield table, cursor.fetchone()[0] or ""


def files_with_secrets(server: LabServer) -> list[str]:
    words = ["grep", "--recursive", "--text", "--fixed-strings", "--files-with-matches", "--no-messages", "--file=-", *PLACES]
    return sorted(server.run(words, check=False, given="\n".join(forms()).encode()).stdout.splitlines())


def kept_apart(server: LabServer, path: str) -> bool:
    """A password file: its owner's alone, in a directory that is for such files."""
    mode = server.run(["stat", "--format=%a %U", path]).stdout.split()
    return mode == ["600", "postgres"] and Path(path).parent.name == "secrets"
