"""Before a rejoin: which way back the facts leave, and that each obstacle fires on its own change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.postgres.facts import ControlData, Lsn, Version
from clusters.postgres.history import History
from clusters.postgres.refused import has_control
from clusters.postgres.rules import REJOIN_RULES, RejoinFacts, rejoin_obstacles, rejoin_way
from tests.unit.clusters.postgres.cast import SLOT
from tests.unit.clusters.postgres.pair import END, GB, HELD, SENDER, SYSTEM, primary, standby

FORK = Lsn.parse("1/2000000")
NEW = History(2, ((1, FORK),))
SOURCE = primary(senders=(), slots=(), timeline=2, wal_lsn=END, size_bytes=10 * GB)
OTHERS = tuple(replace(SENDER, pid=pid, application_name=f"other-{pid}") for pid in range(10))
CONTROL = ControlData(
    system_identifier=SYSTEM, state="shut down", timeline=1, checkpoint_lsn=Lsn.parse("1/2800000"), redo_lsn=Lsn.parse("1/2800000"),
    minimum_recovery_end=Lsn(0), minimum_recovery_end_timeline=0, wal_segment_bytes=16 * 1024 * 1024, checksums=True, wal_log_hints=True,
    settings={},
)  # fmt: skip


def facts(**changes: Any) -> RejoinFacts:
    """beta was the primary, alpha is it; beta wrote past the fork. `source` and `control` may be changed field by field."""
    control, source = changes.pop("control", {}), changes.pop("source", {})
    settings = source.pop("settings", {}) if isinstance(source, dict) else {}
    base = replace(SOURCE, settings={**SOURCE.settings, **settings})
    values: dict[str, Any] = {
        "target_name": "beta", "source_name": "alpha", "slot": SLOT, "source_history": NEW, "source_wal_from": Lsn.parse("1/0"),
        "others_streaming": ("gamma",), "target_history": History(1), "target_end": Lsn.parse("1/2800100"),
        "common_redo": Lsn.parse("1/1000000"), "target_bytes": 10 * GB, "free_bytes": 50 * GB, "target_version": Version(160004),
        "target_settings": {"max_connections": 100}, "system_identifier": SYSTEM, "epoch": 2, "epoch_seen": 2,
        "source": replace(base, **source) if isinstance(source, dict) else source,
        "control": replace(CONTROL, **control) if isinstance(control, dict) else control,
    }  # fmt: skip
    return RejoinFacts(**{**values, **changes})


STANDBY = {"state": "shut down in recovery", "minimum_recovery_end": Lsn.parse("1/1F00000")}
FIRES = [
    ({"source": None, "source_error": "no route"}, "source_unverified", "blocks"),
    ({"source": {"in_recovery": True}}, "source_unverified", "blocks"),
    ({"writable": ("gamma",)}, "other_primary", "blocks"),
    ({"epoch_seen": 3}, "epoch_newer", "blocks"),
    ({"target_streams": True}, "streams_already", "blocks"),
    ({"target_version": None}, "programs_differ", "blocks"),
    ({"target_version": Version(150004)}, "programs_differ", "blocks"),
    ({"control": {"system_identifier": "1"}}, "system_identifier_differs", "blocks"),
    ({"target_history": History(3, ((1, FORK), (2, END)))}, "target_ahead", "blocks"),
    ({"control": None}, "divergence_unknown", "blocks"),
    ({"control": None, "up_to": "basebackup"}, "divergence_unknown", "warns"),
    ({"target_history": NEW, "target_end": FORK}, "divergence_unknown", "blocks"),
    ({"target_history": NEW, "target_end": Lsn(END + 1), "control": {"state": "shut down in recovery"}}, "divergence_unknown", "blocks"),
    ({"source_history": History(8, ((7, FORK),))}, "divergence_unknown", "blocks"),
    ({"target_end": FORK, "source_wal_from": Lsn.parse("1/3000000")}, "direct_wal_gone", "blocks"),
    ({"control": {"checksums": False, "wal_log_hints": False}}, "rewind_without_hints", "blocks"),
    ({"control": {"checksums": False, "wal_log_hints": False}, "up_to": "basebackup"}, "rewind_without_hints", "warns"),
    ({"source": {"settings": {"full_page_writes": "off"}}}, "rewind_full_page_writes_off", "blocks"),
    ({"source": standby(timeline=2, settings=SOURCE.settings), "source_is_primary": False}, "rewind_source_is_standby", "blocks"),
    ({"control": STANDBY}, "rewind_of_standby", "blocks"),
    ({"control": {"state": "in archive recovery"}}, "rewind_of_standby", "blocks"),
    ({"common_redo": None}, "rewind_target_wal_gone", "blocks"),
    ({"source_wal_from": Lsn.parse("1/1800000")}, "rewind_source_wal_gone", "blocks"),
    ({"wal_elsewhere": True}, "rewind_wal_elsewhere", "blocks"),
    ({"free_bytes": 10 * GB}, "rewind_no_room", "blocks"),
    ({"free_bytes": 10 * GB, "up_to": "basebackup"}, "no_room", "blocks"),
    ({"up_to": "direct"}, "way_beyond_limit", "blocks"),
    ({"common_redo": None}, "way_beyond_limit", "blocks"),
    ({"others_streaming": ()}, "last_copy", "flag"),
    ({"login_error": "no pg_hba.conf entry"}, "login_failed", "blocks"),
    ({"source": {"senders": OTHERS}}, "no_free_walsender", "blocks"),
    ({"source": {"senders": OTHERS[:9]}, "up_to": "basebackup", "common_redo": None}, "no_free_walsender", "blocks"),
    ({"source": {"slots": tuple(replace(HELD, name=f"s{n}") for n in range(10))}}, "no_free_slot", "blocks"),
    ({"source": {"slots": (HELD,)}}, "slot_in_use", "blocks"),
    ({"source": {"slots": (replace(HELD, active=False, wal_status="lost"),)}}, "slot_lost", "warns"),
    ({"source": {"tablespaces": ("fast",)}}, "tablespaces_present", "blocks"),
    ({"target_settings": {"max_connections": 50}}, "parameters_lower", "blocks"),
    ({"source": {"altered_settings": ("primary_conninfo",)}}, "settings_altered", "blocks"),
]  # fmt: skip


def it_finds_nothing_in_the_way_of_a_rewind() -> None:
    assert (rejoin_obstacles(facts()), rejoin_way(facts()), facts().lost_bytes) == ([], "rewind", 0x800100)


@pytest.mark.parametrize(("changes", "name", "severity"), FIRES, ids=[f"{name} {n}" for n, (_c, name, _s) in enumerate(FIRES)])
def it_fires(changes: dict[str, Any], name: str, severity: str) -> None:
    found = {one.name: one for one in rejoin_obstacles(facts(**changes))}
    assert (found[name].severity if name in found else None) == severity, list(found)
    for one in found.values():
        assert one.cure
        assert not has_control(str(one.sentence) + str(one.cure))
        assert "%(" not in str(one.sentence) + str(one.cure)


def it_tries_every_rule() -> None:
    assert {rule.__name__ for rule in REJOIN_RULES} == {name for _changes, name, _severity in FIRES}


@pytest.mark.parametrize(
    ("changes", "way"),
    [
        ({"target_end": FORK}, "direct"),
        ({"target_end": FORK, "control": {"state": "in production"}}, "direct"),
        ({"target_end": Lsn(FORK + 1)}, "rewind"),
        ({"control": {"state": "in production"}}, "rewind"),
        ({"control": {**STANDBY, "minimum_recovery_end": Lsn.parse("1/2800000")}}, "rewind"),
        # on the same timeline: a standby that only lags, and one that was a primary on it
        ({"target_history": NEW, "target_end": END, "control": {"state": "shut down in recovery"}}, "direct"),
        ({"target_history": NEW, "target_end": END}, "basebackup"),
        ({"target_history": NEW, "target_end": Lsn(END + 1), "control": {"state": "shut down in recovery"}}, "basebackup"),
        # a dead branch: the same number, or a higher one, but promoted on its own
        ({"target_history": History(2, ((1, Lsn(FORK + 64)),))}, "rewind"),
        ({"target_history": History(3, ((1, Lsn(FORK - 64)),))}, "rewind"),
        ({"target_end": FORK, "source_wal_from": END}, "basebackup"),
        ({"control": None}, "basebackup"),
        ({"source": None}, None),
    ],
)
def it_chooses_the_least_way_that_is_possible(changes: dict[str, Any], way: str | None) -> None:
    assert rejoin_way(facts(**changes)) == way
