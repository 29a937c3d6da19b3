"""The cast: the cluster `orders`, its primary `alpha` and its standby `beta`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters.postgres.names import NameRefused
from clusters.postgres.spec import InstanceSpec, Member, Upstream
from clusters.secrets import Secret

DATA = Path(__file__).parent / "data"

ALPHA = Member("alpha", "10.0.0.5", 5432)
BETA = Member("beta", "2001:db8::6", 5433)
SLOT = "pgr_orders_beta"
REPLICATION_PASSWORD = Secret(r"re:pl\ica'tion")


#: Text that some sink reads in another way unless it is quoted.
HOSTILE = [
    *("plain", "a'b", 'a"b', "a\\b", "\\'", "''", '""', "a b", " a ", "#", "a#b", "a,b", "$x", "$(id)", "`id`", "%s", "{0}", ":x", "a:b"),
    *("@file", "+role", "all", "sameuser", "replication", "-x", "--", "/*", "é😀", "=", ";", "||", "\\n", "\\x27", "\\047", "E'x'"),
    *("\t", "a\tb", "*", "?", "~", "!", "&", "<b>", "|", "a\\\\b", "'; DROP ROLE x; --", "$body$", "\\gexec", "\\! id", ":'x'", "x" * 60),
]


def alpha_spec(**changes: Any) -> InstanceSpec:
    return _spec(ALPHA, **{"role": "primary", "upstream": None, **changes})


def beta_spec(**changes: Any) -> InstanceSpec:
    return _spec(BETA, **{"role": "standby", "upstream": Upstream(ALPHA.name, ALPHA.address, ALPHA.port, SLOT), **changes})


def _spec(member: Member, **changes: Any) -> InstanceSpec:
    values: dict[str, Any] = {
        "cluster": "orders",
        "name": member.name,
        "server": f"server-{member.name}",
        "address": member.address,
        "port": member.port,
        "base_directory": "/var/lib/pgreplica",
        "bindir": "/usr/lib/postgresql/16/bin",
        "major": 16,
        "database": "orders",
        "owner_role": "orders_app",
        "replication_role": "replicator",
        "panel_role": "pgreplica_panel",
        "members": (ALPHA, BETA),
        "client_networks": ("10.0.0.0/8",),
        "settings": {},
    }
    return InstanceSpec(**{**values, **changes})


def data(name: str) -> str:
    return (DATA / name).read_text()


def refusal_of(check: Callable[..., Any], *values: Any) -> NameRefused | None:
    """The refusal that a validator answers with; None when it takes the values."""
    try:
        check(*values)
    except NameRefused as refusal:
        return refusal
    return None
