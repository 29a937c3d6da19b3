"""Settings for a cluster: known to that PostgreSQL, of the right type and range, and harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.postgres.names import NameRefused
from clusters.postgres.refused import has_control
from clusters.postgres.settings import FLOORS, in_unit, setting
from clusters.postgres.settings_table import known_settings
from tests.unit.clusters.postgres.cast import refusal_of

ACCEPTED = [
    ("work_mem", "64MB", 14),
    ("work_mem", "65536", 18),
    ("work_mem", "1.5 GB", 18),
    ("shared_buffers", "1GB", 15),
    ("checkpoint_timeout", "15min", 15),
    ("statement_timeout", "0", 15),
    ("random_page_cost", "1.1", 15),
    ("wal_compression", "LZ4", 15),
    ("jit", "off", 15),
    ("search_path", "\"$user\", 'a\\b'", 15),
    ("log_line_prefix", "%m #; $(id) `id`", 15),
    ("max_slot_wal_keep_size", "1GB", 15),
    ("io_method", "worker", 18),
    ("autovacuum_vacuum_cost_delay", "2ms", 15),
    ("log_min_duration_statement", "-1", 15),
]

CODE = [
    "archive_command",
    "restore_command",
    "archive_library",
    "shared_preload_libraries",
    "session_preload_libraries",
    "local_preload_libraries",
    "ssl_passphrase_command",
    "archive_cleanup_command",
    "recovery_end_command",
    "dynamic_library_path",
    "jit_provider",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "include",
    "include_dir",
    "include_if_exists",
    "log_directory",
    "log_filename",
    "krb_server_keyfile",
    "ssl_cert_file",
    "extension_control_path",
    "oauth_validator_libraries",
    "allow_system_table_mods",
    "zero_damaged_pages",
    "debug_io_direct",
]
OWNED = [
    "port",
    "listen_addresses",
    "primary_conninfo",
    "primary_slot_name",
    "synchronous_standby_names",
    "cluster_name",
    "unix_socket_directories",
    "ssl",
]
SAFETY = [
    "fsync",
    "full_page_writes",
    "wal_level",
    "wal_log_hints",
    "hot_standby",
    "password_encryption",
    "archive_mode",
    "standard_conforming_strings",
]

REFUSED = [
    *((name, "on", 15) for name in (*CODE, *OWNED, *SAFETY)),
    ("work_mem", "on\nport=1", 15),
    ("work_mem", "64GBB", 15),
    ("work_mem", "64mb", 15),
    ("work_mem", "-1", 15),
    ("work_mem", "0x1F", 15),
    ("work_mem", "٥٤", 15),
    ("work_mem", "64MB # x", 15),
    ("work_mem", "'x'", 15),
    ("work_mem", "", 15),
    ("work_mem", "1e9", 15),
    ("work_mem", "5s", 15),
    ("work_mem", "nan", 15),
    ("random_page_cost", "inf", 15),
    ("max_connections", "1 min", 15),
    ("max_connections", "1", 15),
    ("max_connections", "100.5", 15),
    ("max_wal_senders", "0", 15),
    ("max_slot_wal_keep_size", "-1", 15),
    ("jit", "maybe", 15),
    ("wal_compression", "rot13", 15),
    ("search_path", "a\nport = 1", 15),
    ("search_path", "a\0b", 15),
    ("search_path", "a\u202eb", 15),
    ("search_path", "x" * 1001, 15),
    ("io_method", "worker", 17),
    ("nonsense", "1", 15),
    ("server_version", "15", 15),
    ("myapp.tenant", "1", 15),
    ("plperl.on_init", "1", 15),
    ("", "1", 15),
    ("work_mem ", "64MB", 15),
    ("work_mem\nport", "1", 15),
    ("work mem", "1", 15),
    ("work_mem = 1; port", "1", 15),
    ("ｗork_mem", "64MB", 15),
    ("FSYNC", "off", 15),
]


@pytest.mark.parametrize(("name", "value", "major"), ACCEPTED)
def it_takes(name, value, major):
    assert setting(name, value, major) == (name, value)


@pytest.mark.parametrize(("name", "value", "major"), REFUSED)
def it_refuses_with_a_sentence(name, value, major):
    with pytest.raises(NameRefused) as refusal:
        setting(name, value, major)
    assert refusal.value.field == "settings"
    assert refusal.value.sentence.startswith("settings: ")
    assert refusal.value.sentence.endswith(".")
    assert not has_control(refusal.value.sentence)


@given(st.text(), st.text(), st.integers(14, 18))
def it_never_fails_in_another_way(name, value, major):
    for tried in (name, "work_mem", "search_path", "jit", "wal_compression"):
        refusal = refusal_of(setting, tried, value, major)
        assert refusal is None or not has_control(refusal.sentence)
        assert refusal or setting(tried, value, major) == (tried.lower(), value)


def it_writes_names_in_small_letters():
    assert setting("Work_Mem", "64MB", 15) == ("work_mem", "64MB")


def it_knows_the_floors_and_ranges_of_real_settings():
    assert all(name in known_settings() for name in FLOORS)
    assert all(known.low <= known.high and 14 <= known.since <= known.until <= 18 for known in known_settings().values())


@pytest.mark.parametrize(
    ("value", "unit", "number"),
    [
        ("64MB", "kB", 65536),
        ("1.5GB", "MB", 1536),
        ("16", "kB", 16),
        ("8kB", "8kB", 1),
        ("2h", "s", 7200),
        ("500us", "ms", 0.5),
        ("1 d", "min", 1440),
    ],
)
def it_converts_units(value, unit, number):
    assert in_unit(value, unit) == number


@pytest.mark.parametrize(("value", "unit"), [("1s", "kB"), ("1MB", ""), ("1kb", "kB"), ("--1", ""), ("1 2", ""), ("", "")])
def it_knows_no_number_of_another_unit(value, unit):
    assert in_unit(value, unit) is None
