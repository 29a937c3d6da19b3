"""What takes the space: the command on a real directory, and its answer in words."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from clusters.postgres.space import eaters_named, space_eaters
from tests.unit.clusters.postgres.cast import alpha_spec


def it_names_the_largest_first(tmp_path: Path) -> None:
    spec = replace(alpha_spec(), base_directory=str(tmp_path))
    for path, kilobytes in (
        (tmp_path / "backup.tar", 900),
        (Path(spec.data_directory, "pg_wal"), 400),
        (Path(spec.data_directory, "base"), 200),
        (Path(spec.directory, "log"), 100),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * kilobytes * 1024)
    command = space_eaters(spec)
    printed = subprocess.run(command.argv, capture_output=True, text=True, check=True).stdout
    named = eaters_named(printed).split(", ")
    assert [name.rpartition("/")[2].split()[0] for name in named] == ["backup.tar", "pg_wal", "base"]
    assert [name.split()[1] for name in named] == ["900", "400", "200"]


def it_says_nothing_of_what_it_cannot_read() -> None:
    assert eaters_named("") == ""
    assert eaters_named("du: cannot\nx\t/srv\n") == ""
