"""What this package says, said to a real PostgreSQL: of the embedded package, of Debian, and of PGREPLICA_TEST_BINDIRS."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from clusters.hosts.local import LocalMachine
from clusters.postgres import commands, facts, files, statements
from clusters.postgres.clone_facts import CloneFacts
from clusters.postgres.command import Command
from clusters.postgres.facts import parse_controldata, parse_identify_system
from clusters.postgres.observe import observe_call
from clusters.postgres.quoting import conf_value, hba_token
from clusters.postgres.rules import VerifyFacts, clone_obstacles, verify_findings
from clusters.postgres.settings_table import known_settings
from clusters.postgres.statements import SET_SAFE_PATH, Call
from clusters.secrets import Secret
from clusters.sessions import panel_session
from launcher.account import Account
from tests.unit.clusters.postgres.cast import HOSTILE
from tests.unit.clusters.postgres.real import DATABASE, OWNER, OWNER_PASSWORD, PANEL_PASSWORD, SUPERUSER_PASSWORD, Pair

#: Would each admit the superuser to the database postgres, were it not quoted.
KEYWORDS = [("all", "all"), ("all", "postgres"), ("postgres", "all"), ("sameuser", "postgres"), ("postgres", "+postgres")]
MONITORS = "roleid = 'pg_monitor'::regrole AND member::regrole::text LIKE '%q %'"


@pytest.fixture(scope="module", params=["embedded", *filter(None, os.environ.get("PGREPLICA_TEST_BINDIRS", "").split(":"))])
def pair(request: pytest.FixtureRequest, embedded_bindir: Path, account: Account | None) -> Iterator[Pair]:
    """A pair, cloned and streaming: of the embedded PostgreSQL, and of those whose programs PGREPLICA_TEST_BINDIRS names."""
    bindir = embedded_bindir if request.param == "embedded" else Path(request.param)
    directory = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    if account:
        account.own(directory)
    pair = Pair(directory, bindir, account)
    try:
        pair.create()
        pair.clone()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(directory, ignore_errors=True)


def until(seen, what: str):
    """What `seen` gives once it is true."""
    deadline = time.monotonic() + 20
    while not (found := seen()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)
    return found


def look(pair: Pair, **more) -> VerifyFacts:
    spec = pair.alpha
    return VerifyFacts(pair.observe(spec), pair.observe(pair.beta), "alpha", "beta", pair.slot, spec.address, spec.port, **more)


# -- the pair


def it_makes_every_object_and_no_line_that_postgres_cannot_use(pair):
    assert [row for row in pair.panel(pair.alpha, statements.objects_call(pair.alpha)) if not row["present"]] == []
    assert pair.psql(Call(statements.FILE_ERRORS, {}, {})) == ""


def it_lets_the_start_guard_ask_the_other_as_the_replication_role(pair):
    def guard(spec, expected=0):
        """The guard up to where it becomes the server, which then only prints a setting."""
        arguments = ("-D", spec.data_directory, "-c", f"config_file={spec.config_file}", "-C", "port")
        return pair.run(Command((spec.guard_program, *arguments)), expected)

    alpha, beta = pair.alpha, pair.beta
    pair.panel(alpha, Call(statements.WRITE_MARKER, {}, {"id": 60, "epoch": 1, "token": "guard"}))
    until(lambda: pair.panel(beta, Call(statements.READ_MARKER, {}, {"id": 60})), "the row arrives")
    said = f"alpha may start as a primary, on timeline 1, epoch 1; beta (127.0.0.1:{beta.port}) is a standby on timeline 1, epoch 1."
    assert said in guard(alpha)
    assert "beta starts as a standby" in guard(beta)
    signal = Path(f"{beta.data_directory}/standby.signal")
    aside = signal.rename(signal.with_suffix(".aside"))
    refused = guard(beta, expected=84)
    aside.rename(signal)
    assert f"alpha (127.0.0.1:{alpha.port}) accepts writes on timeline 1, epoch 1. beta has no standby.signal" in refused


def it_observes_a_healthy_pair(pair):
    until(lambda: look(pair).streaming, "beta streams")
    found = look(pair)
    assert verify_findings(found) == []
    assert (found.upstream.role, found.standby.role) == ("primary", "standby")
    assert found.upstream.slot(pair.slot).wal_status == "reserved"
    assert found.upstream.sender("beta").address == "127.0.0.1"
    assert found.upstream.data_checksums
    assert found.upstream.size_bytes > 10_000_000
    assert facts.InstanceFacts.from_row(found.standby.as_row()) == found.standby


TRAP = """
GRANT CREATE ON SCHEMA public TO PUBLIC;
CREATE FUNCTION public.trap(json) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught %', current_user; END $$;
CREATE FUNCTION public.nothing(json, name) RETURNS json LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION public.nothing(json, text) RETURNS json LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE public.json_agg(name) (SFUNC = public.nothing, STYPE = json, FINALFUNC = public.trap);
CREATE AGGREGATE public.json_agg(text) (SFUNC = public.nothing, STYPE = json, FINALFUNC = public.trap);
"""
UNTRAP = """
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
DROP FUNCTION public.trap(json), public.nothing(json, name), public.nothing(json, text) CASCADE;
"""


def it_calls_nothing_that_others_have_made_in_the_public_schema(pair):
    """PostgreSQL 14 lets every login make functions there, and one that fits the arguments better is preferred to the catalog's."""
    alpha, machine = pair.alpha, LocalMachine()
    pair.run(commands.psql(alpha, TRAP))
    try:
        with pytest.raises(psycopg.errors.RaiseException, match=f"caught {alpha.panel_role}"):  # the trap works
            pair.panel(alpha, observe_call(alpha.major))
        with panel_session(machine, alpha, PANEL_PASSWORD) as session:
            assert session.execute(observe_call(alpha.major).render()).fetchone()["facts"]["in_recovery"] is False
        for script in (statements.script(observe_call(alpha.major)), f"{SET_SAFE_PATH} SELECT json_agg('a'::text)"):
            pair.run(commands.psql(alpha, script))
        with pytest.raises(AssertionError, match="caught postgres"):
            pair.run(commands.psql(alpha, "SELECT json_agg('a'::text)"))
    finally:
        pair.run(commands.psql(alpha, UNTRAP))


def it_sees_the_oldest_open_transaction_of_a_client(pair):
    assert pair.observe(pair.alpha).long_transaction_seconds < 1
    with pair.connect(pair.alpha, OWNER, DATABASE, OWNER_PASSWORD) as session, session.transaction():
        session.execute("SELECT 1")
        seen = until(lambda: (age := pair.observe(pair.alpha).long_transaction_seconds) > 0.05 and age, "the transaction is seen")
        assert pair.observe(pair.alpha).long_transaction_seconds > seen
    assert pair.observe(pair.beta).long_transaction_seconds == 0


def it_may_count_what_waits_to_be_archived(pair):
    assert pair.observe(pair.alpha).archive_waiting == 0
    with pair.connect(pair.alpha, "pgreplica_panel", "postgres", PANEL_PASSWORD) as session:
        assert session.execute("SELECT count(*) AS files FROM pg_ls_archive_statusdir()").fetchall() == [{"files": 0}]


def it_finds_nothing_against_a_second_clone(pair):
    until(lambda: look(pair).streaming, "beta streams")
    for source in (pair.alpha, pair.beta):
        seen = pair.observe(source)
        clone = CloneFacts(seen, source.name, "gamma", "pgr_orders_gamma", facts.Version(seen.version_num), 10**12, 5432, True, True)
        assert clone_obstacles(clone) == []


def it_finds_the_slot_and_the_name_that_are_taken(pair):
    seen = until(lambda: look(pair).streaming and pair.observe(pair.alpha), "beta streams")
    clone = CloneFacts(seen, "alpha", "beta", pair.slot, facts.Version(seen.version_num), 10**12, 5432, True, True)
    assert [found.name for found in clone_obstacles(clone)] == ["slot_in_use", "name_in_use"]


def it_reads_a_marker_on_the_standby_and_keeps_the_higher_epoch(pair):
    def written(epoch, token):
        return pair.panel(pair.alpha, Call(statements.WRITE_MARKER, {}, {"id": 7, "epoch": epoch, "token": token}))

    read = Call(statements.READ_MARKER, {}, {"id": 7})
    assert [row["token"] for row in written(2, "it's\\one")] == ["it's\\one"]
    until(lambda: [row["token"] for row in pair.panel(pair.beta, read)] == ["it's\\one"], "the marker arrives")
    assert [row["epoch"] for row in written(3, "two")] == [3]
    assert written(2, "three") == []
    assert pair.panel(pair.alpha, Call(statements.HIGHEST_EPOCH, {}, {})) == [{"epoch": 3}]


def it_sees_that_replay_is_paused(pair):
    def names():
        return [finding.name for finding in verify_findings(look(pair))]

    pair.panel(pair.beta, Call(statements.REPLAY_PAUSE, {}, {}))
    until(lambda: "replay_paused" in names(), "the pause is seen")
    pair.panel(pair.beta, Call(statements.REPLAY_RESUME, {}, {}))
    until(lambda: names() == [], "nothing is found")


def it_reads_the_control_file_and_identify_system(pair):
    control = parse_controldata(pair.run(commands.pg_controldata(pair.beta)))
    seen = pair.observe(pair.alpha)
    assert (control.system_identifier, control.checksums, control.wal_log_hints) == (seen.system_identifier, True, True)
    identity = parse_identify_system(pair.run(commands.replication_login(pair.beta)))
    assert (identity.system_identifier, identity.timeline) == (seen.system_identifier, seen.timeline)


def it_says_whether_a_server_runs(pair):
    pair.run(commands.pg_ctl_status(pair.alpha))
    nowhere = replace(pair.alpha, name="nowhere")
    pair.run(commands.pg_ctl_status(nowhere), expected=4)


# -- who may do what


def it_gives_the_panel_no_more_than_it_needs(pair):
    with pair.connect(pair.alpha, pair.alpha.panel_role, "postgres", PANEL_PASSWORD) as panel:
        allowed = [statements.RELOAD.text, *(["CHECKPOINT"] if pair.alpha.major >= 15 else [])]
        for statement in allowed:
            panel.execute(statement)
        for statement in (
            "SELECT pg_read_file('PG_VERSION')",
            "COPY pgreplica.marker TO PROGRAM 'id'",
            "CREATE ROLE x",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "CREATE DATABASE x",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_create_physical_replication_slot('x')",
            "SET ROLE postgres",
        ):
            with pytest.raises(psycopg.Error, match=r"denied|must be|must have|only roles"):
                panel.execute(statement)


@pytest.mark.parametrize(
    ("user", "database", "password"),
    [
        ("postgres", "postgres", SUPERUSER_PASSWORD),
        ("postgres", DATABASE, SUPERUSER_PASSWORD),
        ("pgreplica_panel", DATABASE, PANEL_PASSWORD),
        (OWNER, "postgres", OWNER_PASSWORD),
        ("pgreplica_panel", "template1", PANEL_PASSWORD),
    ],
)
def it_admits_nobody_else_over_the_network(pair, user, database, password):
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects connection"):
        pair.connect(pair.alpha, user, database, password)


def it_lets_the_application_in(pair):
    with pair.connect(pair.alpha, OWNER, DATABASE, OWNER_PASSWORD) as session:
        row = session.execute("SELECT current_user AS who, current_database() AS what").fetchone()
        assert row == {"who": OWNER, "what": DATABASE}
        session.execute("CREATE TABLE IF NOT EXISTS t (id int)")


def it_asks_even_the_superuser_on_the_socket_for_a_password(pair):
    wrong = commands.psql(pair.alpha, "SELECT 1;")
    argv = [word.replace("superuser_passfile", "passfile") for word in wrong.argv]
    assert "no password supplied" in pair.run(Command(tuple(argv), stdin="SELECT 1;"), expected=2)


def it_keeps_passwords_out_of_everything_but_the_password_files(pair):
    shown = [pair.run(Command(("/bin/cat", spec.log_file, spec.config_file, spec.hba_file))) for spec in (pair.alpha, pair.beta)]
    for secret in (SUPERUSER_PASSWORD, OWNER_PASSWORD, PANEL_PASSWORD):
        assert not any(secret.reveal() in text for text in shown)


# -- quoting


def it_carries_conf_values_through(pair):
    main, quoted = Path(pair.alpha.config_file), Path(pair.alpha.conf_directory) / "quoting.conf"
    original = main.read_text()
    pair.put(files.File(str(quoted), "".join(f"q.v{n} = {conf_value(text)}\n" for n, text in enumerate(HOSTILE)), 0o600))
    try:
        main.write_text(f"{original}include 'quoting.conf'\n")
        pair.panel(pair.alpha, Call(statements.RELOAD, {}, {}))
        with pair.connect(pair.alpha, pair.alpha.panel_role, "postgres", PANEL_PASSWORD) as panel:
            until(lambda: panel.execute("SELECT current_setting('q.v0', true) AS v").fetchone()["v"], "the file is read")
            read = [panel.execute(f"SELECT current_setting('q.v{n}') AS v").fetchone()["v"] for n in range(len(HOSTILE))]
    finally:
        main.write_text(original)
    assert read == HOSTILE


def it_carries_pg_hba_tokens_through(pair):
    file = Path(pair.alpha.hba_file)
    original = file.read_text()
    names = [text for text in HOSTILE if not text.startswith("/")]
    lines = "".join(f'host {hba_token(text)} {hba_token(text)} "192.0.2.7/32" scram-sha-256\n' for text in names)
    rules = "json_build_array(database, user_name, error) ORDER BY line_number"
    query = f"SELECT json_agg({rules}) FROM pg_hba_file_rules WHERE address = '192.0.2.7';"
    try:
        file.write_text(original + lines)
        read = pair.run(commands.psql(pair.alpha, query))
    finally:
        file.write_text(original)
    # The server shows keywords and quoted names alike; the next test sees that quoted keywords are names.
    assert json.loads(read) == [[[text], [text], None] for text in names]


def it_takes_quoted_keywords_of_pg_hba_for_names(pair):
    file = Path(pair.alpha.hba_file)
    original = file.read_text()
    trusted = [*((hba_token(word), hba_token(user)) for word, user in KEYWORDS), ("all", hba_token("probe"))]
    pair.psql(Call(statements.CREATE_ROLE, {}, {"name": "probe"}))

    def enters(user):
        with suppress(psycopg.OperationalError), pair.connect(pair.alpha, user, "postgres", Secret("not asked for")):
            return True
        return False

    try:
        file.write_text("".join(f"host {database} {user} all trust\n" for database, user in trusted) + original)
        pair.panel(pair.alpha, Call(statements.RELOAD, {}, {}))
        until(lambda: enters("probe"), "the lines are in effect")
        assert not enters("postgres")
    finally:
        file.write_text(original)
        pair.panel(pair.alpha, Call(statements.RELOAD, {}, {}))


def it_carries_names_and_values_through_psql(pair):
    names = [f"q {text}" for text in HOSTILE]
    pair.psql(*(Call(statements.CREATE_ROLE, {}, {"name": name}) for name in names))
    read = pair.run(commands.psql(pair.alpha, "SELECT json_agg(rolname ORDER BY oid) FROM pg_roles WHERE rolname LIKE 'q %';"))
    assert json.loads(read) == names
    pair.psql(*(Call(statements.GRANT_MONITOR, {"panel_role": name}, {}) for name in names))
    assert pair.run(commands.psql(pair.alpha, f"SELECT count(*) FROM pg_auth_members WHERE {MONITORS};")) == f"{len(names)}\n"


# -- settings


def it_knows_the_settings_of_this_version(pair):
    with pair.connect(pair.alpha, pair.alpha.panel_role, "postgres", PANEL_PASSWORD) as panel:
        rows = panel.execute("SELECT lower(name) AS name, vartype, unit, min_val, max_val, enumvals, context FROM pg_settings").fetchall()
    real = {row["name"]: row for row in rows}
    for known in known_settings().values():
        if not known.since <= pair.alpha.major <= known.until:
            assert known.name not in real or known.name == "io_method", known
        elif row := real.get(known.name):  # a setting of a build option may be missing
            assert row["context"] != "internal"
            assert known.type in (row["vartype"], "string"), known
            assert known.unit == (row["unit"] or ""), known
            assert set(row["enumvals"] or ()) <= set(known.values), known
            assert (
                known.type not in ("integer", "real") or known.low <= float(row["min_val"]) <= float(row["max_val"]) <= known.high * 1.00001
            )


def it_does_not_take_a_setting_that_waits_for_a_restart_for_a_wrong_one(pair):
    file = Path(pair.alpha.config_file)
    original = file.read_text()

    def pending():
        pair.panel(pair.alpha, Call(statements.RELOAD, {}, {}))
        return pair.observe(pair.alpha).pending_restart

    try:
        file.write_text(original.replace("\nmax_connections = 100", "\nmax_connections = 101"))
        until(lambda: pending() == ("max_connections",), "the change is seen")
        assert pair.psql(Call(statements.FILE_ERRORS, {}, {})) == ""
        assert [finding.name for finding in verify_findings(look(pair))] == ["restart_pending"]
        file.write_text(original + "work_mem = 'much'\n")
        until(lambda: pair.psql(Call(statements.FILE_ERRORS, {}, {})), "the wrong line is seen")
    finally:
        file.write_text(original)
    until(lambda: pending() == (), "the change is taken back")


def it_finds_a_wrong_setting_without_a_start(pair):
    path = Path(pair.alpha.conf_directory) / "wrong.conf"
    pair.put(files.File(str(path), "work_mem = '64GBB'\n", 0o600))
    check = commands.postgres_check(pair.alpha)
    argv = tuple(word.replace("postgresql.conf", "wrong.conf") for word in check.argv)
    assert "work_mem" in pair.run(replace(check, argv=argv), expected=1)
