"""A package index for builds in the lab, whose servers reach nothing else: the locked wheels, served at this machine's lab address."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.lab.commands import run
from tests.lab.panel.images import INTERPRETER

LOCK_FILE = Path(__file__).resolve().parents[3] / "requirements.txt"
SECONDS = 300


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """A line for each wheel is of no use."""


@contextlib.contextmanager
def serving(address: str, cache: Path) -> Iterator[str]:
    """While open, the address of an index as pip knows them: a page of links for each package."""
    handler = functools.partial(_Quiet, directory=str(wheelhouse(cache)))
    with ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def wheelhouse(cache: Path) -> Path:
    """`<package>/<wheel>`, fetched by the base image's Python from where this machine gets its packages, by the lock file's hashes."""
    key = hashlib.sha256(LOCK_FILE.read_bytes() + run([str(INTERPRETER), "--version"]).stdout.encode()).hexdigest()[:16]
    place = cache / f"index-{key}"
    if not place.exists():
        unfinished = place.with_name(f".{place.name}")
        run(["rm", "-rf", str(unfinished)])
        _download(unfinished)
        unfinished.rename(place)
    place.touch()  # what nobody used for a week is forgotten (tests.lab.template)
    return place


def _download(place: Path) -> None:
    environment, fetched = place / ".environment", place / ".fetched"
    run([str(INTERPRETER), "-m", "venv", str(environment)])
    words = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(LOCK_FILE), "--dest", str(fetched)]
    run([str(environment / "bin/pip"), *words], seconds=SECONDS)
    for wheel in fetched.iterdir():
        package = place / re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
        package.mkdir()
        wheel.rename(package / wheel.name)
    run(["rm", "-rf", str(environment), str(fetched)])
