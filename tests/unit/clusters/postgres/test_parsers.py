"""What programs print, read back from recorded output; anything else is refused with what was seen, never with another error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.postgres.facts import (
    BasebackupProgress,
    ControlData,
    Lsn,
    SystemIdentity,
    Unreadable,
    Version,
    estimate,
    parse_basebackup_line,
    parse_controldata,
    parse_identify_system,
    parse_version,
    seconds_left,
)
from clusters.postgres.refused import has_control
from tests.unit.clusters.postgres.cast import data

LSNS = st.integers(0, 2**64 - 1).map(Lsn)
PARITY = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
STOPPED = ControlData(
    system_identifier="7711206371833417327",
    state="shut down",
    timeline=1,
    checkpoint_lsn=Lsn.parse("0/3000028"),
    redo_lsn=Lsn.parse("0/3000028"),
    minimum_recovery_end=Lsn(0),
    minimum_recovery_end_timeline=0,
    wal_segment_bytes=16777216,
    checksums=True,
    wal_log_hints=True,
    settings=PARITY,
)


@given(LSNS)
def it_reads_an_lsn_as_it_writes_it(lsn):
    assert Lsn.parse(str(lsn)) == lsn


@given(LSNS, LSNS)
def it_counts_bytes_between_two_lsns(one, other):
    assert one - other == int(one) - int(other)
    assert (one > other) == (int(one) > int(other))


def it_shows_an_lsn_as_postgres_does():
    assert str(Lsn.parse("1/ff")) == "1/FF"
    assert Lsn.parse("0/3000060") - Lsn.parse("0/3000028") == 56
    assert repr(Lsn.parse("0/3000060")) == "Lsn('0/3000060')"


@pytest.mark.parametrize("text", ["", "/", "0", "0/", "g/0", "0/123456789", "-1/0", "0/0 ", "0/0\n", "0x1/0", "٥/0"])
def it_reads_nothing_else_as_an_lsn(text):
    with pytest.raises(Unreadable):
        Lsn.parse(text)


@pytest.mark.parametrize(
    ("text", "num", "shown"),
    [
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", 150020, "15.20"),
        ("postgres (PostgreSQL) 18.6", 180006, "18.6"),
        ("postgres (PostgreSQL) 18beta2", 180000, "18.0"),
        ("postgres (PostgreSQL) 19devel", 190000, "19.0"),
        ("pg_ctl (PostgreSQL) 14.0", 140000, "14.0"),
    ],
)
def it_reads_versions(text, num, shown):
    version = parse_version(text)
    assert (version, str(version), version.major) == (Version(num), shown, num // 10000)


def it_orders_versions():
    assert Version(150009) < Version(150010) < Version(160000)


@pytest.mark.parametrize("text", ["", "postgres 15.20", "postgres (PostgreSQL) x", "\x1b]8;;x\x07", "(PostgreSQL) 99999999.1"])
def it_reads_no_version_elsewhere(text):
    with pytest.raises(Unreadable) as failure:
        parse_version(text)
    assert not has_control(str(failure.value))


def it_reads_identify_system():
    assert parse_identify_system("7711206371833417327|1|0/1BAC000|\n") == SystemIdentity("7711206371833417327", 1, Lsn.parse("0/1BAC000"))


@pytest.mark.parametrize("text", ["", "psql: error", "1|2|3|4", "x|1|0/0|", "1|x|0/0|", "1|1|0/0"])
def it_reads_no_identity_elsewhere(text):
    with pytest.raises(Unreadable):
        parse_identify_system(text)


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("15-shut-down", STOPPED),
        ("18-shut-down", replace(STOPPED, system_identifier="7711206511241319542")),
    ],
)
def it_reads_the_control_file_of_a_stopped_instance(name, control):
    read = parse_controldata(data(f"pg_controldata-{name}.txt"))
    assert read == control
    assert read.stopped_cleanly


@pytest.mark.parametrize("name", ["15-crashed", "18-crashed"])
def it_sees_that_an_instance_did_not_stop_cleanly(name):
    read = parse_controldata(data(f"pg_controldata-{name}.txt"))
    assert (read.state, read.stopped_cleanly, read.timeline) == ("in production", False, 2)


def it_reads_checksums_and_hints_that_are_off():
    text = data("pg_controldata-18-shut-down.txt")
    text = text.replace("Data page checksum version:           1", "Data page checksum version:           0")
    text = text.replace("wal_log_hints setting:                on", "wal_log_hints setting:                off")
    read = parse_controldata(text)
    assert (read.checksums, read.wal_log_hints) == (False, False)


@pytest.mark.parametrize("line", range(3, 40))
def it_says_what_it_could_not_read_of_a_control_file(line):
    lines = data("pg_controldata-15-shut-down.txt").splitlines()
    del lines[line:]
    with pytest.raises(Unreadable, match="the control file could not be read"):
        parse_controldata("\n".join(lines))


def it_reads_the_progress_of_a_base_backup():
    lines = data("pg_basebackup.txt").splitlines()
    progress = [found for line in lines if (found := parse_basebackup_line(line))]
    assert progress == [
        BasebackupProgress(0, 171224 * 1024),
        BasebackupProgress(41000 * 1024, 171224 * 1024),
        BasebackupProgress(171234 * 1024, 171234 * 1024),
        BasebackupProgress(171234 * 1024, 171234 * 1024),
    ]
    assert [seen.percent for seen in progress] == [0, 23, 100, 100]


def it_takes_an_empty_base_backup_as_done():
    assert BasebackupProgress(0, 0).percent == 100


@given(st.text())
def it_never_stumbles_over_a_line(text):
    assert parse_basebackup_line(text) is None
    for parse in (parse_version, parse_identify_system, parse_controldata, Lsn.parse):
        with pytest.raises(Unreadable):
            parse(text)


def it_estimates_the_rate_of_the_last_half_minute():
    assert estimate([(0.0, 0), (10.0, 1000)]) == 100.0
    assert estimate([(0.0, 0), (100.0, 100), (110.0, 1100), (120.0, 2100)]) == 100.0


@pytest.mark.parametrize("samples", [[], [(1.0, 5)], [(1.0, 5), (1.0, 9)], [(0.0, 0), (100.0, 5)]])
def it_knows_no_rate_of_too_little(samples):
    assert estimate(samples) is None


def it_never_estimates_backwards():
    assert estimate([(0.0, 100), (10.0, 50)]) == 0.0


def it_tells_how_long_the_rest_takes():
    assert seconds_left(50, 150, 10.0) == 10.0
    assert seconds_left(150, 100, 10.0) == 0.0
    assert seconds_left(0, 100, None) is None
    assert seconds_left(0, 100, 0.0) is None
