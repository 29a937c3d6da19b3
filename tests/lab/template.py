"""What an engine's /var/lib/docker looks like once it has the images: made once by one server, then given to each before it boots."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.lab.commands import run
from tests.lab.image.postgres import IMAGES, archive_of
from tests.lab.locks import locked
from tests.lab.machine import DATA_ROOT, Machine
from tests.lab.site import Site

BUILDER_NUMBER = 250
#: What an engine takes for its own identity, or for the device of its file system, and makes anew where it is missing.
IDENTITY = ("engine-id", "network", "volumes/backingFsBlockDev")
KEPT_DAYS = 7


def engine_data(site: Site, public_key: str, images: Sequence[str] | None = None) -> Path:
    """The directory to copy. `images`: tags of IMAGES; all of them unless given."""
    with locked(site.cache_lock):
        return _engine_data(site, public_key, IMAGES if images is None else images)


def near(template: Path, directory: Path) -> Path:
    """The template on the file system of `directory`, where servers can share its files."""
    if template.stat().st_dev == directory.stat().st_dev:
        return template
    copy = directory / "engine"
    run(["cp", "--archive", str(template), str(copy)])
    return copy


def _engine_data(site: Site, public_key: str, images: Iterable[str]) -> Path:
    site.cache.mkdir(parents=True, exist_ok=True)
    archives = [archive_of(tag, site.cache) for tag in sorted(images)]
    engine = run(["dockerd", "--version"]).stdout
    key = hashlib.sha256(" ".join([*(path.name for path in archives), engine]).encode()).hexdigest()[:16]
    template = site.cache / f"engine-{key}"
    if not template.exists():
        _make(site, public_key, archives, template)
    for path in (*archives, template):
        path.touch()
    _forget_unused(site.cache)
    return template


def _make(site: Site, public_key: str, archives: list[Path], template: Path) -> None:
    builder = Machine(site, "builder", BUILDER_NUMBER)
    builder.make(public_key)
    builder.boot()
    for path in archives:
        builder.load(path)
    builder.shut_down()
    data = builder.root / DATA_ROOT
    for name in IDENTITY:
        run(["rm", "-rf", str(data / name)])
    unfinished = template.with_name(f".{template.name}")
    run(["rm", "-rf", str(unfinished)])
    run(["mv", str(data), str(unfinished)])  # shutil.move copies no device files to another file system, of which layers may hold some
    unfinished.rename(template)
    shutil.rmtree(builder.directory)


def _forget_unused(cache: Path) -> None:
    """What no lab has used for a week: each change of an image leaves one behind."""
    for path in cache.iterdir():
        if path.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
            run(["rm", "-rf", str(path)])
