"""Quoting, undone by a parser that is not ours: libpq's for connection strings; the server's files are in test_against_postgres."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PGconn

from clusters.postgres.quoting import Unquotable, conf_value, conninfo, hba_address, hba_token, pgpass_line, uri
from clusters.secrets import Secret
from tests.unit.clusters.postgres.cast import ALPHA, BETA

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
LINE = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=("Cs",)))


@given(TEXT, TEXT, TEXT)
def it_writes_connection_strings_that_libpq_reads_back(user, database, passfile):
    text = conninfo({"host": "10.0.0.5", "port": 5432, "user": user, "dbname": database, "passfile": passfile})
    assert conninfo_to_dict(text) == {"host": "10.0.0.5", "port": "5432", "user": user, "dbname": database, "passfile": passfile}


@given(TEXT.filter(bool), TEXT.filter(bool), TEXT.filter(bool))
def it_writes_uris_that_libpq_reads_back(user, database, password):
    read = conninfo_to_dict(uri([ALPHA, BETA], user, database, Secret(password), target_session_attrs="read-write").reveal())
    assert read == {
        "host": "10.0.0.5,2001:db8::6",
        "port": "5432,5433",
        "user": user,
        "dbname": database,
        "password": password,
        "target_session_attrs": "read-write",
    }


def it_writes_a_uri_of_every_host():
    assert uri([ALPHA, BETA], "app", "orders") == "postgresql://app@10.0.0.5:5432,[2001:db8::6]:5433/orders"
    assert uri([ALPHA], "a@b", "o/r?d#e%s") == "postgresql://a%40b@10.0.0.5:5432/o%2Fr%3Fd%23e%25s"


def it_hides_a_uri_as_soon_as_it_holds_a_password():
    text = uri([ALPHA], "app", "orders", Secret("p#ss:w/rd@"))
    assert isinstance(text, Secret)
    assert text.reveal() == "postgresql://app:p%23ss%3Aw%2Frd%40@10.0.0.5:5432/orders"


@pytest.mark.parametrize(
    ("value", "written"),
    [("10.0.0.5", "'10.0.0.5'"), ("a'b", "'a''b'"), ("a\\b", "'a\\\\b'"), ("", "''"), ("# é $x", "'# é $x'"), ("\t", "'\t'")],
)
def it_writes_conf_values(value, written):
    assert conf_value(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("all", '"all"'),
        ("+app", '"+app"'),
        ("@file", '"@file"'),
        ('a"b', '"a""b"'),
        ("a b,c#d", '"a b,c#d"'),
        ("10.0.0.0/8", '"10.0.0.0/8"'),
    ],
)
def it_writes_pg_hba_tokens(value, written):
    assert hba_token(value) == written


@pytest.mark.parametrize(
    ("address", "written"), [("10.0.0.5", '"10.0.0.5/32"'), ("2001:db8::6", '"2001:db8::6/128"'), ("db1.example.com", '"db1.example.com"')]
)
def it_writes_pg_hba_addresses_of_one_host(address, written):
    assert hba_address(address) == written


def read_by_libpq(path: Path, host: str, user: str) -> str:
    """The password that libpq takes from a password file; it looks before it connects, so nobody has to listen."""
    where = conninfo({"host": host, "port": 1, "user": user, "dbname": "x", "passfile": str(path)})
    connection = PGconn.connect_start(where.encode())
    try:
        return connection.password.decode()
    finally:
        connection.finish()


@given(user=LINE.filter(bool), password=LINE.filter(bool))
@example(user="#", password="#")
@example(user="*", password="a:b\\")
@example(user="x", password=" ")
def it_writes_password_files_that_libpq_reads_back(tmp_path_factory, user, password):
    path = tmp_path_factory.getbasetemp() / "passfile"
    lines = [
        "# a comment",
        *(pgpass_line(host, 1, "*", user, Secret(secret)) for host, secret in (("10.0.0.9", "wrong"), ("127.0.0.1", password))),
    ]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    path.chmod(0o600)
    assert read_by_libpq(path, "127.0.0.1", user) == password


def it_writes_password_files_for_a_socket(tmp_path):
    path, directory = tmp_path / "passfile", "/run/a:b"
    path.write_text(pgpass_line(directory, 1, "*", "postgres", Secret("x:y")) + "\n")
    path.chmod(0o600)
    assert read_by_libpq(path, directory, "postgres") == "x:y"


def it_writes_password_file_lines():
    assert pgpass_line("2001:db8::6", 5432, "*", "a\\b", Secret("p:w\\d# é")) == r"2001\:db8\:\:6:5432:*:a\\b:p\:w\\d# é"


@pytest.mark.parametrize("broken", ["a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("sink", [conf_value, hba_token, lambda value: pgpass_line("h", 1, "*", "u", Secret(value))])
def it_refuses_what_would_begin_a_new_line(sink, broken):
    with pytest.raises(Unquotable) as refusal:
        sink(broken)
    assert broken not in str(refusal.value)


def it_refuses_what_a_sink_cannot_say():
    with pytest.raises(Unquotable):
        hba_token("/pattern")
    with pytest.raises(Unquotable):
        hba_token("")
    with pytest.raises(Unquotable):
        conninfo({"user": "a\0b"})
    with pytest.raises(Unquotable):
        pgpass_line("h", 1, "*", "", Secret("x"))
