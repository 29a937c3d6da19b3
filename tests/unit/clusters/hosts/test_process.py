from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusters.hosts.local import LocalMachine
from clusters.hosts.machine import ArgumentRefused
from clusters.hosts.process import TOOLS, Binaries, find_postgres
from tests.unit.clusters.hosts.conftest import OTHER_USER


def programs_saying(directory: Path, said: str, tools: tuple[str, ...] = TOOLS) -> Path:
    directory.mkdir(parents=True, mode=0o755)
    for tool in tools:
        (directory / tool).write_text(f'#!/bin/sh\necho "{"postgres" if tool == "postgres" else tool} (PostgreSQL) {said}"\n')
        (directory / tool).chmod(0o755)
    return directory


def found(*bindirs: Path, machine: LocalMachine | None = None) -> list[Binaries]:
    """What is found in the given directories; other sets of this machine are left out."""
    given = [str(bindir) for bindir in bindirs]
    return [each for each in find_postgres(machine or LocalMachine(), given) if each.bindir in given]


@pytest.mark.parametrize(
    ("said", "major", "version"),
    [
        ("14.0", 14, "14.0"),
        ("15.18 (Debian 15.18-0+deb12u1)", 15, "15.18"),
        ("18.6", 18, "18.6"),
        ("18rc1", 18, "18rc1"),
        ("17beta2 (Homebrew)", 17, "17beta2"),
        ("16devel", 16, "16"),
    ],
)
def it_reads_the_version_that_programs_say(open_directory: Path, said: str, major: int, version: str) -> None:
    bindir = programs_saying(open_directory / "bin", said)
    assert found(bindir) == [Binaries(major, version, str(bindir))]


@pytest.mark.parametrize("said", ["13.20", "19.1", "9.6.24", "", "\033[2J", "8.1.0\n(PostgreSQL) 18.6"])
def it_lists_only_versions_14_to_18(open_directory: Path, said: str) -> None:
    assert found(programs_saying(open_directory / "bin", said)) == []


@pytest.mark.parametrize("lacking", TOOLS)
def it_lists_only_complete_sets(open_directory: Path, lacking: str) -> None:
    bindir = programs_saying(open_directory / "bin", "18.6")
    (bindir / lacking).unlink()
    assert found(bindir) == []


@pytest.mark.parametrize("script", ["exit 1", "kill -SEGV $$", "echo 'psql (PostgreSQL) 17.1'"])
def it_lists_no_set_with_a_tool_that_does_not_run_or_is_of_another_version(open_directory: Path, script: str) -> None:
    bindir = programs_saying(open_directory / "bin", "18.6")
    (bindir / "psql").write_text(f"#!/bin/sh\n{script}\n")
    assert found(bindir) == []


def it_carries_an_odd_directory_through(open_directory: Path) -> None:
    bindirs = [programs_saying(open_directory / name / "bin", "18.6") for name in ("a b", "$(id)", "a\nb", "'\"", "-rf", "*")]
    assert sorted(each.bindir for each in found(*bindirs)) == sorted(map(str, bindirs))


def it_names_a_directory_once_and_the_newest_version_first(open_directory: Path) -> None:
    older, newer, newest = (programs_saying(open_directory / said, said) for said in ("15.9", "15.10", "17.2"))
    (open_directory / "link").symlink_to(older)
    bindirs = [each.bindir for each in found(older, open_directory / "link", newest, newer, open_directory / "none")]
    assert bindirs == [str(newest), str(newer), str(older)]


def it_looks_on_the_panels_search_path_too(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bindir = programs_saying(open_directory / "bin", "16.4")
    monkeypatch.setenv("PATH", f"relative::.:{bindir}/:{os.environ['PATH']}")
    assert Binaries(16, "16.4", str(bindir)) in find_postgres(LocalMachine())


def it_refuses_a_directory_that_is_not_an_absolute_path() -> None:
    with pytest.raises(ArgumentRefused):
        find_postgres(LocalMachine(), ["bin"])


@pytest.mark.needs("root")
def it_lists_no_set_that_the_machines_user_cannot_run(open_directory: Path) -> None:
    bindir = programs_saying(open_directory / "closed" / "bin", "18.6")
    (open_directory / "closed").chmod(0o700)
    assert found(bindir) == [Binaries(18, "18.6", str(bindir))]
    assert found(bindir, machine=LocalMachine(OTHER_USER)) == []


def it_finds_the_embedded_postgresql(embedded_bindir: Path) -> None:
    (binaries,) = found(embedded_bindir, machine=LocalMachine(OTHER_USER if os.geteuid() == 0 else ""))
    assert (binaries.major, binaries.version.startswith("18."), binaries.bindir) == (18, True, str(embedded_bindir))


@pytest.mark.parametrize(
    "bindir", [path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin")) if all((path / tool).exists() for tool in TOOLS)]
)
def it_finds_debians_postgresql(bindir: Path) -> None:
    assert str(bindir) in [each.bindir for each in find_postgres(LocalMachine())]
