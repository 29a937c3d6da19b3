"""Every statement as text: names and values quoted, secrets masked where people look."""

from __future__ import annotations

import pytest

from clusters.postgres import observe, statements
from clusters.postgres.statements import Call, Statement, display, render, script
from clusters.secrets import Secret
from tests.unit.clusters.postgres.cast import alpha_spec

ALL = [value for module in (statements, observe) for value in vars(module).values() if isinstance(value, Statement)]
OWNER, REPLICATION, PANEL = Secret("owner secret"), Secret("replication secret"), Secret("panel secret")


def it_gives_each_statement_its_own_name_and_a_purpose():
    assert len({statement.name for statement in ALL}) == len(ALL)
    assert all(statement.purpose for statement in ALL)


def it_quotes_names_and_values():
    text = display(statements.CREATE_DATABASE, {}, {"database": "o'r\"ders", "owner": "ap\\p"})
    assert text == (
        "SELECT format('CREATE DATABASE %I OWNER %I', 'o''r\"ders',  E'ap\\\\p') "
        "WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = 'o''r\"ders') \\gexec"
    )
    assert display(statements.GRANT_MONITOR, {"panel_role": 'p"; DROP ROLE x; --'}) == 'GRANT pg_monitor TO "p""; DROP ROLE x; --"'
    assert display(statements.CREATE_SLOT, {"slot": "pgr_orders_beta"}) == 'CREATE_REPLICATION_SLOT "pgr_orders_beta" PHYSICAL RESERVE_WAL'


def it_masks_secrets_for_people_and_gives_them_to_the_server():
    literals = {"verifier": Secret("SCRAM-SHA-256$x")}
    assert display(statements.ALTER_OWNER_ROLE, {"role": "app"}, literals).endswith("PASSWORD '********'")
    assert render(statements.ALTER_OWNER_ROLE, {"role": "app"}, literals).as_string(None).endswith("PASSWORD 'SCRAM-SHA-256$x'")


def it_makes_the_roles_without_a_clear_password():
    calls = statements.role_calls(alpha_spec(), OWNER, REPLICATION, PANEL)
    assert [call.display() for call in calls] == [
        _create("orders_app"),
        "ALTER ROLE \"orders_app\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '********'",
        _create("replicator"),
        "ALTER ROLE \"replicator\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION NOBYPASSRLS PASSWORD '********'",
        _create("pgreplica_panel"),
        "ALTER ROLE \"pgreplica_panel\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '********'",
    ]
    text = script(*calls)
    assert isinstance(text, Secret)
    assert not any(secret.reveal() in text.reveal() for secret in (OWNER, REPLICATION, PANEL))


def _create(role):
    found = f"SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}'"
    return f"SELECT format('CREATE ROLE %I LOGIN', '{role}') WHERE NOT EXISTS ({found}) \\gexec"


@pytest.mark.parametrize(("major", "has"), [(14, False), (15, True), (18, True)])
def it_lets_the_panel_checkpoint_where_postgres_can_grant_that(major, has):
    granted = [call.statement for call in statements.grant_calls(alpha_spec(major=major))]
    assert (statements.GRANT_CHECKPOINT in granted) == has
    assert [statement for statement in granted if statement is not statements.GRANT_CHECKPOINT] == [
        statements.GRANT_MONITOR,
        statements.GRANT_ACTS,
        statements.GRANT_REWIND,
    ]


def it_closes_the_public_schema_where_postgres_leaves_it_open():
    databases = [(call.statement.name, call.database) for call in statements.database_calls(alpha_spec(major=14))]
    assert databases == [("create_database", "postgres"), ("own_public_schema", "orders")]
    assert [call.statement.name for call in statements.database_calls(alpha_spec(major=15))] == ["create_database"]
    assert statements.schema_calls(alpha_spec(major=14))[0].statement is statements.OWN_PUBLIC_SCHEMA
    assert [call.statement.name for call in statements.schema_calls(alpha_spec())] == [
        "create_schema",
        "create_marker_table",
        "own_marker_table",
        "grant_epochs",
    ]


def it_writes_a_script_of_ended_statements():
    calls = [Call(statements.RELOAD, {}, {}), Call(statements.CREATE_ROLE, {}, {"name": "a"}), Call(statements.CHECKPOINT, {}, {})]
    lines = str(script(*calls)).splitlines()
    assert lines[:2] == ["SET search_path = pg_catalog;", "SELECT pg_catalog.pg_reload_conf();"]
    assert lines[2].endswith(" \\gexec")
    assert lines[3] == "CHECKPOINT;"


@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def it_observes_with_names_of_the_catalog_only(major):
    text = observe.observe_call(major, with_size=True).display()
    assert "CASE WHEN true THEN" in text
    assert ("datcollversion" in text) == (major >= 15)
    assert "'{archive_mode,cluster_name," in text
    assert "primary_conninfo" not in text  # it may hold a password that somebody else put there
