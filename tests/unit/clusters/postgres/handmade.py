"""A pair as people make it by hand, as a discovery has found it: here so well made that nothing is to be said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clusters.postgres.found import Found, Group, HbaLine, Mounted, Port, RoleSeen, groups
from tests.unit.clusters.postgres.cast import ALPHA, BETA
from tests.unit.clusters.postgres.pair import primary, standby

DIGEST = "postgres@sha256:" + 64 * "a"
DATA = "/var/lib/postgresql/data"
SETTINGS = {
    "config_file": "/etc/postgresql/postgresql.conf",
    "hba_file": "/etc/postgresql/pg_hba.conf",
    "fsync": "on",
    "ssl": "on",
    "full_page_writes": "on",
    "archive_mode": "off",
    "max_slot_wal_keep_size": "1024",
    "wal_keep_size": "64",
}


def line(user: str, method: str, address: str = "", netmask: str = "", *, database: str = "all", number: int = 3) -> HbaLine:
    return HbaLine(number, "host" if address else "local", (database,), (user,), address, netmask, method, "")


def well_made(**changed: Any) -> Found:
    """The primary."""
    found = Found(
        server="alpha", address=ALPHA.address, way="container", name="db", state="running", image=DIGEST, image_id="sha256:aa",
        restart="no", stop_seconds=60, published=(Port(ALPHA.address, ALPHA.port, 5432),), mounts=(Mounted("bind", "/srv/db", DATA),),
        env=("PGDATA", "POSTGRES_PASSWORD_FILE"), user="999:999", superuser="postgres", data_directory=DATA, socket="/var/run/postgresql",
        port=5432, libc="glibc 2.36", observed=primary().as_row(), settings=SETTINGS, databases=(("shop", "shop"),),
        hba=(line("shop", "scram-sha-256", "10.0.0.0", "255.0.0.0"),), roles=(RoleSeen("postgres", True, True, "scram"),),
    )  # fmt: skip
    return replace(found, **changed)


def follower(**changed: Any) -> Found:
    """Its standby."""
    found = well_made(
        server="beta", address=BETA.address, name="db2", published=(Port(BETA.address, BETA.port, 5432),), observed=standby().as_row()
    )
    return replace(found, **changed)


def group(*found: Found) -> Group:
    (made,) = groups(found)
    return made
