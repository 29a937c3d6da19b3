"""Where the panel keeps what is its own: keys, the embedded database and broker, sockets.

Standard library only: `./pgreplica` reads it before the environment exists.
"""

from __future__ import annotations

import os
from pathlib import Path


def state_directory() -> Path:
    """`PGREPLICA_STATE_DIR`, else /var/lib/pgreplica-admin for root, else ~/.local/state/pgreplica-admin."""
    given = os.environ.get("PGREPLICA_STATE_DIR")
    if given:
        return Path(given).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/pgreplica-admin")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pgreplica-admin"
