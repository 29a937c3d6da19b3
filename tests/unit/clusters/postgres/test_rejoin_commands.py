"""How the WAL is read: through the filter, and whether the reader ran at all."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from clusters.postgres.facts import Lsn
from clusters.postgres.rejoin_commands import wal_read
from tests.unit.clusters.postgres.cast import alpha_spec


def reading(code: int) -> subprocess.CompletedProcess[str]:
    """In the place of pg_waldump a program that prints a record and a complaint, and ends with this exit status."""
    command = wal_read(alpha_spec(), 1, Lsn(0))
    at = command.argv.index("sh", 1)  # what comes after the filter is what reads
    record = "rmgr: Transaction len (rec/tot): 34/34, tx: 7, lsn: 0/1, prev 0/0, desc: COMMIT 2026-11-23 10:00:00"
    program = ("sh", "-c", f"echo '{record}'; echo 'it is over' >&2; exit {code}")
    return subprocess.run(replace(command, argv=(*command.argv[:at], *program)).argv, capture_output=True, text=True, check=False)


def it_takes_the_error_at_the_end_of_the_wal_for_its_end() -> None:
    ended = reading(1)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["rmgr:", "it"]


@pytest.mark.parametrize("code", [125, 127])
def it_does_not_take_a_program_that_did_not_run_for_the_end_of_the_wal(code: int) -> None:
    ended = reading(code)
    assert ended.returncode == 1
    assert f"it did not run, exit status {code}" in ended.stderr
