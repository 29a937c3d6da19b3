"""The state directory: everything the panel keeps as its own, apart from the checkout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT_STATE_DIRECTORY = Path("/var/lib/pgreplica-admin")


def state_directory() -> Path:
    """`PGREPLICA_STATE_DIR`, else /var/lib/pgreplica-admin for root, else ~/.local/state/pgreplica-admin."""
    given = os.environ.get("PGREPLICA_STATE_DIR")
    if given:
        return Path(given).expanduser().absolute()
    if os.geteuid() == 0:
        return ROOT_STATE_DIRECTORY
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pgreplica-admin"


@dataclass(frozen=True)
class State:
    """Where each thing lies below the state directory."""

    root: Path

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    @property
    def panel_file(self) -> Path:
        """How to reach the running panel's parts; passwords in it, so 0600."""
        return self.root / "panel.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def programs(self) -> Path:
        """The embedded PostgreSQL programs, a directory per version."""
        return self.root / "postgres"

    @property
    def database(self) -> Path:
        return self.root / "database"

    @property
    def database_socket(self) -> Path:
        return self.root / "run" / "db"

    @property
    def broker(self) -> Path:
        return self.root / "broker"

    @property
    def broker_socket(self) -> Path:
        return self.root / "run" / "broker"

    @property
    def ready(self) -> Path:
        """Where processes say that they are ready."""
        return self.root / "run" / "ready"

    @property
    def static(self) -> Path:
        return self.root / "static"

    @property
    def clusters(self) -> Path:
        """Base directory of this machine as a server."""
        return self.root / "clusters"
