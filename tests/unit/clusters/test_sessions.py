"""A session that breaks: cut on the way, or ended by the server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from clusters.hosts.machine import OutcomeUnknown
from clusters.sessions import InstanceUnreachable, Session, SessionCut, answered, unbroken
from tests.unit.clusters.postgres.cast import alpha_spec


@pytest.fixture
def session() -> Iterator[Session]:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, row_factory=dict_row) as session:
        yield session


def it_does_not_know_the_outcome_of_what_a_cut_session_was_asked(session: Session) -> None:
    with socket.socket(fileno=os.dup(session.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
    with pytest.raises(SessionCut) as cut, answered(alpha_spec()), unbroken(alpha_spec(), session):
        session.execute("SELECT 1")
    assert isinstance(cut.value, OutcomeUnknown)
    assert "alpha does not answer at 10.0.0.5:5432" in cut.value.what


def it_takes_the_servers_word_for_its_end(session: Session) -> None:
    with pytest.raises(InstanceUnreachable) as ended, answered(alpha_spec()), unbroken(alpha_spec(), session):
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert not isinstance(ended.value, OutcomeUnknown)
