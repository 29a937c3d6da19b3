"""A spec: where an instance's files lie, and that no unsafe value gets into one."""

from __future__ import annotations

import pytest

from clusters.postgres.names import NameRefused
from clusters.postgres.spec import InstanceSpec, Member, Upstream
from tests.unit.clusters.postgres.cast import ALPHA, BETA, alpha_spec, beta_spec

ROOT = "/var/lib/pgreplica/orders"


def it_says_where_everything_lies():
    spec = beta_spec()
    paths = {name: getattr(spec, name) for name, member in vars(InstanceSpec).items() if isinstance(member, property)}
    assert paths == {
        "member": BETA,
        "cluster_directory": ROOT,
        "directory": f"{ROOT}/beta",
        "conf_directory": f"{ROOT}/beta/conf",
        "config_file": f"{ROOT}/beta/conf/postgresql.conf",
        "hba_file": f"{ROOT}/beta/conf/pg_hba.conf",
        "replication_file": f"{ROOT}/beta/conf/replication.conf",
        "secrets_directory": f"{ROOT}/beta/secrets",
        "passfile": f"{ROOT}/beta/secrets/passfile",
        "superuser_passfile": f"{ROOT}/beta/secrets/superuser_passfile",
        "pwfile": f"{ROOT}/beta/initdb/password",
        "state_directory": f"{ROOT}/beta/state",
        "epoch_file": f"{ROOT}/beta/state/epoch",
        "fenced_file": f"{ROOT}/beta/state/fenced",
        "refused_file": f"{ROOT}/beta/state/refused",
        "guard_directory": f"{ROOT}/beta/guard",
        "guard_conf": f"{ROOT}/beta/guard/guard.conf",
        "guard_program": f"{ROOT}/beta/guard/start",
        "guard_entrypoint": f"{ROOT}/beta/guard/entrypoint",
        "data_directory": f"{ROOT}/beta/volumes/postgres/data",
        "log_directory": f"{ROOT}/beta/log",
        "log_file": f"{ROOT}/beta/log/postgresql.log",
        "socket_directory": "/var/lib/pgreplica/.run/5433",
        "compose_file": f"{ROOT}/beta/compose.yml",
        "env_file": f"{ROOT}/beta/.env",
        "token_file": f"{ROOT}/.token",
        "units_directory": f"{ROOT}/.units",
    }
    assert spec.clone_directory(7) == f"{ROOT}/beta/volumes/postgres/data.clone-7"
    assert spec.quarantine_directory(7) == f"{ROOT}/quarantine/beta-7"


def it_leaves_room_for_the_socket_below_the_longest_base_directory():
    spec = alpha_spec(base_directory="/" + "d" * 74, port=65535)
    assert len(f"{spec.socket_directory}/.s.PGSQL.{spec.port}.lock".encode()) <= 107


HOSTILE = [
    {"cluster": "../x"},
    {"name": "$(id)"},
    {"server": "a b"},
    {"address": "h\nHost *"},
    {"port": 0},
    {"base_directory": "/d'"},
    {"bindir": "/usr/bin;id"},
    {"bindir": '/b"in'},
    {"system_identifier": "1\npeer x y 1"},
    {"database": "a\nb"},
    {"owner_role": "/re"},
    {"replication_role": "all"},
    {"panel_role": "n" * 64},
    {"client_networks": ("10.0.0.0/8\nhost all all all trust",)},
    {"panel_networks": ("all",)},
    {"settings": {"archive_command": "curl x"}},
    {"settings": {"work_mem = 1\nport": "1"}},
    {"settings": {"work_mem": "1\nport = 1"}},
]


@pytest.mark.parametrize("change", HOSTILE)
def it_cannot_be_made_of_an_unsafe_value(change):
    with pytest.raises(NameRefused):
        alpha_spec(**change)


@pytest.mark.parametrize("values", [("A;", "10.0.0.5", 1), ("alpha", "x y", 1), ("alpha", "10.0.0.5", 70000)])
def it_cannot_have_an_unsafe_member(values):
    with pytest.raises(NameRefused):
        Member(*values)


def it_cannot_follow_through_an_unsafe_slot():
    with pytest.raises(NameRefused):
        Upstream(ALPHA.name, ALPHA.address, ALPHA.port, "x'; DROP")
