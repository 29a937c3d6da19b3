"""A PostgreSQL container on a server of the lab, as a person would start one by hand, and a way to ask it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from tests.lab.server import LabServer
from tests.waiting import wait_until

PASSWORD = "a password of the tests"


def start(
    server: LabServer, *words: str, name: str = "db", tag: str = "postgres:16", port: int = 5432, command: tuple[str, ...] = ()
) -> None:
    """`docker run`, detached; `words` are further options. Waits for the first answer."""
    options = ("--name", name, "--publish", f"{port}:5432", "--env", f"POSTGRES_PASSWORD={PASSWORD}")
    server.docker("run", "--detach", *options, *words, tag, *command)
    wait_until(lambda: answers(server, port), f"PostgreSQL of {server.name}", 60)


@contextlib.contextmanager
def connection(server: LabServer, port: int = 5432, **options: Any) -> Iterator[psycopg.Connection]:
    given: dict[str, Any] = {"user": "postgres", "password": PASSWORD, "dbname": "postgres", "connect_timeout": 3} | options
    with psycopg.connect(host=server.address, port=port, autocommit=True, **given) as opened:
        yield opened


def answers(server: LabServer, port: int = 5432) -> bool:
    try:
        with connection(server, port) as opened:
            opened.execute("SELECT 1")
            return True
    except psycopg.Error:
        return False


def value(server: LabServer, query: str, *, port: int = 5432, **options: Any) -> object:
    with connection(server, port, **options) as opened:
        row = opened.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
