"""The Python environment: made on first use from the hash-locked requirements, refreshed when a lock file changes."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from launcher.complaint import CannotStart
from launcher.state import state_directory

Requirements = Literal["embedded", "dev"]
OWN = ".venv"
PYTHON = Path("bin", "python")
STAMP = "pgreplica.json"  # {"embedded": sha256 of the lock file installed, "dev": ...}, in the environment
NO_VENV = (
    "this Python ({version}) cannot make environments: its module {module} is missing. "
    "On Debian and Ubuntu: apt-get install python3-venv; then run the command again."
)


def location(checkout: Path) -> Path:
    """`.venv` of the checkout, or `venv` in the state directory where the checkout may not be written."""
    own = checkout / OWN
    writable = os.access(own if own.exists() else checkout, os.W_OK)
    return own if writable else state_directory() / "venv"


def is_inside(checkout: Path) -> bool:
    """Whether this process runs in the environment, or in another that was made for the panel."""
    place = location(checkout)
    return (place.exists() and os.path.samefile(sys.prefix, place)) or bool(_stamp(Path(sys.prefix)))


def ensure(checkout: Path, requirements: Requirements) -> Path:
    """Make or refresh the environment so that it holds `requirements`. Returns its Python.

    Raises: CannotStart with what is missing on this machine.
    """
    own, place = checkout / OWN, location(checkout)
    for made in (own, place):  # what lies in the checkout is good for those, too, who may not change it
        if _holds(checkout, made, requirements):
            return made / PYTHON
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place.parent):
        if not _holds(checkout, place, requirements):
            _install(checkout, place, place / PYTHON, checkout / f"requirements-{requirements}.txt")
            _mark(checkout, place, requirements)
    return place / PYTHON


def _holds(checkout: Path, place: Path, requirements: Requirements) -> bool:
    return (place / PYTHON).exists() and _stamp(place).get(requirements) == _hash(checkout, requirements)


def _mark(checkout: Path, place: Path, requirements: Requirements) -> None:
    installed: tuple[Requirements, ...] = ("embedded", "dev") if requirements == "dev" else ("embedded",)  # dev holds all of embedded
    (place / STAMP).write_text(json.dumps(_stamp(place) | {name: _hash(checkout, name) for name in installed}))


def _hash(checkout: Path, requirements: Requirements) -> str:
    return hashlib.sha256((checkout / f"requirements-{requirements}.txt").read_bytes()).hexdigest()


def _stamp(place: Path) -> dict[str, str]:
    try:
        stamp = json.loads((place / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One maker at a time; the lock is the directory itself, so no file is left behind."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(checkout: Path, place: Path, python: Path, lock_file: Path) -> None:
    say(f"installing {lock_file.name} into {place} (once; about a quarter of a minute)")
    uv = shutil.which("uv")
    if not python.exists():
        _make(place, with_pip=uv is None)
    uv = uv or _uv(checkout, python)
    command = [str(uv), "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(lock_file)]
    if uv and (_succeeds(command) or _succeeds([*command, "--system-certs"])):  # the second: behind a proxy with its own authority
        return
    say("uv could not install them; pip tries (slower)")
    _pip(python, "--require-hashes", "-r", str(lock_file))


def _make(place: Path, *, with_pip: bool) -> None:
    for module in ("venv", "ensurepip") if with_pip else ("venv",):
        if importlib.util.find_spec(module) is None:
            raise CannotStart(NO_VENV.format(version=sys.version.split()[0], module=module))
    done = _run([sys.executable, "-m", "venv", "--clear", *([] if with_pip else ["--without-pip"]), str(place)])
    if done.returncode != 0:
        raise CannotStart(f"the environment {place} could not be made: {_last_line(done)}")


def _uv(checkout: Path, python: Path) -> str | None:
    """uv in the environment itself, from its own lock file; None where it has no build for this machine."""
    uv = python.parent / "uv"
    arguments = ["--require-hashes", "-r", str(checkout / "requirements-install.txt")]
    if not uv.exists() and not _succeeds(_pip_install(python, *arguments)):
        return None
    return str(uv)


def _pip(python: Path, *arguments: str) -> None:
    done = _run(_pip_install(python, *arguments))
    if done.returncode != 0:
        raise CannotStart(
            f"the packages could not be installed: {_last_line(done)} (the last line pip said). "
            "Check that this machine reaches a Python package index (pip's own settings apply), and run the command again."
        )


def _pip_install(python: Path, *arguments: str) -> list[str]:
    if not (python.parent / "pip").exists():
        _run([str(python), "-m", "ensurepip"])
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]


def _succeeds(command: list[str]) -> bool:
    return _run(command).returncode == 0


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def say(sentence: str) -> None:
    print(f"pgreplica: {sentence}", flush=True)
