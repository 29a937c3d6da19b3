"""What differs from what is declared: each from its own change of what is as declared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clusters.postgres import drift_rules, files, guard
from clusters.postgres.drift_rules import InForce
from tests.unit.clusters.postgres.cast import REPLICATION_PASSWORD, alpha_spec, beta_spec

IMAGES = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)


def in_force(name, setting, unit="", kind="integer", by="file", pending=False):
    return InForce(name, setting, unit, kind, by, pending)


def it_finds_a_file_as_it_was_written() -> None:
    for spec in (alpha_spec(), beta_spec()):
        for file in (*files.files_of(spec, REPLICATION_PASSWORD), *guard.guard_files(spec)):
            assert drift_rules.file_drift(spec.name, [file], file.content) is None


def it_names_the_first_line_that_differs_and_heeds_no_comment() -> None:
    wanted = files.render_postgresql_conf(alpha_spec())
    commented = wanted.content.replace("# Log\n", "# Somebody's remark\n\n").replace("  # a standby may not", "   # a standby must not")
    assert commented != wanted.content
    assert drift_rules.file_drift("alpha", [wanted], commented) is None
    edited = wanted.content.replace("max_connections = 100", "max_connections = 20")
    found = drift_rules.file_drift("alpha", [wanted], edited)
    assert (found.name, found.severity, found.value, found.threshold) == (
        "file_drifted", "warns", "max_connections = 20", "max_connections = 100",
    )  # fmt: skip
    line = 1 + edited.splitlines().index(next(text for text in edited.splitlines() if text.startswith("max_connections")))
    assert f"first in line {line}: “max_connections = 20”, and not “max_connections = 100”" in found.sentence
    assert drift_rules.file_drift("alpha", [wanted], edited + "fsync = off\n").name == "file_drifted"
    assert drift_rules.file_drift("alpha", [wanted], wanted.content + "fsync = off\n").value == "fsync = off"


def it_takes_a_file_without_a_member_that_is_only_planned_as_well() -> None:
    with_beta, alone = files.render_pg_hba(alpha_spec()), files.render_pg_hba(alpha_spec(members=(alpha_spec().member,)))
    assert drift_rules.file_drift("alpha", [with_beta, alone], alone.content) is None
    assert drift_rules.file_drift("alpha", [with_beta], alone.content).name == "file_drifted"


def it_shows_no_secret_and_minds_each_letter_of_a_program() -> None:
    passfile = files.render_passfile(alpha_spec(), REPLICATION_PASSWORD)
    found = drift_rules.file_drift("alpha", [passfile], passfile.content.replace("orders", "x") + "# a remark\n")
    assert (found.name, found.value) == ("file_drifted", passfile.path)
    assert REPLICATION_PASSWORD.reveal() not in str(found.as_row())
    program = guard.guard_files(alpha_spec())[1]
    assert drift_rules.file_drift("alpha", [program], program.content + "\n# a remark\n").name == "file_drifted"
    assert drift_rules.file_drift("alpha", [program], None).name == "file_missing"


def it_reads_what_is_declared() -> None:
    declared = drift_rules.declared_settings(
        [files.render_postgresql_conf(alpha_spec(settings={"work_mem": "64MB"})), files.render_replication_conf(beta_spec())]
    )
    assert (declared["work_mem"], declared["max_connections"], declared["cluster_name"]) == ("64MB", "100", "orders/alpha")
    assert declared["log_line_prefix"] == "%m [%p] %q%u@%d %a "
    assert not {"primary_conninfo", "synchronous_standby_names"} & set(declared)


@pytest.mark.parametrize(
    ("declared", "seen", "holds"),
    [
        ("64MB", in_force("work_mem", "65536", "kB"), True),
        ("128MB", in_force("shared_buffers", "16384", "8kB"), True),
        ("128MB", in_force("shared_buffers", "16385", "8kB"), False),
        ("-1", in_force("wal_buffers", "512", "8kB"), True),
        ("true", in_force("fsync", "on", kind="bool"), True),
        ("off", in_force("fsync", "on", kind="bool"), False),
        ("0.9", in_force("checkpoint_completion_target", "0.9", kind="real"), True),
        ("Replica", in_force("wal_level", "replica", kind="enum"), True),
        ("minimal", in_force("wal_level", "replica", kind="enum"), False),
        ("orders/alpha", in_force("cluster_name", "orders/beta", kind="string"), False),
    ],
)
def it_compares_values_in_any_unit(declared, seen, holds) -> None:
    assert drift_rules.is_in_force(declared, seen) is holds


def it_tells_what_outdoes_the_declared_settings() -> None:
    declared = {"work_mem": "4MB", "max_connections": "100", "autovacuum": "on"}
    seen = [
        in_force("work_mem", "8192", "kB", by="system"),
        in_force("max_connections", "50", pending=True),
        in_force("autovacuum", "off", kind="bool"),
        in_force("wal_keep_size", "1", "MB", by="command line"),
    ]
    overridden, differs = drift_rules.settings_drift("alpha", declared, seen)
    assert (overridden.name, overridden.value, overridden.threshold) == (
        "setting_overridden", "work_mem = 8192kB (ALTER SYSTEM)", "work_mem = 4MB",
    )  # fmt: skip
    assert (differs.name, differs.value, differs.threshold) == ("setting_differs", "autovacuum = off", "autovacuum = on")
    assert drift_rules.settings_drift("alpha", declared, [replace(seen[0], setting="4096")]) == []


def it_tells_of_images_collations_and_writers() -> None:
    running, named = IMAGES
    found = drift_rules.image_drift("alpha", "postgres:18", running, named)
    assert (found.name, found.value, found.threshold) == ("image_drifted", running, named)
    assert drift_rules.image_drift("alpha", "postgres:18", running, running) is drift_rules.image_drift("alpha", "x", "", named) is None
    assert drift_rules.collations_drift("alpha", []) is None
    found = drift_rules.collations_drift("alpha", [f"shop: public.c{number}" for number in range(12)])
    assert (found.name, found.value.count("shop"), found.value[-1]) == ("collations_changed", 10, "…")
    assert drift_rules.several_writable(["alpha"]) is None
    assert drift_rules.several_writable(["alpha", "beta"]).severity == "blocks"
    assert drift_rules.instance_silent("alpha").name == "instance_silent"
