"""Obstacles before a promotion: each fires on its own change of a cluster that is well, with its whole sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from clusters.postgres.facts import Lsn
from clusters.postgres.promotion_facts import FLAGS, Flag, Surroundings, last_known, loss_bytes, off_branch, quorum_seen
from clusters.postgres.refused import has_control
from clusters.postgres.rules import (
    FAILOVER_RULES,
    PROMOTE_RULES,
    SWITCHOVER_RULES,
    best_candidate,
    failover_obstacles,
    promote_obstacles,
    switchover_obstacles,
)
from tests.unit.clusters.postgres.cast import SLOT
from tests.unit.clusters.postgres.pair import END, HELD, MB, RECEIVER, SENDER, primary, standby
from tests.unit.clusters.postgres.three import ALONE, AROUND, GAMMA_SLOT, SENDERS, SLOTS, alpha, beta, dead, forced, gamma, planned

OTHERS = tuple(replace(SENDER, pid=pid, application_name=f"other-{pid}") for pid in range(9))
FOREIGN = tuple(replace(HELD, name=f"other_{number}") for number in range(8))
EARLIER, LATER = Lsn(END - 20 * MB), Lsn(END + 4096)
LOGICAL = replace(HELD, name="warehouse", type="logical", active=False)


def around(member, **changes):
    return replace(member, around=replace(member.around, **changes))


def built(member, **changes):
    return around(member, build=replace(member.around.build, **changes))


def seen(**changes):
    """alpha, with these facts."""
    return alpha(primary(**{"senders": SENDERS, "slots": SLOTS, "archive_waiting": 0, **changes}))


def behind(lsn):
    """alpha, to which beta has acknowledged only this much."""
    return seen(senders=(replace(SENDER, flush_lsn=lsn), SENDERS[1]))


#: What every act asks: what is changed, and what is found. The change is of `planned`, `forced` and of a promotion out of the cluster.
SHARED = [
    (
        lambda facts: {"candidate": replace(facts.candidate, facts=None, error="no route to host\x1b[2J\n")},
        "candidate_silent", "blocks", "no route to host\\u001b[2J", None, "beta does not answer: no route to host\\u001b[2J",
    ),
    (
        lambda facts: {"candidate": replace(facts.candidate, age_seconds=601.2)}, "look_too_old", "blocks", 601, 600,
        "The last look at beta is 601 seconds old (limit 600); everything may have changed since.",
    ),
    (
        lambda facts: {"candidate": replace(facts.candidate, age_seconds=None)}, "look_too_old", "blocks", None, 600,
        "Nobody has looked at beta yet (limit 600 seconds).",
    ),
    (
        lambda facts: {"candidate": replace(facts.candidate, quarantined=True)}, "candidate_quarantined", "blocks", None, None,
        "beta is in quarantine: it may lack what the cluster has, and have what the cluster never had.",
    ),
    (
        lambda facts: {"candidate": around(facts.candidate, fenced="job 7: failover")}, "candidate_fenced", "blocks",
        "job 7: failover", None, "beta bears a fence on its server: job 7: failover",
    ),
    (
        lambda facts: {"siblings": (*facts.siblings, replace(gamma(), name="delta", upstream=None, facts=primary()))},
        "second_primary", "blocks", "delta", None,
        "delta, declared a standby, accepts writes: the cluster has a primary that the panel did not make.",
    ),
    (
        lambda facts: {"candidate": replace(facts.candidate, facts=replace(facts.candidate.facts, system_identifier="666"))},
        "system_identifier_differs", "blocks", "7711206371833417327, 666", "7711206371833417327",
        "The system identifiers differ (7711206371833417327, 666; recorded: 7711206371833417327): at least one is not a copy of "
        "this cluster.",
    ),
    (
        lambda facts: {"candidate": replace(facts.candidate, facts=replace(facts.candidate.facts, version_num=150004))},
        "major_version_differs", "blocks", 15, 16, "beta runs PostgreSQL 15, alpha ran 16.",
    ),
    (
        lambda facts: {"candidate": built(facts.candidate, machine="aarch64")}, "machine_differs", "blocks", "aarch64", "x86_64",
        "The processor of beta is aarch64, that of alpha x86_64; a physical copy does not work across them.",
    ),
    (
        lambda facts: {"candidate": built(facts.candidate, libc="musl")}, "libc_differs", "blocks", "musl", "glibc 2.36",
        "The C library of beta is musl, that of alpha glibc 2.36; they may sort text differently.",
    ),
    (
        lambda facts: {"candidate": built(facts.candidate, libc="glibc 2.31")}, "libc_differs", "warns", "glibc 2.31", "glibc 2.36",
        "The C library of beta is glibc 2.31, that of alpha glibc 2.36; they may sort text differently.",
    ),
    (
        lambda facts: {"candidate": built(facts.candidate, icu="74")}, "icu_differs", "warns", "74", "72",
        "beta is linked with ICU 74, alpha with ICU 72; its collations may sort text differently.",
    ),
    (
        lambda facts: {"candidate": built(facts.candidate, image="sha256:b"), "primary": built(facts.primary, image="sha256:a")},
        "image_differs", "warns", "sha256:b", "sha256:a", "beta runs the image sha256:b, alpha the image sha256:a.",
    ),
    (
        lambda facts: {"candidate": around(built(facts.candidate, extensions=("plpgsql",)), extensions_used=("postgis",))},
        "extension_missing", "blocks", "postgis", None,
        "The databases of alpha use extensions that beta has not on disk: postgis. What needs them fails there.",
    ),
    (
        lambda facts: {"primary": replace(facts.primary, facts=seen(settings={"max_connections": "200"}).facts)},
        "parameters_lower", "blocks", "max_connections = 100", "max_connections = 200",
        "beta has max_connections = 100, less than alpha (max_connections = 200): its replay pauses, and a promotion would shut it down.",
    ),
    (
        lambda facts: {"candidate": around(facts.candidate, free_bytes=100 * MB)}, "disk_full", "blocks", 100 * MB, 256 * MB,
        "beta has 100 MB free on its disk; a primary needs at least 256 MB to go on.",
    ),
    (
        lambda facts: {"siblings": tuple(around(member, epoch=3) for member in facts.siblings)}, "epoch_higher", "blocks", 3, 1,
        "The server of gamma has heard of epoch 3, the panel knows 1: somebody else has promoted here since.",
    ),
]  # fmt: skip

SWITCHOVER = [
    (
        {"primary": replace(dead(alpha()), facts=None)}, "primary_silent", "blocks", "connection refused", None,
        "The primary alpha does not answer: connection refused",
    ),
    ({"primary": None, "siblings": ()}, "primary_silent", "blocks", "nobody has looked at it yet", None,
     "The primary - does not answer: nobody has looked at it yet"),
    ({"primary": alpha(replace(primary(senders=SENDERS, slots=SLOTS), in_recovery=True))}, "primary_not_primary", "blocks",
     "standby", "primary", "alpha is declared the primary and is in recovery: it accepts no writes."),
    ({"primary": seen(archive_waiting=17)}, "archive_backlog", "blocks", 17, 16,
     "17 WAL files of alpha wait to be archived (limit 16); its stop would wait for them."),
    ({"primary": seen(base_backups=1), "candidate": beta(base_backups=2)}, "backup_running", "blocks", "alpha: 1, beta: 2", 0,
     "A base backup is running (alpha: 1, beta: 2): the switchover would break it off."),
    ({"primary": seen(senders=(*SENDERS, replace(SENDER, pid=9)))}, "name_twice", "blocks", "beta", 1,
     "More than one standby replicates from alpha under the name beta: whose acknowledgement counts cannot be told."),
    ({"primary": seen(prepared_transactions=2)}, "prepared_transactions", "warns", 2, 0,
     "2 prepared transactions are open on alpha; they go over to the new primary, with their locks."),
    ({"primary": seen(long_transaction_seconds=61.4)}, "long_transactions", "warns", 61, 60,
     "A transaction on alpha has been open for 61 seconds (limit 60); it will be cut off and rolled back."),
    ({"primary": seen(slots=(*SLOTS, LOGICAL))}, "slots_left_behind", "warns", "warehouse (logical)", None,
     "Slots of alpha that beta has not: warehouse (logical). Who reads through them loses the place where they were."),
    ({"primary": seen(data_checksums=False, settings={"wal_log_hints": "off"})}, "rewind_impossible", "warns", "off", "on",
     "alpha has neither checksums nor wal_log_hints: should it have WAL that the new primary lacks, it must be cloned anew."),
    ({"candidate": replace(beta(), cascaded=True, upstream="gamma")}, "candidate_cascaded", "blocks", "gamma", "alpha",
     "beta follows gamma, another standby: what the primary sends last would not reach it directly."),
    ({"primary": seen(timeline=2)}, "timeline_differs", "blocks", 1, 2, "beta is on timeline 1, alpha on timeline 2."),
    ({"candidate": beta(receiver=None)}, "not_streaming", "blocks", "absent", "streaming",
     "beta is not streaming from alpha: its receiver is absent, the sender for it is streaming."),
    ({"primary": seen(senders=SENDERS[1:])}, "not_streaming", "blocks", "streaming", "streaming",
     "beta is not streaming from alpha: its receiver is streaming, the sender for it is absent."),
    ({"candidate": beta(receiver=replace(RECEIVER, message_age_seconds=35.04))}, "upstream_silent", "blocks", 35.0, 35.0,
     "beta has heard nothing from its upstream for 35.0 seconds (limit 35.0)."),
    ({"primary": behind(EARLIER)}, "lag_bytes", "blocks", 20 * MB, 16 * MB,
     "beta is 20.0 MB of WAL behind alpha (limit 16.0 MB); while it catches up nobody could write."),
    ({"candidate": beta(replay_state="paused")}, "replay_paused", "blocks", "paused", "not paused",
     "Replay on beta does not go on (paused)."),
    ({"candidate": beta(settings={"recovery_min_apply_delay": "60000"})}, "replay_delayed", "flag", 60000, 0,
     "beta replays 60000 ms late on purpose: it must replay the rest before it accepts writes."),
    ({"candidate": beta(collation_mismatches=("shop",))}, "collation_mismatch", "blocks", "shop", None,
     "The system of beta sorts text in another way than when these databases were made: shop. Indexes may be wrong."),
    ({"primary": seen(settings={"wal_level": "logical"})}, "wal_level_too_low", "blocks", "replica", "logical",
     "wal_level is replica on beta and logical on alpha: who reads its WAL there could not go on."),
    ({"candidate": beta(senders=OTHERS[:8])}, "no_free_walsender", "blocks", 2, 3,
     "beta has 2 WAL senders left; the instances that will follow it take 3, one to spare included."),
    ({"candidate": beta(slots=FOREIGN)}, "no_free_slot", "blocks", 2, 3,
     "beta has 2 replication slots left; those that will follow it take 3, one to spare included."),
    ({"candidate": around(beta(), logins={"alpha": "FATAL:  no pg_hba.conf entry\n", "gamma": ""})}, "login_refused", "blocks",
     "FATAL:  no pg_hba.conf entry", None,
     "alpha could not log in to beta as the replication role: FATAL:  no pg_hba.conf entry"),
    ({"primary": seen(slots=(replace(HELD, wal_status="lost"), SLOTS[1]))}, "slot_lost", "blocks", "lost", "reserved",
     f"WAL that beta needs is gone: its slot {SLOT} is lost."),
    ({"primary": seen(slots=(replace(HELD, wal_status="unreserved"), SLOTS[1]))}, "slot_unreserved", "warns", "unreserved", "reserved",
     f"WAL that beta needs goes at the next checkpoint: its slot {SLOT} is unreserved."),
    ({"primary": seen(slots=SLOTS[1:])}, "slot_missing", "warns", SLOT, None,
     f"alpha has no slot {SLOT}: nothing keeps the WAL that beta needs, should it be cut off."),
    ({"siblings": (gamma(altered_settings=("primary_conninfo", "work_mem")),)}, "settings_altered", "blocks", "gamma: primary_conninfo",
     None, "ALTER SYSTEM outdoes the panel's files: gamma: primary_conninfo. After the switchover these would follow the wrong "
     "instance, or wait for it."),
    ({"siblings": (dead(gamma()),)}, "sibling_silent", "warns", "gamma", None,
     "gamma does not answer; it will follow the new primary when it is back, if its WAL is still there."),
    ({"sync_mode": "any", "sync_count": 3}, "relax_sync", "flag", 2, 3,
     "Commits must wait for 3 standbys; after the switchover 2 are left (alpha, gamma): no commit would end."),
]  # fmt: skip

FAILOVER = [
    ({"primary": alpha()}, "primary_seen_alive", "flag", "the panel", None,
     "alpha is alive: it is heard by the panel. A failover would make a second primary beside it."),
    ({"siblings": (gamma(),)}, "primary_seen_alive", "flag", "gamma", None,
     "alpha is alive: it is heard by gamma. A failover would make a second primary beside it."),
    ({"primary_full": "/srv/backup 9.0 GB"}, "primary_disk_full", "flag", "/srv/backup 9.0 GB", None,
     "alpha has stopped since its disk is full: /srv/backup 9.0 GB take the space. With some freed it comes back, and nothing is lost."),
    ({"fence": "none"}, "unfenced_primary", "flag", "none", "stopped",
     "Nobody can tell that alpha is stopped: if it lives, applications may go on writing to it, and that will be lost."),
    ({"sync_mode": "async", "sync_count": 0, "candidate": beta(receiver=ALONE, receive_lsn=EARLIER, replay_lsn=EARLIER),
      "siblings": (gamma(receiver=ALONE, receive_lsn=EARLIER, replay_lsn=EARLIER),)}, "possible_data_loss", "flag", 20 * MB, 0,
     "beta lacks at least 20.0 MB of WAL that alpha had when last seen; commits in it and after it may be lost."),
    ({"sync_mode": "async", "sync_count": 0, "primary_end": LATER}, "possible_data_loss", "flag", 4096, 0,
     "beta lacks exactly 4.0 kB of the WAL of alpha; acknowledged commits in it will be lost."),
    ({"siblings": (gamma(receiver=ALONE, receive_lsn=LATER),), "primary_end": END}, "not_most_advanced", "flag",
     f"TLI 1 {END}", f"TLI 1 {LATER}", f"gamma has more WAL than beta: TLI 1 {LATER} against TLI 1 {END}."),
    ({"siblings": (dead(gamma()),), "primary_end": END, "sync_mode": "async", "sync_count": 0}, "missing_standby", "flag", "gamma", None,
     "gamma could not be asked what it has; it may have more than beta."),
    ({"siblings": (replace(gamma(receiver=ALONE), quarantined=True),)}, "relax_sync", "flag", 0, 1,
     "Commits must wait for 1 standbys; after the failover 0 are left: no commit would end."),
    ({"candidate": beta(receiver=ALONE, replay_state="paused")}, "replay_delayed", "flag", "paused", "not paused",
     "Replay on beta does not go on (paused): it must replay the rest before it accepts writes."),
    ({"candidate": beta(receiver=ALONE, settings={"recovery_min_apply_delay": "60000"})}, "replay_delayed", "flag", 60000, 0,
     "beta replays 60000 ms late on purpose: it must replay the rest before it accepts writes."),
    ({"siblings": (replace(gamma(timeline=2, receiver=ALONE), history=((1, EARLIER),)),), "primary_end": END},
     "dead_branch", "blocks", f"TLI 1 {END}", f"TLI 2 {END}",
     f"beta (TLI 1 {END}) is on a dead branch of history: it has WAL that does not fit that of gamma (TLI 2 {END})."),
    ({"candidate": beta(receiver=ALONE, collation_mismatches=("shop",))}, "collation_mismatch", "warns", "shop", None,
     "The system of beta sorts text in another way than when these databases were made: shop. Indexes may be wrong."),
    ({"candidate": beta(receiver=ALONE, senders=OTHERS[:8])}, "no_free_walsender", "warns", 2, 3,
     "beta has 2 WAL senders left; the instances that will follow it take 3, one to spare included."),
    ({"candidate": beta(receiver=ALONE, slots=FOREIGN)}, "no_free_slot", "warns", 2, 3,
     "beta has 2 replication slots left; those that will follow it take 3, one to spare included."),
    ({"candidate": around(beta(receiver=ALONE), logins={"alpha": "no", "gamma": "timeout"})}, "login_refused", "warns", "timeout", None,
     "gamma could not log in to beta as the replication role: timeout"),
    ({"candidate": beta(receiver=ALONE, altered_settings=("primary_conninfo",))}, "settings_altered", "warns", "beta: primary_conninfo",
     None, "ALTER SYSTEM outdoes the panel's files: beta: primary_conninfo."),
    ({"primary": dead(seen(slots=(*SLOTS, LOGICAL)))}, "slots_left_behind", "warns", "warehouse (logical)", None,
     "Slots of alpha that beta has not: warehouse (logical). Who reads through them loses the place where they were."),
    ({"primary": dead(seen(data_checksums=False, settings={"wal_log_hints": "off"}))}, "rewind_impossible", "warns", "off", "on",
     "alpha has neither checksums nor wal_log_hints: should it have WAL that the new primary lacks, it must be cloned anew."),
]  # fmt: skip

PROMOTE = [
    ({"primary": dead(alpha())}, "primary_silent", "blocks", "connection refused", None,
     "The primary alpha does not answer: connection refused"),
    ({"siblings": (gamma(), replace(gamma(), name="delta", upstream="beta", cascaded=True))}, "followed_by_others", "blocks", "delta",
     None, "delta follows beta and would leave the cluster with it."),
    ({"candidate": beta(base_backups=1)}, "backup_of_candidate", "blocks", 1, 0,
     "Base backups of beta are running (1); a promotion spoils them."),
    ({"candidate": beta(replay_state="paused")}, "replay_delayed", "flag", "paused", "not paused",
     "Replay on beta does not go on (paused): it must replay the rest before it accepts writes."),
    ({"candidate": beta(altered_settings=("primary_slot_name",))}, "settings_altered", "blocks", "beta: primary_slot_name", None,
     "ALTER SYSTEM outdoes the panel's files: beta: primary_slot_name."),
    ({"primary": behind(EARLIER)}, "lag_bytes", "warns", 20 * MB, 16 * MB,
     "beta is 20.0 MB of WAL behind alpha: it will lack what is in it."),
    ({"sync_mode": "first", "sync_count": 2}, "relax_sync", "flag", 1, 2,
     "Commits must wait for 2 standbys; without beta 1 are left: no commit would end."),
    ({"siblings": ()}, "last_standby", "warns", 0, 1, "Without beta the cluster has no standby: its data is on one disk only."),
]  # fmt: skip

ACTS = {
    "switchover": (planned, switchover_obstacles, SWITCHOVER, SWITCHOVER_RULES),
    "failover": (forced, failover_obstacles, FAILOVER, FAILOVER_RULES),
    "promote": (planned, promote_obstacles, PROMOTE, PROMOTE_RULES),
}
CASES = [
    pytest.param(act, *row, id=f"{act}-{row[1]}-{number}")
    for act, (_base, _found, own, _rules) in ACTS.items()
    for number, row in enumerate([*SHARED, *own])
]
#: Where several rules say the same thing, each in its own words.
SEVERAL = {("failover", "dead_branch")}


@pytest.mark.parametrize("act", ACTS)
def it_finds_nothing_where_nothing_is_in_the_way(act):
    base, found, _own, _rules = ACTS[act]
    assert found(base()) == []


@pytest.mark.parametrize(("act", "change", "name", "severity", "value", "threshold", "sentence"), CASES)
def it_finds(act, change, name, severity, value, threshold, sentence):
    base, obstacles, _own, _rules = ACTS[act]
    facts = replace(base(), **(change(base()) if callable(change) else change))
    every = obstacles(facts)
    (found,) = [obstacle for obstacle in every if obstacle.name == name]
    assert every == [found] or (act, name) in SEVERAL
    assert (found.name, found.severity, found.value, found.threshold, found.sentence) == (name, severity, value, threshold, sentence)
    assert found.cure.endswith(".")
    assert not has_control(found.sentence + found.cure)


@pytest.mark.parametrize("act", ACTS)
def it_tries_every_rule(act):
    _base, _found, own, rules = ACTS[act]
    elsewhere = {"candidate_not_standby"}  # below
    names = {row[1] for row in [*SHARED, *own]} - {"slot_unreserved"} | elsewhere
    assert names == {"replay_delayed" if rule.__name__ == "replay_late" else rule.__name__ for rule in rules}


@pytest.mark.parametrize("act", ACTS)
def it_never_promotes_what_accepts_writes_already(act):
    base, obstacles, _own, _rules = ACTS[act]
    facts = replace(base(), candidate=replace(beta(), facts=primary(timeline=2)))
    (found,) = [found for found in obstacles(facts) if found.name == "candidate_not_standby"]
    assert (found.severity, found.value) == ("blocks", 2)


@pytest.mark.parametrize("act", ACTS)
def it_names_a_flag_after_the_flag_that_allows_it(act):
    _base, _found, own, _rules = ACTS[act]
    assert {row[1] for row in [*SHARED, *own] if row[2] == "flag"} <= set(FLAGS)
    assert {row[1] for row in FAILOVER if row[2] == "flag"} == set(FLAGS) == set(get_args(Flag))


@pytest.mark.parametrize("act", ACTS)
def it_says_something_of_a_cluster_of_which_nothing_is_known(act):
    base, obstacles, _own, _rules = ACTS[act]
    blank = {"facts": None, "around": Surroundings(), "error": "no answer", "age_seconds": None}
    facts = base()
    facts = replace(
        facts,
        candidate=replace(facts.candidate, **blank),
        primary=replace(facts.primary, **blank),
        siblings=tuple(replace(member, **blank) for member in facts.siblings),
    )
    assert "candidate_silent" in [found.name for found in obstacles(facts)]


def it_does_not_count_a_connection_over_which_nothing_comes():
    """A server that lost power says no farewell: its standby's receiver streams for a minute more."""
    streaming = {"candidate": beta(), "siblings": (gamma(),)}
    assert "primary_seen_alive" in [found.name for found in failover_obstacles(forced(**streaming))]
    deaf = {"candidate": replace(beta(), deaf=True), "siblings": (replace(gamma(), deaf=True),)}
    assert "primary_seen_alive" not in [found.name for found in failover_obstacles(forced(**deaf))]
    half = {"candidate": replace(beta(), deaf=True), "siblings": (gamma(),)}
    assert [found.value for found in failover_obstacles(forced(**half)) if found.name == "primary_seen_alive"] == ["gamma"]


def it_takes_exactly_what_is_allowed():
    limits = planned().limits
    facts = planned(
        candidate=around(beta(receiver=replace(RECEIVER, message_age_seconds=limits.message_age_seconds)), free_bytes=limits.free_bytes),
        primary=alpha(
            primary(
                senders=(replace(SENDER, flush_lsn=Lsn(END - limits.lag_bytes)), SENDERS[1]),
                slots=SLOTS,
                archive_waiting=limits.archive_files,
                long_transaction_seconds=limits.transaction_seconds,
            )
        ),
    )
    assert switchover_obstacles(replace(facts, candidate=replace(facts.candidate, age_seconds=limits.look_age_seconds))) == []
    full = beta(senders=(*OTHERS[:7], SENDERS[1]), slots=(*FOREIGN[:7], SLOTS[1], replace(HELD, name="pgr_orders_alpha")))
    assert switchover_obstacles(planned(candidate=full)) == []


def it_counts_no_login_of_one_that_does_not_answer():
    facts = planned(candidate=around(beta(), logins={"alpha": "", "gamma": "timeout"}), siblings=(dead(gamma()),))
    assert [found.name for found in switchover_obstacles(facts)] == ["sibling_silent"]


def it_does_not_blame_the_candidate_for_what_the_primary_has_too():
    facts = planned(candidate=beta(collation_mismatches=("shop",)), primary=seen(collation_mismatches=("shop",)))
    assert switchover_obstacles(facts) == []


def it_lets_a_backup_tool_run_twice():
    tool = replace(SENDER, application_name="pg_receivewal")
    assert switchover_obstacles(planned(primary=seen(senders=(*SENDERS, tool, replace(tool, pid=8))))) == []


# -- failover: what is proven


def it_cannot_tell_a_loss_where_nothing_was_ever_seen_of_the_primary():
    facts = forced(sync_mode="async", sync_count=0, primary=None, candidate=beta(receiver=ALONE), siblings=())
    (loss,) = [found for found in failover_obstacles(facts) if found.name == "possible_data_loss"]
    assert loss.value == 0  # what the candidate has is the last that is known
    assert loss.sentence == "beta has all that - was known to have; what it acknowledged after it was last heard may be lost."


@pytest.mark.parametrize(
    ("mode", "count", "answering", "proven"),
    [("async", 0, 3, False), ("any", 1, 3, True), ("any", 1, 2, False), ("any", 2, 2, True), ("first", 2, 1, False), ("first", 3, 1, True)],
)
def it_proves_a_quorum_by_those_that_answer(mode, count, answering, proven):
    others = [gamma(), replace(gamma(), name="delta")]
    siblings = tuple(member if number + 2 <= answering else dead(member) for number, member in enumerate(others))
    assert quorum_seen(forced(sync_mode=mode, sync_count=count, siblings=siblings)) is proven


def it_is_not_proven_by_the_quorum_where_another_has_more():
    facts = forced(siblings=(gamma(receiver=ALONE, receive_lsn=LATER),))
    assert [found.name for found in failover_obstacles(facts)] == ["possible_data_loss", "not_most_advanced"]


def it_knows_how_far_the_primary_had_come_from_whoever_heard_it_last():
    heard = beta(receiver=replace(ALONE, upstream_lsn=LATER))
    assert last_known(forced(candidate=heard)) == LATER
    assert loss_bytes(forced(candidate=heard)) == 4096
    assert last_known(forced(candidate=replace(heard, cascaded=True))) == END  # it heard another standby
    assert last_known(forced(candidate=heard, primary_end=END)) == END
    stray = replace(gamma(receive_lsn=LATER), quarantined=True)
    assert last_known(forced(siblings=(stray,))) == END


HISTORY = ((1, END),)


@pytest.mark.parametrize(
    ("older", "newer", "off"),
    [
        (beta(), gamma(), False),
        (beta(), replace(gamma(timeline=2), history=HISTORY), False),
        (beta(receive_lsn=LATER), replace(gamma(timeline=2), history=HISTORY), True),
        (beta(receive_lsn=LATER), gamma(timeline=2), False),  # not read: nobody is accused
        (beta(timeline=2), replace(gamma(timeline=3), history=HISTORY), True),  # it never was on timeline 2
        (replace(beta(), facts=None), replace(gamma(timeline=3), history=HISTORY), False),
    ],
)
def it_reads_the_history_and_not_the_number_alone(older, newer, off):
    assert (off_branch(older, newer), off_branch(newer, older)) == (off, off)


def it_calls_dead_what_left_the_primarys_branch_even_with_a_higher_timeline():
    stray = replace(beta(timeline=3, receiver=ALONE), history=HISTORY)
    facts = forced(candidate=stray, primary=dead(seen(timeline=2)), siblings=())
    assert "dead_branch" in [found.name for found in failover_obstacles(facts)]


# -- which one


def each(*members):
    """The facts of each as the candidate."""
    return [
        forced(candidate=member, siblings=tuple(other for other in members if other is not member), sync_mode="async", sync_count=0)
        for member in members
    ]


def named(name, **changes):
    return replace(beta(receiver=ALONE, **changes), name=name)


def it_chooses_the_most_wal_on_the_newest_timeline():
    low, high = named("a", receive_lsn=END), named("b", receive_lsn=LATER)
    assert best_candidate(each(low, high)) == "b"
    assert best_candidate(each(named("c", timeline=2, receive_lsn=EARLIER, replay_lsn=EARLIER), high)) == "c"
    assert best_candidate(each(named("b"), named("a"))) == "a"
    assert best_candidate(each(named("a", replay_state="paused"), named("b"))) == "b"
    assert best_candidate(each(replace(named("a"), cascaded=True), named("b"))) == "b"
    assert best_candidate(each(named("a", receive_lsn=LATER, replay_state="paused"), named("b"))) == "a"


def it_chooses_nobody_that_something_blocks():
    full = around(named("a", receive_lsn=LATER), free_bytes=0)
    assert best_candidate(each(full, named("b"))) == "b"
    assert best_candidate(each(full)) is None
    assert best_candidate([]) is None
    assert best_candidate(each(replace(named("a"), facts=standby(system_identifier="1")), dead(named("b")))) is None


def it_reads_back_its_surroundings():
    assert Surroundings.from_row(AROUND.as_row()) == AROUND
    assert GAMMA_SLOT in {slot.name for slot in SLOTS}
