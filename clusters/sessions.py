"""SQL sessions of the panel's role on a managed instance. Short: opened for one thing, closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.utils.translation import gettext_noop as _
from psycopg import sql
from psycopg.rows import dict_row

from clusters.hosts.machine import HostError, Machine, OutcomeUnknown
from clusters.postgres.names import SUPERUSER
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import SAFE_PATH
from clusters.secrets import Secret

Session = psycopg.Connection[dict[str, Any]]

CONNECT_SECONDS: Final = 5
STATEMENT_MS: Final = 15_000


class InstanceUnreachable(HostError):
    """No SQL session with the instance could be opened or kept. Whether the server runs is another question."""


class SessionCut(InstanceUnreachable, OutcomeUnknown):
    """A session that was open broke, without a word from the server. What was asked of it last may have been done."""


class StatementFailed(HostError):
    """The instance answered a statement with an error."""


def rows_of(session: Session, statement: sql.Composed) -> list[dict[str, Any]]:
    """Run a statement; its rows, none where it is of a kind that gives none."""
    cursor = session.execute(statement)
    return cursor.fetchall() if cursor.description else []


@contextmanager
def panel_session(machine: Machine, spec: InstanceSpec, password: Secret, database: str = SUPERUSER) -> Iterator[Session]:
    """An autocommit session as the panel's role. Raises: InstanceUnreachable, SessionCut, StatementFailed; never a psycopg error."""
    with (
        machine.forward(spec.address, spec.port) as (host, port),
        answered(spec),
        psycopg.connect(
            host=host,
            port=port,
            user=spec.panel_role,
            password=password.reveal(),
            dbname=database,
            connect_timeout=CONNECT_SECONDS,
            application_name="pgreplica-admin",
            options=f"-c statement_timeout={STATEMENT_MS} {SAFE_PATH}",
            autocommit=True,
            row_factory=dict_row,
        ) as connection,
        unbroken(spec, connection),
    ):
        yield connection


@contextmanager
def unbroken(spec: InstanceSpec, session: Session) -> Iterator[None]:
    """Tells a session that was cut from one that cannot be opened. Raises: SessionCut, and what psycopg raises."""
    try:
        yield
    except psycopg.OperationalError as error:
        if error.sqlstate is None and session.closed:
            raise _not_answering(SessionCut, spec, error) from error
        raise


@contextmanager
def answered(spec: InstanceSpec) -> Iterator[None]:
    """psycopg's errors as the panel's own. Raises: InstanceUnreachable, StatementFailed."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise _not_answering(InstanceUnreachable, spec, error) from error
    except psycopg.Error as error:
        raise StatementFailed(
            _("%(name)s refused a statement: %(error)s"),
            _("The server's log has the details."),
            name=spec.name,
            error=_first_line(error),
        ) from error


def _not_answering(kind: type[InstanceUnreachable], spec: InstanceSpec, error: psycopg.OperationalError) -> InstanceUnreachable:
    return kind(
        _("%(name)s does not answer at %(address)s:%(port)s: %(error)s"),
        _("See whether it runs (the cluster page can start it) and what its log says."),
        name=spec.name,
        address=spec.address,
        port=spec.port,
        error=_first_line(error),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
