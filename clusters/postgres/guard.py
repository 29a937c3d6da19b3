"""The start guard: a small program in front of `postgres` that keeps an old primary from coming back writable, panel or no panel.

Its text is the same everywhere (`guard.sh` with one of two ends); what it goes by is in `guard.conf` beside it. Why it is so, and
where it ends: docs/explanation/start-guard.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.postgres.files import File
from clusters.postgres.names import SUPERUSER
from clusters.postgres.spec import InstanceSpec


def _script(*names: str) -> str:
    return "".join((Path(__file__).parent / f"{name}.sh").read_text() for name in names)


#: `guard/start`, which pg_ctl starts in place of `postgres`.
START: Final = _script("guard", "guard_start")
#: `guard/entrypoint`, in front of the entrypoint of the image `postgres`.
ENTRYPOINT: Final = _script("guard", "guard_entrypoint")

#: What a refused `guard/start` ends with.
EXIT_CODES: Final = {
    81: "no usable data directory",
    82: "data of another cluster",
    83: "fenced",
    84: "another member has gone on, or accepts writes",
    85: "the guard itself cannot look",
}


@dataclass(frozen=True)
class Places:
    """Where the guard finds things, as the server that it guards sees them (in a container: its mounts)."""

    data_directory: str
    state_directory: str
    passfile: str
    programs: str  # the directory of psql and pg_controldata; "": they are on PATH


def places_of(spec: InstanceSpec) -> Places:
    programs = "" if spec.container else spec.bindir
    return Places(spec.seen(spec.data_directory), spec.seen(spec.state_directory), spec.seen(spec.passfile), programs)


def guard_files(spec: InstanceSpec) -> list[File]:
    """The guard of an instance. It refuses an empty data directory: what makes one (initdb, a base backup) runs without it."""
    path, text = (spec.guard_entrypoint, ENTRYPOINT) if spec.container else (spec.guard_program, START)
    program = File(path, text, 0o700)
    return [render_guard_conf(spec), program]


def render_guard_conf(spec: InstanceSpec, places: Places | None = None) -> File:
    """guard.conf: a word and its value on each line, read as plain text. Every value was validated when the spec was made."""
    places = places or places_of(spec)
    peers = [member for member in spec.members if member.name != spec.name]
    values = [
        ("instance", spec.name),
        ("directory", spec.directory),
        *([("system_identifier", spec.system_identifier)] if spec.system_identifier else []),
        ("data_directory", places.data_directory),
        ("state_directory", places.state_directory),
        ("programs", places.programs),
        ("passfile", places.passfile),
        ("role", spec.replication_role),
        ("database", SUPERUSER),
        *(("peer", f"{member.name} {member.address} {member.port}") for member in peers),
    ]
    head = f"# What the start guard of {spec.name} of the cluster {spec.cluster} goes by; written by pgreplica-admin.\n"
    return File(spec.guard_conf, head + "".join(f"{word} {value}\n" for word, value in values), 0o600)
