"""The panel's two key files, made at the first start and readable by their owner only.

They are apart from each other and from the database, so that neither a copy of the database nor a leaked
`SECRET_KEY` opens the stored secrets.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.fernet import Fernet


def _ensure(path: Path, make: Callable[[], str]) -> None:
    """Write `make()` to `path` with mode 0600. A file that exists is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(make() + "\n")


def encryption_keys_ensure(path: Path) -> Path:
    """The file of the keys that encrypt stored secrets, one a line, the newest first."""
    _ensure(path, lambda: Fernet.generate_key().decode())
    return path


def secret_key_ensure(path: Path) -> str:
    """The key of Django's signatures."""
    _ensure(path, lambda: secrets.token_urlsafe(48))
    return path.read_text().strip()
