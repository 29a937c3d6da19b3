"""What must not be in a committed file: where this machine gets its packages, and where its files lie."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK_FILES = sorted(ROOT.glob("requirements*.txt"))
REGISTRY_OPTIONS = re.compile(r"--(extra-)?index-url|--find-links|--trusted-host|UV_(DEFAULT_)?INDEX|PIP_(EXTRA_)?INDEX_URL")


@cache
def committed() -> dict[str, str]:
    """Path -> text of each file in git's index or not ignored by it; binary files left out."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    names = {name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()}
    texts = {name: (ROOT / name).read_bytes() for name in names}
    return {name: data.decode() for name, data in texts.items() if b"\0" not in data[:1024]}


def places_of_this_machine() -> list[str]:
    """Directories that only this machine has: the checkout, and the one above it if it is not one that many machines have."""
    return [
        f"{place}/" for place in (ROOT, ROOT.parent) if str(place) not in ("/", "/tmp", "/home", "/opt", "/srv", "/root", str(Path.home()))
    ]


def registries_of_this_machine() -> Iterator[str]:
    """The hosts from which this machine's pip and uv take packages."""
    values = [value for name, value in os.environ.items() if re.fullmatch(r"(PIP|UV)_.*(INDEX|LINKS|URL|HOST).*", name)]
    places = [Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"]
    for place in filter(Path.is_file, places):
        parser = configparser.RawConfigParser(strict=False)
        parser.read(place)
        values += [value for section in parser.sections() for value in parser[section].values()]
    for word in " ".join(values).split():
        host = urlsplit(word).hostname
        if host:
            yield host


@pytest.mark.parametrize("lock_file", LOCK_FILES, ids=lambda path: path.name)
def it_keeps_addresses_out_of_the_lock_files(lock_file: Path) -> None:
    assert [line for line in lock_file.read_text().splitlines() if "://" in line or REGISTRY_OPTIONS.search(line)] == []


def it_names_no_registry_of_this_machine() -> None:
    hosts = set(registries_of_this_machine())
    assert [(name, host) for name, text in committed().items() for host in hosts if host in text] == []


def it_names_no_place_of_this_machine() -> None:
    assert [(name, place) for name, text in committed().items() for place in places_of_this_machine() if place in text] == []


def it_leaves_the_choice_of_the_registry_to_the_machine() -> None:
    """No file says where packages come from: pip's and uv's own settings do."""
    mine = str(Path(__file__).relative_to(ROOT))
    assert [name for name, text in committed().items() if name != mine and REGISTRY_OPTIONS.search(text)] == []


def test_no_file_holds_what_a_merge_left_undecided() -> None:
    marks = re.compile(r"^(<{7} |>{7} )", re.MULTILINE)
    assert [name for name, text in committed().items() if marks.search(text)] == []
