"""Findings about a pair: each from its own change of a healthy one, with its whole sentence and the verdict it leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.postgres.facts import Lsn
from clusters.postgres.refused import has_control
from clusters.postgres.rules import VERIFY_RULES, VerifyFacts, lag_bytes, lag_seconds, verdict, verify_findings
from tests.unit.clusters.postgres.cast import ALPHA, BETA, SLOT
from tests.unit.clusters.postgres.pair import BACKUP, END, GB, HELD, MB, RECEIVER, SENDER, SYSTEM, primary, standby


def pair(**changes: Any) -> VerifyFacts:
    """alpha and beta, seen at one look, and all is well."""
    values: dict[str, Any] = {
        "upstream": primary(),
        "standby": standby(),
        "upstream_name": ALPHA.name,
        "standby_name": BETA.name,
        "slot": SLOT,
        "upstream_address": ALPHA.address,
        "upstream_port": ALPHA.port,
        "system_identifier": SYSTEM,
        "marker": "read",
    }
    return VerifyFacts(**{**values, **changes})


def sending(**changes: Any) -> Any:
    return primary(senders=(replace(SENDER, **changes),))


def receiving(**changes: Any) -> Any:
    return standby(receiver=replace(RECEIVER, **changes))


def holding(**changes: Any) -> Any:
    return primary(slots=(replace(HELD, **changes),))


def synchronous(settings: dict[str, str] | None = None, **more: Any) -> Any:
    """alpha, whose commits wait for beta."""
    return primary(senders=(replace(SENDER, sync_state="quorum"),), settings={**SYNC, **(settings or {})}, **more)


SYNC_NAMES = 'ANY 1 ("beta")'
SYNC = {"synchronous_standby_names": SYNC_NAMES, "synchronous_commit": "on"}
BACK = Lsn(END - 65 * MB)

#: what is changed, then of the only finding: name, severity, value, threshold, sentence; and the verdict
FINDS = [
    (
        {"system_identifier": "42"}, "system_identifier_differs", "blocks", SYSTEM, "42",
        f"The system identifiers differ ({SYSTEM}): at least one of them is not a copy of this cluster.", "failed",
    ),
    (
        {"standby": standby(system_identifier="42"), "system_identifier": ""}, "system_identifier_differs", "blocks", f"42, {SYSTEM}", None,
        f"The system identifiers differ (42, {SYSTEM}): at least one of them is not a copy of this cluster.", "failed",
    ),
    (
        {"standby": replace(standby(), in_recovery=False)}, "standby_not_in_recovery", "blocks", 1, None,
        "beta is not in recovery: it accepts writes as a primary (timeline 1).", "failed",
    ),
    (
        {"upstream": replace(primary(), in_recovery=True)}, "upstream_in_recovery", "blocks", None, None,
        "alpha is declared the primary and is in recovery: it accepts no writes.", "failed",
    ),
    (
        {"standby": standby(receiver=None)}, "not_streaming", "blocks", "absent", "streaming",
        "beta is not streaming from alpha: its receiver is absent, the sender for it is streaming.", "failed",
    ),
    (
        {"standby": receiving(status="waiting")}, "not_streaming", "blocks", "waiting", "streaming",
        "beta is not streaming from alpha: its receiver is waiting, the sender for it is streaming.", "failed",
    ),
    (
        {"upstream": primary(senders=(BACKUP,))}, "not_streaming", "blocks", "streaming", "streaming",
        "beta is not streaming from alpha: its receiver is streaming, the sender for it is absent.", "failed",
    ),
    (
        {"upstream": sending(state="catchup", replay_lsn=Lsn(END - MB))}, "catching_up", "warns", MB, None,
        "beta is catching up with alpha: 1.0 MB to go.", "warning",
    ),
    (
        {"standby": receiving(host="10.0.0.9")}, "wrong_upstream", "blocks", "10.0.0.9:5432", "10.0.0.5:5432",
        "beta follows 10.0.0.9:5432, not alpha at 10.0.0.5:5432.", "failed",
    ),
    (
        {"upstream": primary(slots=())}, "slot_missing", "warns", SLOT, None,
        "alpha has no slot pgr_orders_beta: nothing keeps the WAL that beta needs while it is away.", "warning",
    ),
    (
        {"upstream": holding(active=False, pid=None)}, "slot_not_used", "warns", SLOT, None,
        "The slot pgr_orders_beta on alpha is not used by beta: it keeps WAL for nobody.", "warning",
    ),
    (
        {"standby": receiving(slot="other")}, "slot_not_used", "warns", SLOT, None,
        "The slot pgr_orders_beta on alpha is not used by beta: it keeps WAL for nobody.", "warning",
    ),
    (
        {"upstream": holding(wal_status="lost", active=False, restart_lsn=None)}, "slot_lost", "blocks", "lost", "reserved",
        "WAL that beta needs is gone: its slot is lost.", "failed",
    ),
    (
        {"upstream": holding(wal_status="unreserved")}, "slot_unreserved", "warns", "unreserved", "reserved",
        "WAL that beta needs goes at the next checkpoint: its slot is unreserved.", "warning",
    ),
    (
        {"upstream": primary(slots=(replace(HELD, restart_lsn=Lsn(0)),), settings={"max_slot_wal_keep_size": "8192"})},
        "slot_filling", "warns", int(END), 4 * GB,
        "The slot of beta keeps 4.0 GB of WAL on alpha; past 8.0 GB the standby is lost.", "warning",
    ),
    (
        {"upstream": primary(slots=(replace(HELD, restart_lsn=Lsn(0)),), settings={"max_slot_wal_keep_size": "5120"})},
        "slot_nearly_full", "warns", int(END), 4 * GB,
        "The slot of beta keeps 4.0 GB of WAL on alpha, nearly all it may; past 5.0 GB the standby is lost.", "warning",
    ),
    (
        {"upstream": primary(settings=SYNC), "synchronous": SYNC_NAMES}, "sync_not_met", "warns", 0, 1,
        "Only 0 of the 1 standbys that commits on alpha wait for stream: commits wait.", "warning",
    ),
    (
        {"upstream": synchronous(sync_waits=2), "synchronous": SYNC_NAMES}, "sync_commits_wait", "warns", 2, 0,
        "2 commits on alpha wait for a standby and are not acknowledged: applications stand still.", "warning",
    ),
    (
        {"upstream": synchronous(weak_sync=("role app",)), "synchronous": SYNC_NAMES}, "sync_weakened", "warns", "role app", "on",
        "synchronous_commit is below on for: role app. What they commit is not on a standby when it is acknowledged.", "warning",
    ),
    (
        {"upstream": synchronous(settings={"synchronous_standby_names": "ANY 1 (*)"})}, "sync_star", "warns", "*", None,
        "synchronous_standby_names of alpha holds *: whoever replicates counts, so nobody knows who has the commits.", "warning",
    ),
    (
        {"upstream": primary(settings={"synchronous_standby_names": ""}), "synchronous": SYNC_NAMES},
        "sync_names_differ", "blocks", "''", SYNC_NAMES,
        "synchronous_standby_names of alpha is '', and the panel declares ANY 1 (\"beta\").", "failed",
    ),
    (
        {"upstream": synchronous(), "synchronous": ""}, "sync_names_differ", "warns", SYNC_NAMES, "''",
        "synchronous_standby_names of alpha is ANY 1 (\"beta\"), and the panel declares ''.", "warning",
    ),
    (
        {"standby": standby(settings={"synchronous_standby_names": "other"}), "standby_synchronous": ""},
        "sync_names_after", "warns", "other", "''",
        "Were beta promoted, its commits would wait for other, and the panel declares ''.", "warning",
    ),
    (
        {"standby": standby(timeline=2)}, "timeline_differs", "blocks", 2, 1, "beta is on timeline 2, alpha on timeline 1.", "failed",
    ),
    (
        {"standby": standby(replay_state="pause requested")}, "replay_paused", "warns", "pause requested", "not paused",
        "Replay on beta does not go on (pause requested): it receives, but its rows grow old.", "warning",
    ),
    (
        {"standby": standby(settings={"recovery_min_apply_delay": "60000"})}, "replay_delayed", "warns", 60000, 0,
        "beta replays 60000 ms late on purpose (recovery_min_apply_delay).", "warning",
    ),
    (
        {"upstream": sending(replay_lsn=BACK)}, "lag_bytes", "warns", 65 * MB, 64 * MB,
        "beta is 65.0 MB of WAL behind alpha (limit 64.0 MB).", "warning",
    ),
    (
        {"upstream": sending(replay_lsn=Lsn(END - MB), replay_lag_seconds=31.26)}, "lag_seconds", "warns", 31.3, 30.0,
        "beta is 31.3 seconds behind alpha (limit 30.0).", "warning",
    ),
    (
        {"standby": receiving(message_age_seconds=61.04)}, "upstream_silent", "warns", 61.0, 60.0,
        "beta has heard nothing from alpha for 61.0 seconds (limit 60.0).", "warning",
    ),
    (
        {"marker": "missing", "marker_seconds": 10.0}, "marker_not_read", "blocks", 10.0, None,
        "A row written on the primary was not seen on beta within 10.0 seconds.", "failed",
    ),
    (
        {"marker": "refused"}, "epoch_higher", "blocks", None, None,
        "The primary holds a marker of a higher epoch than the panel knows: another panel, or a later state of this one, acted here.",
        "failed",
    ),
    (
        {"upstream": primary(senders=(SENDER, replace(SENDER, pid=2)))}, "name_twice", "warns", 2, 1,
        "2 standbys replicate from alpha under the name beta.", "warning",
    ),
    (
        {"standby": standby(settings={"max_connections": "50", "max_wal_senders": "5"})}, "parameters_lower", "warns",
        "max_connections = 50, max_wal_senders = 5", "max_connections = 100, max_wal_senders = 10",
        "beta has max_connections = 50, max_wal_senders = 5, less than alpha (max_connections = 100, max_wal_senders = 10): "
        "it pauses, and does not start again.", "warning",
    ),
    (
        {"upstream": primary(checksum_failures=3)}, "checksum_failures", "warns", "alpha (3)", 0,
        "Damaged pages were read on alpha (3): the disk or the memory there loses data.", "warning",
    ),
    (
        {"standby": standby(data_checksums=False, settings={"wal_log_hints": "off"})}, "rewind_impossible", "warns", "beta", "on",
        "beta has neither checksums nor wal_log_hints: after a failover it must be cloned anew, it cannot be rewound.", "warning",
    ),
    (
        {"standby": standby(collation_mismatches=("orders", "x"))}, "collation_mismatch", "warns", "beta: orders, x", None,
        "The system's collations changed since these databases were made: beta: orders, x. Indexes on text may be wrong there.", "warning",
    ),
    (
        {"standby": standby(altered_settings=("port", "work_mem"))}, "settings_altered", "warns", "beta: port", None,
        "ALTER SYSTEM outdoes the panel's files: beta: port.", "warning",
    ),
    (
        {"upstream": primary(pending_restart=("shared_buffers",))}, "restart_pending", "warns", "alpha: shared_buffers", None,
        "Settings wait for a restart: alpha: shared_buffers.", "warning",
    ),
    (
        {"upstream": None, "upstream_error": "connection refused\x1b[2J"},
        "upstream_not_observed", "flag", "connection refused\\u001b[2J", None,
        "alpha could not be observed: connection refused\\u001b[2J", "unknown",
    ),
    (
        {"standby": None}, "standby_not_observed", "flag", "no reason given", None,
        "beta could not be observed: no reason given", "unknown",
    ),
]  # fmt: skip


def it_finds_nothing_about_a_healthy_pair():
    assert verify_findings(pair()) == []
    assert verdict([]) == "ok"


@pytest.mark.parametrize(("changes", "name", "severity", "value", "threshold", "sentence", "summary"), FINDS, ids=[row[1] for row in FINDS])
def it_finds(changes, name, severity, value, threshold, sentence, summary):
    found = {finding.name: finding for finding in verify_findings(pair(**changes))}
    # A standby that is a primary and one with no receiver are not streaming either; nothing else is said twice.
    assert set(found) - {name} <= {"not_streaming"} - {name}
    finding = found[name]
    assert (finding.severity, finding.value, finding.threshold, finding.sentence) == (severity, value, threshold, sentence)
    assert finding.cure.endswith(".")
    assert not has_control(finding.sentence + finding.cure)
    assert verdict(found.values()) == summary


def it_tries_every_rule():
    renamed = {
        "lag_bytes": "lag_in_bytes",
        "lag_seconds": "lag_in_seconds",
        "slot_unreserved": "slot_lost",
        "slot_nearly_full": "slot_filling",
    }
    assert {renamed.get(row[1], row[1]) for row in FINDS} == {rule.__name__ for rule in VERIFY_RULES}


def it_fails_a_pair_whose_standby_is_gone_from_the_upstream_too():
    findings = verify_findings(pair(standby=None, upstream=primary(senders=(), slots=(replace(HELD, active=False, pid=None),))))
    assert [finding.name for finding in findings] == ["standby_not_observed", "not_streaming", "slot_not_used"]
    assert findings[1].sentence == "beta is not streaming from alpha: its receiver is not known, the sender for it is absent."
    assert verdict(findings) == "failed"


def it_knows_nothing_of_a_pair_that_nobody_saw():
    findings = verify_findings(pair(upstream=None, standby=None, marker="not_tried"))
    assert [finding.name for finding in findings] == ["upstream_not_observed", "standby_not_observed"]
    assert verdict(findings) == "unknown"


def it_fails_a_pair_without_a_slot_that_does_not_stream():
    findings = verify_findings(pair(upstream=primary(slots=(), senders=()), standby=standby(receiver=None)))
    assert [(finding.name, finding.severity) for finding in findings] == [("not_streaming", "blocks"), ("slot_missing", "blocks")]


def it_verifies_a_standby_of_a_standby():
    upstream = standby(senders=(SENDER,), slots=(HELD,))
    assert verify_findings(pair(upstream=upstream, upstream_is_primary=False)) == []


def it_counts_the_lag_where_both_ends_are_read_at_once():
    later = pair(upstream=sending(replay_lsn=Lsn(END - 5)), standby=standby(replay_lsn=Lsn(END - 9)))
    assert (lag_bytes(later), lag_bytes(pair(upstream=None)), lag_bytes(pair(upstream=sending(replay_lsn=None)))) == (5, None, None)
    assert lag_bytes(pair(upstream=primary(senders=()), standby=standby(replay_lsn=Lsn(END - 9)))) == 9
    assert lag_bytes(pair(upstream=primary(senders=(), wal_lsn=BACK))) == 0
    assert lag_bytes(pair(upstream=primary(senders=()), standby=None)) is None


def it_counts_no_seconds_when_everything_is_replayed():
    assert lag_seconds(pair(upstream=sending(replay_lag_seconds=9.0))) == 0.0


def it_takes_the_seconds_of_the_upstream_first():
    behind = sending(replay_lsn=Lsn(END - 5), replay_lag_seconds=2.5)
    assert lag_seconds(pair(upstream=behind, standby=standby(replay_age_seconds=99.0))) == 2.5
    assert lag_seconds(pair(upstream=sending(replay_lsn=Lsn(END - 5)), standby=standby(replay_age_seconds=7.0))) == 7.0
    assert lag_seconds(pair(upstream=None, standby=standby(replay_age_seconds=7.0))) == 7.0
    assert lag_seconds(pair(upstream=None, standby=None)) is None
