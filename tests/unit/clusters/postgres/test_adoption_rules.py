from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clusters.postgres.adoption_rules import ADOPTION_RULES, MANUAL, adoption_findings, adoption_obstacles
from clusters.postgres.found import Found, Mounted, Port, RoleSeen, groups
from tests.unit.clusters.postgres.handmade import DATA, SETTINGS, follower, group, line, well_made
from tests.unit.clusters.postgres.pair import HELD, RECEIVER, SENDER, primary, standby

BARE = replace(SENDER, application_name="walreceiver")


def names_of(found: Found, *others: Found) -> list[str]:
    return [finding.name for finding in adoption_findings(found, group(found, *others))]


def it_has_nothing_to_say_of_a_pair_that_is_well_made() -> None:
    made = group(well_made(), follower())
    assert [adoption_findings(member, made) for member in made.members] == [[], []]
    (tie,) = made.ties
    assert (tie.upstream.label, tie.standby.label, tie.slot, tie.state) == ("alpha/db", "beta/db2", HELD.name, "streaming")


@pytest.mark.parametrize(
    ("changed", "name", "severity"),
    [
        ({"hba": (line("all", "trust", "10.0.0.5", "255.255.255.255"),)}, "trust_entry", "flag"),
        ({"hba": (line("all", "trust"),)}, "trust_entry", "warns"),
        ({"hba": (line("shop", "scram-sha-256", "172.0.0.0", "255.0.0.0"),)}, "network_too_wide", "flag"),
        ({"hba": (line("shop", "scram-sha-256", "::", "::"),)}, "network_too_wide", "flag"),
        ({"hba": (line("shop", "scram-sha-256", "all"),)}, "network_too_wide", "flag"),
        ({"hba": (line("shop", "md5", "10.0.0.5", "255.255.255.255"),)}, "md5_entry", "warns"),
        ({"roles": (RoleSeen("shop", False, False, "md5"),)}, "password_kept_as_md5", "warns"),
        (
            {"roles": (RoleSeen("rep", False, True, "scram"),), "hba": (line("rep", "scram-sha-256", "10.0.0.6", "255.255.255.255"),)},
            "all_for_replication",
            "warns",
        ),
        ({"published": (Port("0.0.0.0", 5432, 5432),)}, "published_everywhere", "warns"),
        ({"published": ()}, "not_reachable", "blocks"),
        ({"env": ("POSTGRES_PASSWORD",)}, "password_in_environment", "warns"),
        ({"settings": {**SETTINGS, "fsync": "off"}}, "writes_unsafe", "flag"),
        ({"settings": {**SETTINGS, "full_page_writes": "off"}}, "writes_unsafe", "flag"),
        ({"settings": {**SETTINGS, "ssl": "off"}}, "replication_in_clear", "warns"),
        ({"settings": {**SETTINGS, "max_slot_wal_keep_size": "-1"}}, "slot_uncapped", "warns"),
        ({"settings": {**SETTINGS, "archive_mode": "on", "archive_command": "(disabled)"}}, "archive_nowhere", "flag"),
        ({"restart": "always"}, "restart_unguarded", "flag"),
        ({"stop_seconds": None}, "stop_time_short", "warns"),
        ({"image": "postgres:16"}, "image_by_tag", "warns"),
        ({"mounts": (Mounted("bind", "/x", "/var/lib/postgresql/postgresql.conf"),)}, "config_without_effect", "flag"),
        ({"mounts": (Mounted("bind", "/x", SETTINGS["hba_file"]),)}, "hba_single_file", "warns"),
        ({"init": ("directory init-user-db.sh",)}, "init_script_missing", "warns"),
        ({"file_errors": ("postgresql.conf:3 max_wal invalid value",)}, "files_have_errors", "flag"),
        ({"observed": primary(senders=(replace(SENDER, role="postgres"),)).as_row()}, "superuser_replicates", "flag"),
        ({"observed": primary(slots=(replace(HELD, active=False, pid=None, restart_lsn=None),)).as_row()}, "slot_unused", "warns"),
        ({"observed": primary(data_checksums=False).as_row()}, "no_checksums", "warns"),
        ({"observed": primary(version_num=130004, version="13.4").as_row()}, "version_unsupported", "blocks"),
    ],
)
def it_finds_what_is_wrong_with_a_primary(changed: dict[str, Any], name: str, severity: str) -> None:
    found = well_made(**changed)
    (finding,) = [each for each in adoption_findings(found, group(found, follower())) if each.name == name]
    assert (finding.severity, bool(finding.cure)) == (severity, True)


@pytest.mark.parametrize(
    ("changed", "sent", "name"),
    [
        ({"observed": standby(receiver=replace(RECEIVER, slot=None)).as_row()}, SENDER, "follows_without_slot"),
        ({"conninfo_password": True}, SENDER, "password_in_settings"),
        ({}, BARE, "name_not_its_own"),
        ({}, replace(SENDER, state="catchup"), "standby_not_streaming"),
        ({"image_id": "sha256:bb", "libc": "musl"}, SENDER, "images_differ"),
        ({"observed": standby(data_checksums=False, settings={"wal_log_hints": "off"}).as_row()}, SENDER, "no_wal_log_hints"),
    ],
)
def it_finds_what_is_wrong_with_a_standby(changed: dict[str, Any], sent: Any, name: str) -> None:
    first = well_made(observed=primary(senders=(sent,)).as_row())
    assert name in names_of(follower(**changed), first)


def it_does_not_adopt_two_primaries_or_a_standby_alone() -> None:
    two = group(well_made(), well_made(server="gamma", address="10.0.0.9"))
    assert {(found.label, each.name) for found, each in adoption_obstacles(two)} == {
        ("alpha/db", "several_primaries"),
        ("gamma/db", "several_primaries"),
    }
    assert [each.name for _found, each in adoption_obstacles(group(follower()))] == ["no_primary"]


def it_leaves_out_what_is_the_panels_own_and_what_could_not_be_asked() -> None:
    assert groups([well_made(own="orders/node1"), well_made(observed={}, error="it did not answer")]) == []


def it_comes_back_from_its_row() -> None:
    for found in (well_made(conninfo={"host": "10.0.0.5"}, init=("file a.sql",)), follower()):
        assert Found.from_row(found.as_row()) == found


def it_knows_where_a_path_of_a_container_lies_on_the_server() -> None:
    found = well_made(mounts=(Mounted("bind", "/srv/db", DATA), Mounted("bind", "/srv/hba", f"{DATA}/pg_hba.conf")))
    assert found.outside(f"{DATA}/base/1") == "/srv/db/base/1"
    assert found.outside(f"{DATA}/pg_hba.conf") == "/srv/hba"
    assert found.outside("/etc/postgresql.conf") == ""


def it_says_where_in_the_manual_only_of_findings_that_there_are() -> None:
    assert set(MANUAL) <= {rule.__name__ for rule in ADOPTION_RULES}
