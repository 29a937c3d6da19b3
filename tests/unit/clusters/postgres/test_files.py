"""The files on a server, compared as wholes with files under data/."""

from __future__ import annotations

import pytest

from clusters.postgres import files
from clusters.postgres.files import ADMITTED, ADMITTED_END, DEFAULTS, File, admitted_too
from clusters.secrets import Secret
from tests.unit.clusters.postgres.cast import ALPHA, REPLICATION_PASSWORD, alpha_spec, beta_spec, data

CHOSEN = {"work_mem": "64MB", "shared_buffers": "1GB", "search_path": "\"$user\", 'it''s\\x'"}
GAMMA = type(ALPHA)("gamma", "db3.example.com", 5432)


def it_writes_postgresql_conf_of_a_primary():
    assert files.render_postgresql_conf(alpha_spec()) == File(alpha_spec().config_file, data("primary.postgresql.conf"), 0o600)


def it_writes_postgresql_conf_of_a_standby_with_chosen_settings():
    spec = beta_spec(settings=CHOSEN)
    assert files.render_postgresql_conf(spec) == File(spec.config_file, data("standby.postgresql.conf"), 0o600)


def it_writes_pg_hba_conf():
    spec = beta_spec(
        members=(ALPHA, beta_spec().member, GAMMA), client_networks=("10.1.2.3/8", "192.0.2.7"), owner_role='a"b', database="o'rders"
    )
    assert files.render_pg_hba(spec) == File(spec.hba_file, data("standby.pg_hba.conf"), 0o600)


def it_admits_by_scram_only_and_rejects_the_rest():
    lines = [line for line in files.render_pg_hba(alpha_spec()).content.splitlines() if line and not line.startswith("#")]
    methods = [line.split()[-1] for line in lines]
    assert set(methods[:-4]) == {"scram-sha-256"}
    assert methods[-4:] == ["reject"] * 4


def it_writes_replication_conf():
    standby, primary = beta_spec(), alpha_spec()
    assert files.render_replication_conf(standby) == File(standby.replication_file, data("standby.replication.conf"), 0o600)
    assert files.render_replication_conf(primary) == File(primary.replication_file, data("primary.replication.conf"), 0o600)


def it_writes_password_files_that_only_their_owner_reads():
    spec = beta_spec()
    lines = r"10.0.0.5:5432:*:replicator:re\:pl\\ica'tion" "\n" r"2001\:db8\:\:6:5433:*:replicator:re\:pl\\ica'tion" "\n"
    assert files.render_passfile(spec, REPLICATION_PASSWORD) == File(spec.passfile, lines, 0o600, secret=True)
    line = "/var/lib/pgreplica/.run/5433:5433:*:postgres:su\\:per\n"
    assert files.render_superuser_passfile(spec, Secret("su:per")) == File(spec.superuser_passfile, line, 0o600, secret=True)
    assert files.render_pwfile(spec, Secret("su:per")) == File(spec.pwfile, "su:per\n", 0o600, secret=True)


def it_lists_every_file_of_an_instance_once():
    spec = beta_spec()
    written = files.files_of(spec, REPLICATION_PASSWORD)
    assert [file.path for file in written] == [spec.passfile, spec.hba_file, spec.replication_file, spec.config_file]
    assert all(file.mode == 0o600 and file.content.endswith("\n") for file in written)


def it_puts_no_password_outside_of_the_password_files():
    shown = [repr(file) + file.diff(None) for file in files.files_of(beta_spec(), REPLICATION_PASSWORD)]
    open_files = [file.content for file in files.files_of(beta_spec(), REPLICATION_PASSWORD) if not file.secret]
    assert not any(REPLICATION_PASSWORD.reveal() in text or r"re\:pl" in text for text in (*shown, *open_files))


@pytest.mark.parametrize(
    "name", ["max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction"]
)
def it_gives_all_members_the_same_of_what_must_match(name):
    spec = {"settings": {name: "123"}} if name != "max_prepared_transactions" else {}
    lines = [files.render_postgresql_conf(make(**spec)).content.splitlines() for make in (alpha_spec, beta_spec)]
    own = [[line for line in file if line.startswith(f"{name} =")] for file in lines]
    assert own[0] == own[1]
    assert len(own[0]) == 1


def it_tells_what_a_standby_will_have_of_what_must_not_be_less():
    defaults = {"max_connections": 100, "max_worker_processes": 8, "max_wal_senders": 10, "max_prepared_transactions": 0}
    assert files.parity_of(beta_spec()) == {**defaults, "max_locks_per_transaction": 64}
    chosen = beta_spec(settings={"Max_Connections": "200", "work_mem": "1MB"})
    assert files.parity_of(chosen) == {**defaults, "max_locks_per_transaction": 64, "max_connections": 200}


def it_has_each_default_once():
    names = [setting.name for _title, settings in DEFAULTS for setting in settings]
    assert len(names) == len(set(names))


def it_makes_a_standby_of_a_data_directory():
    assert files.standby_signal("/d") == File("/d/standby.signal", "", 0o600)


def it_shows_what_would_change():
    assert files.diff("/f", "a\nb\n", "a\nc\n") == "--- /f\n+++ /f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert files.diff("/f", None, "a\n") == "--- /dev/null\n+++ /f\n@@ -0,0 +1 @@\n+a\n"
    assert files.diff("/f", "a\n", "a\n") == ""
    assert files.diff("/f", None, "") == "--- /dev/null\n+++ /f\n"


def it_shows_of_a_secret_only_that_it_changes():
    file = File("/s", "old secret", 0o600, secret=True)
    assert file.diff("old secret") == ""
    assert file.diff("another") == file.diff(None) == "/s: a secret, not shown\n"
    assert repr(file) == "File(path='/s', content='********', mode=0o600, secret=True)"


def it_admits_the_panel_before_what_somebody_else_has_written() -> None:
    theirs = "local all all trust\nhost all all 172.0.0.0/8 trust\n"
    spec = beta_spec()
    once = admitted_too(spec, theirs)
    assert once.endswith(f"{ADMITTED_END}\n{theirs}")
    assert once.startswith(ADMITTED)
    assert 'host  replication  "replicator"  "10.0.0.5/32"  scram-sha-256' in once.splitlines()
    assert 'host  "postgres"  "pgreplica_panel"  "2001:db8::6/128"  scram-sha-256' in once.splitlines()
    assert admitted_too(spec, once) == once
