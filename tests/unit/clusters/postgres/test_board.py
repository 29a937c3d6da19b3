"""The eligibility board: what it says of each standby under each rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.postgres.board import board, title_of
from clusters.postgres.promotion_facts import Surroundings
from clusters.postgres.rules import FAILOVER_RULES, PROMOTE_RULES, SWITCHOVER_RULES
from tests.unit.clusters.postgres.three import alpha, beta, dead, forced, planned


def statuses(rules, facts):
    return {cell.rule: cell.status for cell in board(rules, {"beta": facts})["beta"].cells}


@pytest.mark.parametrize(("rules", "facts"), [(SWITCHOVER_RULES, planned()), (PROMOTE_RULES, planned()), (FAILOVER_RULES, forced())])
def it_says_that_all_is_well(rules, facts):
    expected = {rule.__name__: "unknown" if rule.__name__ == "unfenced_primary" else "ok" for rule in rules}
    assert statuses(rules, facts) == expected
    assert board(rules, {"beta": facts})["beta"].eligible


def it_shows_what_is_in_the_way():
    standing = board(SWITCHOVER_RULES, {"beta": planned(candidate=beta(replay_state="paused"), sync_mode="any", sync_count=3)})["beta"]
    assert [(found.name, found.severity) for found in standing.obstacles] == [("replay_paused", "blocks"), ("relax_sync", "flag")]
    assert (standing.eligible, standing.flags) == (False, ["relax_sync"])
    cell = next(cell for cell in standing.cells if cell.rule == "replay_paused")
    assert (cell.title, cell.status) == ("It replays.", "obstacle")


def it_is_eligible_where_only_a_flag_is_needed():
    standing = board(FAILOVER_RULES, {"beta": forced(sync_mode="async", sync_count=0)})["beta"]
    assert (standing.eligible, standing.flags) == (True, ["possible_data_loss"])


def it_does_not_take_silence_for_an_answer():
    """What could not be seen is not well: nobody knows."""
    blind = planned(candidate=replace(beta(), around=Surroundings()))
    assert {rule for rule, status in statuses(SWITCHOVER_RULES, blind).items() if status == "unknown"} == {
        "machine_differs", "libc_differs", "icu_differs", "extension_missing", "disk_full", "login_refused",
    }  # fmt: skip
    gone = statuses(SWITCHOVER_RULES, planned(primary=dead(alpha())))
    assert (gone["primary_silent"], gone["archive_backlog"], gone["timeline_differs"]) == ("obstacle", "unknown", "unknown")
    assert gone["rewind_impossible"] == "ok"  # an earlier look has told
    deaf = statuses(SWITCHOVER_RULES, planned(candidate=dead(beta())))
    assert {deaf[name] for name in ("replay_paused", "parameters_lower", "upstream_silent", "no_free_slot")} == {"unknown"}


def it_shows_a_look_of_an_earlier_release():
    """It had asked for less; that is no reason to show nothing."""
    facts = planned(candidate=beta(), primary=alpha())
    old = replace(facts, candidate=replace(facts.candidate, facts=replace(facts.candidate.facts, settings={})))
    assert statuses(SWITCHOVER_RULES, old)["no_free_walsender"] == "unknown"
    blank = replace(facts.primary.facts, archive_waiting=None)
    assert statuses(SWITCHOVER_RULES, planned(primary=alpha(blank)))["archive_backlog"] == "unknown"


@pytest.mark.parametrize("rule", dict.fromkeys((*SWITCHOVER_RULES, *FAILOVER_RULES, *PROMOTE_RULES)), ids=lambda rule: rule.__name__)
def it_has_a_title_for_every_rule(rule):
    assert title_of(rule).endswith(".")
    assert len(title_of(rule)) < 100
