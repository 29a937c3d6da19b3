"""Timelines: what a history file says, where branches part, and that a number alone says nothing."""

from __future__ import annotations

import pytest

from clusters.postgres.facts import Lsn, Unreadable
from clusters.postgres.history import Fork, History, Stretch, WalFile, fork_of, history_file, wal_files

MB = 1024 * 1024
FILE = "1\t0/3000060\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-01-01 00:00:00+00\n# a comment\n"


def lsn(text: str) -> Lsn:
    return Lsn.parse(text)


def history(*parents: tuple[int, str], now: int) -> History:
    return History(now, tuple((number, lsn(end)) for number, end in parents))


def it_reads_a_history_file() -> None:
    found = History.parse(3, FILE)
    assert found == history((1, "0/3000060"), (2, "0/5000000"), now=3)
    assert found.stretches == (
        Stretch(1, Lsn(0), lsn("0/3000060")), Stretch(2, lsn("0/3000060"), lsn("0/5000000")), Stretch(3, lsn("0/5000000"), None),
    )  # fmt: skip
    assert (found.begin, found.descends_from(2), found.descends_from(3)) == (lsn("0/5000000"), True, False)
    assert History.parse(1, None) == History(1)
    assert history_file(26) == "0000001A.history"


@pytest.mark.parametrize("text", ["", None, "1 nowhere", "2\t0/1\n1\t0/2\n", "3\t0/1\n", "x\t0/1\n"])
def it_refuses_what_is_no_history(text: str | None) -> None:
    with pytest.raises(Unreadable):
        History.parse(3, text)


@pytest.mark.parametrize(
    ("one", "other", "fork"),
    [
        (history(now=1), history(now=1), Fork(1, None)),
        (history((1, "0/30"), now=2), history(now=1), Fork(1, lsn("0/30"))),
        (history(now=1), history((1, "0/30"), now=2), Fork(1, lsn("0/30"))),
        (history((1, "0/30"), (2, "0/50"), now=3), history((1, "0/30"), now=2), Fork(2, lsn("0/50"))),
        # both are called timeline 2, and are not the same one
        (history((1, "0/30"), now=2), history((1, "0/40"), now=2), Fork(1, lsn("0/30"))),
        # a dead branch of a higher number
        (history((1, "0/30"), now=2), history((1, "0/20"), now=3), Fork(1, lsn("0/20"))),
        (history((1, "0/30"), now=2), history((1, "0/30"), now=3), Fork(1, lsn("0/30"))),
        (history((1, "0/30"), (2, "0/50"), now=4), history((1, "0/30"), (2, "0/40"), now=5), Fork(2, lsn("0/40"))),
        (history((1, "0/30"), now=2), history((7, "0/30"), now=8), None),
    ],
)
def it_finds_where_two_branches_part(one: History, other: History, fork: Fork | None) -> None:
    assert fork_of(one, other) == fork
    assert fork_of(other, one) == fork


def it_says_what_a_branch_has_past_a_fork() -> None:
    dead = history((1, "0/30"), (2, "0/50"), now=3)
    assert dead.past(Fork(1, lsn("0/20"))) == (
        Stretch(1, lsn("0/20"), lsn("0/30")), Stretch(2, lsn("0/30"), lsn("0/50")), Stretch(3, lsn("0/50"), None),
    )  # fmt: skip
    assert dead.past(Fork(1, lsn("0/30"))) == (Stretch(2, lsn("0/30"), lsn("0/50")), Stretch(3, lsn("0/50"), None))
    assert history(now=1).past(Fork(1, lsn("0/20"))) == (Stretch(1, lsn("0/20"), None),)


def it_knows_whether_a_place_lies_on_a_branch() -> None:
    branch = history((1, "0/30"), now=2)
    assert [branch.holds(1, lsn(place)) for place in ("0/1", "0/30", "0/31")] == [True, True, False]
    assert [branch.holds(2, lsn(place)) for place in ("0/29", "0/30", "9/0")] == [False, True, True]


def it_reads_the_names_in_pg_wal() -> None:
    names = [
        "000000020000000100000003",
        "archive_status",
        "00000002.history",
        "0000000100000000000000FF",
        "000000010000000000000001.partial",
    ]
    assert wal_files(names, 16 * MB) == [
        WalFile(1, lsn("0/1000000")), WalFile(1, lsn("0/FF000000")), WalFile(2, lsn("1/3000000")),
    ]  # fmt: skip
    assert wal_files(["000000010000000200000001"], 1024 * MB) == [WalFile(1, lsn("2/40000000"))]
