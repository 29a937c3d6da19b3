"""What pg_waldump of PostgreSQL 14 to 18 prints: commits, relations, checkpoints, and where the WAL ends."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from clusters.postgres.commands import pg_waldump
from clusters.postgres.facts import Lsn
from clusters.postgres.waldump import FILTER, NAMED, LostWrites, Relation, WalReader, record_end
from tests.unit.clusters.postgres.cast import alpha_spec, data

MB = 1024 * 1024
#: As PostgreSQL 15 prints it.
OLD = data("waldump-15.txt")
#: As PostgreSQL 18 does: names in the descriptions, a fork that is named, sub-transactions.
NEW = data("waldump-18.txt")


def read(text: str) -> WalReader:
    reader = WalReader()
    for line in text.splitlines():
        reader.take(line)
    return reader


def filtered(text: str) -> str:
    awk = shutil.which("awk")
    assert awk is not None
    return subprocess.run([awk, FILTER], input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("through", [str, filtered], ids=["as it is", "through the filter"])
def it_reads_an_older_version(through) -> None:  # type: ignore[no-untyped-def]
    found = read(through(OLD))
    assert (found.commits, found.xids) == (2, [740, 739])
    assert (found.first_commit, found.last_commit) == ("2026-11-23 06:10:00.123456 UTC", "2026-11-23 06:10:02.000000 UTC")
    assert sorted(map(str, found.relations)) == ["1663/16384/16385", "1663/16384/16390"]
    assert (found.redo, found.end) == (Lsn.parse("0/1575B30"), Lsn.parse("0/1575D30"))
    assert (found.missing, found.nothing) == (False, False)
    assert found.complaint.startswith("pg_waldump: error: error in WAL record")


@pytest.mark.parametrize("through", [str, filtered], ids=["as it is", "through the filter"])
def it_reads_a_newer_version(through) -> None:  # type: ignore[no-untyped-def]
    found = read(through(NEW))
    assert (found.commits, found.xids, found.first_commit) == (1, [1001], "2026-11-23 07:00:00.5 -03")
    assert found.relations == {Relation(1663, 5, 2619)}
    assert (found.missing, found.end) == (True, Lsn.parse("0/30000A0"))


@pytest.mark.parametrize(
    ("line", "missing", "nothing"),
    [
        ("pg_waldump: error: could not find a valid record after 0/3000180", False, True),
        ('pg_waldump: error: could not open file "000000010000000000000001": No such file or directory', True, False),
        ("pg_waldump: fatal: could not locate WAL file", True, False),
    ],
)
def it_tells_an_end_from_a_gap(line: str, missing: bool, nothing: bool) -> None:
    found = read(line)
    assert (found.end, found.missing, found.nothing) == (None, missing, nothing)


def it_names_so_many_and_counts_all() -> None:
    line = "rmgr: Transaction len (rec/tot):     34/    34, tx:  {xid}, lsn: 0/{xid:08X}, prev 0/0, desc: COMMIT 2026-11-23 06:10:00 UTC"
    found = read("\n".join(line.format(xid=xid) for xid in range(1000, 1000 + NAMED + 5)))
    assert (found.commits, len(found.xids), found.xids[0]) == (NAMED + 5, NAMED, 1000)


@pytest.mark.parametrize("line", ["", "rmgr:", "rmgr: Heap len", "rmgr: x len (rec/tot): 1/ 1, tx: 1, lsn: 0/1", "\x00\x1b[2J", "x" * 9000])
def it_is_not_upset_by_anything(line: str) -> None:
    found = read(line)
    assert (found.commits, found.end) == (0, None)
    assert len(found.complaint) <= 500


@pytest.mark.parametrize(
    ("begin", "total", "end"),
    [
        ("0/1575CD8", 82, "0/1575D30"),
        ("0/3001FF0", 16, "0/3002000"),
        ("0/3001FF0", 24, "0/3002020"),  # eight bytes past the header of the next page
        ("0/3001FF0", 16 + 8168 + 8, "0/3004020"),
        ("0/3FFFFF0", 24, "0/4000030"),  # the first page of a file has a longer header
    ],
)
def it_knows_where_a_record_ends(begin: str, total: int, end: str) -> None:
    assert record_end(Lsn.parse(begin), total, 16 * MB) == Lsn.parse(end)


def it_tells_what_is_lost_as_json() -> None:
    lost = LostWrites(Lsn.parse("0/3000000"), Lsn.parse("0/3000100"), 1, 2, (740, 741), "a", "b")
    assert (lost.bytes, lost.as_row()["xids"], lost.as_row()["from_lsn"]) == (256, [740, 741], "0/3000000")


def it_cuts_a_line_of_many_megabytes_and_still_knows_where_the_wal_ends() -> None:
    line = "rmgr: LogicalMessage len (rec/tot):     90/    90, tx:          0, lsn: 0/03000028, prev 0/02000100, desc: MESSAGE "
    kept = filtered(f"{line}{'AB ' * 2_000_000}\n")
    assert len(kept) <= 8001
    reader = WalReader()
    for each in kept.splitlines():
        reader.take(each)
    assert reader.end == Lsn.parse("0/03000088")


def it_does_not_show_pg_waldump_a_file_that_was_never_written_to() -> None:
    """A server that lost power leaves files that it had made for later; pg_waldump takes the size of WAL files from any it finds."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a short path: the base directory of a server has little room
        shows_no_empty_file(Path(name))


def shows_no_empty_file(directory: Path) -> None:
    spec = replace(alpha_spec(), base_directory=str(directory / "base"), bindir=str(directory))
    program = directory / "pg_waldump"
    program.write_text('#!/bin/sh\nls "${1#--path=}"\nshift\necho "$@"\nexit 3\n')
    program.chmod(0o755)
    wal = Path(spec.data_directory, "pg_wal")
    wal.mkdir(parents=True)
    (wal / "000000040000000000000003").write_bytes(b"\x13\xd1" + bytes(8190))
    (wal / "000000040000000000000004").write_bytes(bytes(8192))
    done = subprocess.run(pg_waldump(spec, 4, "0/3CE3808").argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (3, ["000000040000000000000003", "--timeline=4", "--start=0/3CE3808"])
    assert f"--path={wal}" in pg_waldump(spec, 4, "0/3CE3808").display()
