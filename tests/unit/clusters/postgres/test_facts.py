"""Facts: read from what a server answers, which is not trusted, and written back the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters.postgres.facts import InstanceFacts, Lsn, ReceiverRow, ReplicationRow, SlotRow, Unreadable, wal_rate
from tests.unit.clusters.postgres.cast import SLOT
from tests.unit.clusters.postgres.pair import BACKUP, END, HELD, MB, SENDER, primary, standby

LEAF = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5)
JSON = LEAF | st.lists(LEAF, max_size=2) | st.dictionaries(st.text(max_size=5), LEAF, max_size=2)


@pytest.mark.parametrize("facts", [primary(), standby(), primary(senders=(SENDER, BACKUP), tablespaces=("fast",), size_bytes=None)])
def it_reads_back_what_it_writes(facts):
    assert InstanceFacts.from_row(json.loads(json.dumps(facts.as_row()))) == facts


def it_reads_rows():
    row = {
        "name": SLOT,
        "type": "physical",
        "temporary": False,
        "active": False,
        "pid": None,
        "restart_lsn": "0/3000000",
        "wal_status": "lost",
    }
    assert SlotRow.from_row(row) == SlotRow(SLOT, "physical", False, False, restart_lsn=Lsn.parse("0/3000000"), wal_status="lost")
    assert ReceiverRow.from_row({"status": "waiting", "host": "10.0.0.5", "port": 5432}) == ReceiverRow(
        "waiting", host="10.0.0.5", port=5432
    )
    row = {"pid": 1, "role": None, "application_name": "", "address": None, "state": "startup", "replay_lag_seconds": 0.5, "unknown": 1}
    assert ReplicationRow.from_row(row) == ReplicationRow(1, None, "", None, "startup", replay_lag_seconds=0.5)


BROKEN = [
    {"version_num": "x"},
    {"version_num": None},
    {"in_recovery": "yes"},
    {"wal_lsn": "nonsense"},
    {"wal_lsn": 5},
    {"senders": {}},
    {"senders": None},
    {"slots": [{"name": "x"}]},
    {"receiver": []},
    {"settings": []},
    {"tablespaces": None},
    {"timeline": []},
    {"timeline": True},
    {"timeline": 1.5},
    {"settings": {"a": 1}},
    {"tablespaces": [1]},
    {"senders": [1]},
    {"observed_at": "now"},
]


@pytest.mark.parametrize("change", BROKEN)
def it_refuses_what_has_not_the_shape(change):
    with pytest.raises(Unreadable):
        InstanceFacts.from_row({**primary().as_row(), **change})


@pytest.mark.parametrize("name", ["version_num", "in_recovery", "system_identifier", "timeline"])
def it_refuses_what_is_not_there(name):
    row = primary().as_row()
    del row[name]
    with pytest.raises(Unreadable, match=name):
        InstanceFacts.from_row(row)


@given(st.sampled_from(sorted(primary().as_row())), JSON)
def it_never_fails_in_another_way(name, value):
    try:
        facts = InstanceFacts.from_row({**primary().as_row(), name: value})
    except Unreadable:
        return
    assert isinstance(facts, InstanceFacts)


@given(JSON)
def it_reads_no_facts_elsewhere(value):
    with pytest.raises(Unreadable):
        InstanceFacts.from_row(value)


def it_tells_how_far_the_wal_reaches():
    assert primary().lsn == END
    assert standby().lsn == END
    assert standby(receive_lsn=None).lsn == END  # nothing received since the start: what was replayed counts
    assert standby(receive_lsn=None, replay_lsn=None).lsn == 0


def it_names_roles_as_observed():
    assert (primary().role, standby().role, primary().major) == ("primary", "standby", 16)


def it_finds_the_connection_of_a_standby():
    again = replace(SENDER, pid=9, replay_lsn=None)
    backup = replace(BACKUP, application_name="beta")
    assert primary(senders=(again, SENDER, backup)).sender("beta") == SENDER
    assert primary(senders=(backup,)).sender("beta") is None
    assert primary().sender("gamma") is None


def it_finds_slots():
    assert (primary().slot(SLOT), primary().slot("other")) == (HELD, None)


def it_reads_settings_as_numbers():
    assert primary().number("max_wal_senders") == 10
    with pytest.raises(Unreadable, match="the setting wal_level"):
        primary().number("wal_level")
    with pytest.raises(Unreadable, match="the setting nothing"):
        primary().number("nothing")


def it_measures_the_wal_rate_by_the_instance_s_own_clock():
    earlier = primary(wal_lsn=Lsn(0), observed_at=100.0)
    later = primary(wal_lsn=Lsn(20 * MB), observed_at=110.0)
    assert wal_rate(earlier, later) == 2 * MB
    assert wal_rate(later, later) is None
