"""The unprivileged user that owns and runs every PostgreSQL when the panel runs as root.

PostgreSQL refuses root. Only its own programs are started as another user: Python is not, because the interpreter
may lie in a directory that only root can enter.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.complaint import CannotStart

SYSTEM_USER = "pgreplica"
CANNOT_CHANGE_USER = (
    "PostgreSQL refuses to run as root, and this environment does not let root change to the user '{name}' ({why}). "
    "Start ./pgreplica as a normal user, or give the container the SETUID, SETGID and CHOWN capabilities."
)


@dataclass(frozen=True)
class Account:
    """A system user that PostgreSQL runs as."""

    name: str
    uid: int
    gid: int

    def popen(self) -> dict[str, Any]:
        """What `subprocess` needs to start a program as this user. HOME is where it may look for files: nowhere."""
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "umask": 0o077}

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


def unprivileged(data_directory: Path | None = None) -> Account | None:
    """The user for PostgreSQL; None when we are not root and PostgreSQL runs as ourselves.

    The owner of a data directory that exists stays its user. Else `postgres`, else a system user made now, else `nobody`.
    Raises: CannotStart when root may not change user here.
    """
    if os.geteuid() != 0:
        return None
    account = _owner(data_directory) or _find("postgres") or _find(SYSTEM_USER) or _create() or _find("nobody")
    if account is None:
        raise CannotStart("PostgreSQL refuses to run as root and no other user was found. Make one: useradd --system pgreplica")
    _try(account)
    return account


def _find(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _owner(data_directory: Path | None) -> Account | None:
    if data_directory is None or not data_directory.exists() or data_directory.stat().st_uid == 0:
        return None
    try:
        return _find(pwd.getpwuid(data_directory.stat().st_uid).pw_name)
    except KeyError:
        raise CannotStart(
            f"the panel's database in {data_directory} belongs to a user that this machine does not know "
            f"(number {data_directory.stat().st_uid}). Give it to one that it knows: chown -R postgres {data_directory.parent}"
        ) from None


def _create() -> Account | None:
    if shutil.which("useradd") is None:
        return None
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    subprocess.run([*command, SYSTEM_USER], check=False, capture_output=True, timeout=30)
    return _find(SYSTEM_USER)


def _try(account: Account) -> None:
    try:
        subprocess.run(["/bin/sh", "-c", ":"], check=True, cwd="/", timeout=30, **account.popen())
    except (PermissionError, subprocess.SubprocessError) as error:
        raise CannotStart(CANNOT_CHANGE_USER.format(name=account.name, why=str(error))) from None
