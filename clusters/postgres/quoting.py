"""How each sink quotes a value. One function per sink, each undone by the sink's own parser (proven in the tests).

SQL is not here: `psycopg.sql` quotes it (see `statements`). Shell words are `shlex.quote`d by whoever talks to a shell.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, overload
from urllib.parse import quote

from clusters.secrets import Secret

_PLAIN_CONNINFO: Final = re.compile(r"[A-Za-z0-9_./:@%+-]+")


class Host(Protocol):
    """Where a server listens; `spec.Member` is one."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...


class Unquotable(ValueError):
    """A value that the file or protocol has no way to express. The validators of `names` refuse it earlier, with a sentence."""


def _one_line(value: str, sink: str) -> str:
    if any(char in value for char in "\0\n\r"):
        raise Unquotable(f"a value with a line break or NUL cannot be written to {sink}")
    return value


def conf_value(value: str) -> str:
    """A postgresql.conf string: in single quotes, quotes and backslashes doubled (the server's reader knows both escapes)."""
    escaped = _one_line(value, "postgresql.conf").replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def hba_token(value: str) -> str:
    """A pg_hba.conf token in double quotes, so that `all`, `+role` and `@file` lose their meaning.

    A leading slash keeps its meaning even in quotes (PostgreSQL 16+, regular expressions); it is refused.
    """
    if not value or value.startswith("/"):
        raise Unquotable("a pg_hba.conf token is not empty and does not begin with a slash")
    escaped = _one_line(value, "pg_hba.conf").replace('"', '""')
    return f'"{escaped}"'


def hba_address(address: str) -> str:
    """The address token of one host: an IP address with its full mask, or the host name."""
    try:
        return hba_token(str(ipaddress.ip_network(address)))
    except ValueError:
        return hba_token(address)


def conninfo(values: Mapping[str, str | int]) -> str:
    """A libpq keyword/value string; values are quoted where they need it."""
    return " ".join(f"{key}={_conninfo_value(str(value))}" for key, value in values.items())


def _conninfo_value(value: str) -> str:
    if "\0" in value:
        raise Unquotable("a value with NUL cannot be written to a connection string")
    if _PLAIN_CONNINFO.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def pgpass_line(host: str, port: int | str, database: str, user: str, password: Secret) -> str:
    """One line of a password file, without the line break. `*` as port or database matches any."""
    fields = (host, str(port), database, user, password.reveal())
    if any(_one_line(field, "a password file") == "" for field in fields):
        raise Unquotable("a field of a password file cannot be empty")
    return ":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields)


@overload
def uri(hosts: Sequence[Host], user: str, database: str, password: None = None, **params: str) -> str: ...
@overload
def uri(hosts: Sequence[Host], user: str, database: str, password: Secret, **params: str) -> Secret: ...
def uri(hosts: Sequence[Host], user: str, database: str, password: Secret | None = None, **params: str) -> str | Secret:
    """A libpq URI that names every host; a Secret as soon as it holds a password."""
    where = ",".join(f"{f'[{host.address}]' if ':' in host.address else quote(host.address, safe='')}:{host.port}" for host in hosts)
    who = quote(user, safe="") + (f":{quote(password.reveal(), safe='')}" if password else "")
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in params.items())
    text = f"postgresql://{who}@{where}/{quote(database, safe='')}{f'?{query}' if query else ''}"
    return Secret(text) if password else text
