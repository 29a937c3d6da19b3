"""When the static files have to be collected again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from launcher.state import State

CHECKOUT = Path(__file__).resolve().parent.parent


def fingerprint() -> str:
    """A hash over what the collected files come from: the locked packages, and each static file of the project."""
    digest = hashlib.sha256((CHECKOUT / "requirements.txt").read_bytes())
    for path in sorted(_sources()):
        status = path.stat()
        digest.update(f"{path.relative_to(CHECKOUT)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def is_current(state: State) -> bool:
    try:
        return _stamp(state).read_text() == fingerprint()
    except FileNotFoundError:
        return False


def mark_current(state: State) -> None:
    _stamp(state).write_text(fingerprint())


def _stamp(state: State) -> Path:
    return state.root / "static.stamp"


def _sources() -> Iterator[Path]:
    for directory in (CHECKOUT / "static", *CHECKOUT.glob("*/static")):
        yield from (path for path in directory.rglob("*") if path.is_file())
