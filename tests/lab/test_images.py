"""The stand-in images keep the contract that the official ones document: what the panel relies on is so here, too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import postgres
from tests.lab.image.postgres import IMAGES, archive_of
from tests.lab.lab import Lab
from tests.lab.server import LabServer
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("lab")
TAGS = list(IMAGES)


@pytest.fixture(scope="module")
def beta(lab: Lab) -> Iterator[LabServer]:
    yield lab["beta"]
    lab["beta"].empty()


@pytest.fixture(autouse=True)
def _empty(beta: LabServer) -> Iterator[None]:
    yield
    beta.empty()


def ended(server: LabServer, *words: str) -> tuple[int, str]:
    """Exit code and last line of a container that ends by itself."""
    answer = server.docker("run", "--rm", *words, check=False)
    return answer.returncode, (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1]


def inspected(server: LabServer, *words: str) -> Any:
    return json.loads(server.docker("inspect", *words).stdout)[0]


@pytest.mark.parametrize("tag", TAGS)
def it_initialises_and_serves(beta: LabServer, tag: str) -> None:
    postgres.start(beta, tag=tag)
    major = IMAGES[tag].major
    assert str(postgres.value(beta, "SHOW server_version")).startswith(f"{major}.")
    assert postgres.value(beta, "SHOW data_directory") == IMAGES[tag].data
    assert postgres.value(beta, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "en_US.utf8"
    assert beta.docker("exec", "db", "stat", "-c", "%U %u %a", IMAGES[tag].data).stdout == "postgres 999 700\n"
    assert beta.docker("exec", "db", "ps", "-o", "user=", "-p", "1").stdout == "postgres\n"
    (mount,) = inspected(beta, "db")["Mounts"]
    assert mount["Destination"] == IMAGES[tag].volume
    beta.docker("exec", "db", "psql", "-U", "postgres", "-c", "SELECT 1")


@pytest.mark.parametrize("tag", TAGS)
def it_has_the_programs_that_replication_takes(beta: LabServer, tag: str) -> None:
    names = (
        "pg_basebackup",
        "pg_rewind",
        "pg_verifybackup",
        "pg_controldata",
        "pg_checksums",
        "pgbench",
        "pg_waldump",
        "pg_isready",
        "pg_ctl",
    )
    words = "for name; do $name --version || exit 1; done"
    answer = beta.docker("run", "--rm", "--entrypoint", "sh", tag, "-c", words, "sh", *names)
    assert [line.split()[0] for line in answer.stdout.splitlines()] == list(names)


def it_stops_in_order_and_keeps_its_data(beta: LabServer) -> None:
    postgres.start(beta, "--volume", "kept:/var/lib/postgresql/data")
    with postgres.connection(beta) as opened:
        opened.execute("CREATE TABLE kept AS SELECT 1 AS id")
    beta.docker("stop", "db")
    state = inspected(beta, "db")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert "received fast shutdown request" in beta.docker("logs", "db").stderr
    beta.docker("rm", "db")
    postgres.start(beta, "--volume", "kept:/var/lib/postgresql/data")
    assert postgres.value(beta, "SELECT count(*) FROM kept") == 1
    assert "nothing is initialised" in beta.docker("logs", "db").stdout


def it_takes_names_and_secrets_from_files_and_runs_the_first_scripts(beta: LabServer) -> None:
    files = {
        "secrets/password": "from a file\n",
        "init/10-source.sh": "echo \"CREATE ROLE sourced\" | psql -U $POSTGRES_USER -d $POSTGRES_DB",
        "init/20-table.sql": "CREATE TABLE made AS SELECT current_user::text AS by",
        "init/40-readme.txt": "not run",
    }  # fmt: skip
    for name, text in files.items():
        beta.run(
            ["install", "-D", "-m", "0600" if "password" in name else "0644", "/dev/stdin", f"/srv/images/{name}"], given=text.encode()
        )
    beta.run(["sh", "-c", "cd /srv/images/init && echo \"INSERT INTO made VALUES ('gz')\" | gzip > 30-more.sql.gz"])
    beta.docker(
        "run", "--detach", "--name", "db", "--publish", "5432:5432", "--volume", "/srv/images/init:/docker-entrypoint-initdb.d:ro",
        "--volume", "/srv/images/secrets:/run/secrets:ro", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password",
        "--env", "POSTGRES_USER=boss", "--env", "POSTGRES_DB=shop", "--env", "POSTGRES_INITDB_ARGS=--data-checksums",
        "postgres:16", "-c", "work_mem=7MB",
    )  # fmt: skip
    known: dict[str, Any] = {"user": "boss", "password": "from a file", "dbname": "shop"}

    def ready() -> bool:
        return (
            "initialised; PostgreSQL starts" in beta.docker("logs", "db").stdout and "ready to accept" in beta.docker("logs", "db").stderr
        )

    wait_until(ready, "the end of the first start", 60)
    assert postgres.value(beta, "SELECT string_agg(by, ' ') FROM made", **known) == "boss gz"
    assert postgres.value(beta, "SELECT count(*) FROM pg_roles WHERE rolname = 'sourced'", **known) == 1
    assert postgres.value(beta, "SELECT current_setting('data_checksums') || current_setting('work_mem')", **known) == "on7MB"
    assert "from a file" not in beta.docker("inspect", "db").stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["postgres:16"], "entrypoint: the data directory is empty and no superuser password is given"),
        (
            ["-e", "POSTGRES_PASSWORD=a", "-e", "POSTGRES_PASSWORD_FILE=/b", "postgres:16"],
            "entrypoint: POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE",
        ),
        (
            ["-v", "old:/var/lib/postgresql/data", "-e", "POSTGRES_PASSWORD=a", "postgres:18"],
            "entrypoint: there is a mount or a database at",
        ),
    ],
)
def it_refuses_as_the_official_image_does(beta: LabServer, words: list[str], sentence: str) -> None:
    code, said = ended(beta, *words)
    assert (code, said[: len(sentence)]) == (1, sentence)


def it_runs_other_commands_as_they_are_given(beta: LabServer) -> None:
    assert ended(beta, "postgres:16", "postgres", "--version") == (0, "postgres (PostgreSQL) 16.2")
    assert ended(beta, "postgres:17", "id", "-u") == (0, "0")
    assert ended(beta, "--user", "postgres", "postgres:17", "id", "-u") == (0, "999")


def it_speaks_tls_in_17(beta: LabServer, tmp_path: Path) -> None:
    subject = ["-subj", f"/CN={beta.address}", "-addext", f"subjectAltName=IP:{beta.address}"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*make, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")], check=True, capture_output=True)
    for name in ("key", "crt"):
        words = ["install", "-D", "-m", "0600", "-o", "999", "-g", "999", "/dev/stdin", f"/srv/tls/server.{name}"]
        beta.run(words, given=(tmp_path / name).read_bytes())
    settings = ("-c", "ssl=on", "-c", "ssl_cert_file=/tls/server.crt", "-c", "ssl_key_file=/tls/server.key")
    postgres.start(beta, "--volume", "/srv/tls:/tls:ro", tag="postgres:17", command=settings)
    options: dict[str, Any] = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "crt")}
    assert str(postgres.value(beta, "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()", **options)).startswith("TLSv1.")


def it_is_the_same_image_each_time_it_is_made(lab: Lab, tmp_path: Path) -> None:
    from_cache = archive_of("postgres:16", lab.site.cache)
    (tmp_path / next(lab.site.cache.glob("wheels-*")).name).symlink_to(next(lab.site.cache.glob("wheels-*")))
    assert archive_of("postgres:16", tmp_path).read_bytes() == from_cache.read_bytes()


def it_is_loaded_from_a_file(lab: Lab, beta: LabServer) -> None:
    identity = inspected(beta, "postgres:16")["Id"]
    beta.docker("rmi", "postgres:16")
    beta.load(archive_of("postgres:16", lab.site.cache))
    assert inspected(beta, "postgres:16")["Id"] == identity
    assert ended(beta, "postgres:16", "true", "--help")[0] == 0
