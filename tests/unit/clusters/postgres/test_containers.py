"""PostgreSQL in a container: exact command lines, and Compose files as a person would write them."""

from __future__ import annotations

import dataclasses

import pytest

from clusters.postgres import commands, containers, files
from clusters.postgres.compose import compose_files
from clusters.postgres.facts import Lsn
from clusters.postgres.names import NameRefused
from clusters.postgres.rejoin_commands import recover_alone, wal_read
from clusters.postgres.spec import Container, InstanceSpec
from clusters.secrets import Secret
from tests.unit.clusters.postgres.cast import alpha_spec, beta_spec, data

ROOT = "/var/lib/pgreplica/orders"
ONE_SHOT = (
    *("docker", "run", "--rm", "--interactive", "--label=pgreplica-admin=tool"),
    "--network={}",
    "--user=105:112",
    *("--mount=type=bind,source=/etc/passwd,target=/etc/passwd,readonly", f"--mount=type=bind,source={ROOT},target={ROOT}"),
    "--env=LC_ALL=C",
)
SOCKET_LOGIN = (
    "host=/var/run/postgresql port=5432 user=postgres dbname=postgres passfile=/run/secrets/superuser_passfile application_name=pgreplica"
)


def contained(spec: InstanceSpec, **changes: str) -> InstanceSpec:
    container = Container(name=f"orders-{spec.name}", image="postgres:16", user="105:112")
    return dataclasses.replace(spec, bindir="", container=dataclasses.replace(container, **changes))


def one_shot(program: str, *arguments: str, network: str = "none") -> tuple[str, ...]:
    return (*(word.format(network) for word in ONE_SHOT), f"--entrypoint={program}", "postgres:16", *arguments)


def it_runs_a_program_beside_the_server_in_a_container_that_sees_the_servers_own_paths():
    spec = contained(alpha_spec())
    data_directory = f"--pgdata={ROOT}/alpha/volumes/postgres/data"
    assert commands.pg_controldata(spec).argv == one_shot("pg_controldata", data_directory)
    asked = commands.postgres_version(spec).argv
    assert asked[-3:] == ("--entrypoint=postgres", "postgres:16", "--version")
    assert not any("mount" in word for word in asked)  # there may be no directory yet
    assert commands.initdb(spec, "/p").argv[: len(ONE_SHOT) + 3] == one_shot("initdb", data_directory)


def it_gives_the_network_only_to_what_must_reach_another_server():
    spec = contained(beta_spec())
    reaching = [commands.pg_basebackup(spec, "/t"), commands.pg_rewind(spec), commands.replication_login(spec)]
    alone = [commands.pg_verifybackup(spec, "/t"), recover_alone(spec), wal_read(spec, 1, Lsn(0)), commands.postgres_check(spec)]
    assert all("--network=host" in command.argv for command in reaching)
    assert all("--network=none" in command.argv for command in alone)


def it_talks_to_the_server_over_the_socket_in_its_container():
    command = commands.psql(contained(alpha_spec()), Secret("SELECT 1"))
    quiet = ("--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
    assert command.argv == (
        *("docker", "exec", "--interactive", "--env=LC_ALL=C", "orders-alpha", "psql"),
        *quiet,
        f"--dbname={SOCKET_LOGIN}",
    )
    assert "SELECT" not in repr(command)


def it_names_the_container_of_a_detached_command_wherever_it_stands_in_the_line():
    spec = contained(beta_spec())
    named = containers.named(commands.pg_basebackup(spec, "/t"), "orders-beta-job-7-basebackup")
    assert named.argv[:4] == ("docker", "run", "--name=orders-beta-job-7-basebackup", "--rm")
    through_shell = containers.named(wal_read(spec, 1, Lsn(0)), "n")
    at = through_shell.argv.index("docker")
    assert through_shell.argv[at : at + 3] == ("docker", "run", "--name=n")
    plain = commands.pg_verifybackup(beta_spec(), "/t")
    assert containers.named(plain, "n") == plain


@pytest.mark.parametrize("major", [14, 16, 17, 18])
def it_mounts_the_data_where_the_image_declares_its_volume(major: int):
    spec = contained(alpha_spec(major=major), image=f"postgres:{major}")
    compose = next(file for file in compose_files(spec) if file.path.endswith("compose.yml")).content
    places = ("./volumes/postgres", "/var/lib/postgresql") if major == 18 else ("./volumes/postgres/data", "/var/lib/postgresql/data")
    mount = "- {{type: bind, source: {}, target: {}, bind: {{create_host_path: false}}}}\n".format(*places)
    assert mount in compose
    assert "PGDATA: /var/lib/postgresql/data\n" in compose


def it_writes_compose_files_that_hold_nothing_secret():
    env, compose = compose_files(contained(alpha_spec(), network="backend"))
    assert (env.path, env.content) == (f"{ROOT}/alpha/.env", data("container.env"))
    assert (compose.path, compose.content) == (f"{ROOT}/alpha/compose.yml", data("compose.yml"))
    assert compose_files(alpha_spec()) == []


def it_publishes_an_ipv6_address_in_brackets():
    env, _compose = compose_files(contained(beta_spec()))
    assert "POSTGRES_ADDRESS=[2001:db8::6]\n" in env.content


def it_names_in_the_conf_files_what_the_server_sees_in_its_container():
    spec = contained(beta_spec())
    conf = files.render_postgresql_conf(spec).content
    assert "hba_file = '/etc/postgresql/pg_hba.conf'" in conf
    assert "unix_socket_directories = '/var/run/postgresql'" in conf
    assert "listen_addresses = '*'" in conf
    assert "passfile=/run/secrets/passfile" in files.render_replication_conf(spec).content
    assert files.render_superuser_passfile(spec, Secret("x")).content.startswith("/var/run/postgresql:5433:")
    with pytest.raises(ValueError, match="not mounted"):
        spec.seen("/etc/shadow")


REFUSED = [
    {"image": "-e X"},
    {"image": "img;id"},
    {"image": "postgres:16 --privileged"},
    {"image": "Postgres"},
    {"image": "postgres@sha256:00"},
    {"name": "-v/:/h"},
    {"name": "a/b"},
    {"user": "root"},
    {"user": "0:0"},
    {"user": ""},
    {"network": "a b"},
    {"network": "--net"},
    {"shm_size": "1"},
    {"shm_size": "256m\nprivileged: true"},
]


@pytest.mark.parametrize("change", REFUSED, ids=repr)
def it_refuses_what_a_command_or_a_file_would_read_in_another_way(change: dict[str, str]):
    with pytest.raises(NameRefused) as refused:
        contained(alpha_spec(), **change)
    assert refused.value.field in change or refused.value.field == "container"


@pytest.mark.parametrize(
    "image", ["postgres:16", "postgres:16-alpine", "registry.example.com:5000/team/postgres:18.1", f"postgres@sha256:{'0a' * 32}"]
)
def it_takes_images_by_tag_and_by_digest(image: str):
    assert contained(alpha_spec(), image=image).container == Container("orders-alpha", image, "105:112")


def it_shows_what_a_person_would_type_where_the_panel_only_waits_around_it():
    spec = contained(alpha_spec())
    assert commands.pg_ctl_start(spec).display() == f"docker compose --file {ROOT}/alpha/compose.yml up --detach"
    assert commands.pg_ctl_stop(spec).display() == "docker kill --signal INT orders-alpha"
    assert commands.pg_ctl_stop(spec, "immediate").display() == "docker kill --signal QUIT orders-alpha"
    assert commands.pg_ctl_reload(spec).display().endswith("orders-alpha pg_ctl reload --pgdata=/var/lib/postgresql/data")
    assert containers.restart_policy(spec, "no").display() == "docker update --restart=no orders-alpha"
    assert containers.down(spec).display() == f"docker compose --file {ROOT}/alpha/compose.yml down"


def it_has_the_reader_of_the_control_file_up_before_the_server_is_told_to_stop():
    argv = commands.stop_and_read(contained(alpha_spec()), 30).argv
    assert argv[4:8] == ("stop_and_read", "orders-alpha", "docker", "run")
    assert argv[-3:] == ("pgreplica", f"{ROOT}/alpha/volumes/postgres/data", "30")
