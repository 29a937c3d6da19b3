"""What programs are made of, as the script prints it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from clusters.postgres.build import NAMES, NOT_KNOWN, Build, asked_in

PRINTED = """libc glibc 2.36
icu 72
extension plpgsql
extension postgis
"""


def it_reads_what_the_script_printed() -> None:
    assert Build.parse(PRINTED).on("x86_64", "sha256:1") == Build("x86_64", "glibc 2.36", "72", "sha256:1", ("plpgsql", "postgis"))


def it_takes_nothing_from_an_answer_that_is_none() -> None:
    assert Build.parse("") == NOT_KNOWN
    assert Build.parse("libc \nextension ../../etc\nextension a b\n\x1b[2J\n") == NOT_KNOWN


def it_bounds_what_a_hostile_server_prints() -> None:
    found = Build.parse("libc " + "x" * 10_000 + "\n" + "".join(f"extension e{number}\n" for number in range(5_000)))
    assert len(found.libc) < 100
    assert len(found.extensions) == NAMES


def it_comes_back_from_its_row() -> None:
    build = Build.parse(PRINTED).on("x86_64")
    assert Build.from_row(build.as_row()) == build
    assert Build.from_row({}) == NOT_KNOWN


def it_knows_what_another_has_more() -> None:
    less, more = Build(extensions=("plpgsql",)), Build(extensions=("plpgsql", "postgis"))
    assert less.lacks(more) == ("postgis",)
    assert more.lacks(less) == ()
    assert NOT_KNOWN.lacks(more) == ()  # nobody could tell what is there


def it_reads_the_programs_that_are_here(embedded_bindir: Path) -> None:
    asked = subprocess.run(asked_in(str(embedded_bindir)).argv, capture_output=True, text=True, check=True)
    found = Build.parse(asked.stdout)
    assert found.libc.startswith("glibc ")
    assert {"plpgsql", "citext"} <= set(found.extensions)
