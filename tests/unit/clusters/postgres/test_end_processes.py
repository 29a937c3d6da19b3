"""Ending what works in a data directory where the engine says nothing: the script, on real processes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.postgres import containers
from tests.unit.clusters.postgres.cast import alpha_spec
from tests.unit.clusters.postgres.test_containers import contained


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = Path(replace(alpha_spec(), base_directory=str(tmp_path)).data_directory)
    path.mkdir(parents=True)
    return path


def ended(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = containers.end_processes(contained(replace(alpha_spec(), base_directory=str(tmp_path))))
    return subprocess.run(command.argv, capture_output=True, text=True, check=False, cwd="/")


def it_ends_all_that_work_there_and_nobody_else(tmp_path: Path, data: Path) -> None:
    there = [subprocess.Popen(["sleep", "600"], cwd=data) for _each in range(2)]
    (tmp_path / "beside").mkdir()
    beside = subprocess.Popen(["sleep", "600"], cwd=tmp_path / "beside")
    try:
        assert ended(tmp_path).returncode == 0
        assert [process.wait(10) for process in there] == [-9, -9]
        assert beside.poll() is None
    finally:
        for process in (*there, beside):
            process.kill()
            process.wait()


def it_is_certain_where_the_server_has_stopped_cleanly(tmp_path: Path, data: Path) -> None:
    assert ended(tmp_path).returncode == 0


def it_is_not_certain_where_a_lock_file_is_left_and_nobody_is_to_be_seen(tmp_path: Path, data: Path) -> None:
    (data / "postmaster.pid").write_text("1\n")
    answer = ended(tmp_path)
    assert answer.returncode == 1
    assert "no process that works in that directory is to be seen" in answer.stderr


def it_is_not_certain_where_there_is_no_such_directory(tmp_path: Path) -> None:
    assert ended(tmp_path).returncode != 0
