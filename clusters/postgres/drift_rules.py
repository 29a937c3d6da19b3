"""What differs between an instance and what the panel declares of it: files, settings in force, image, collations. Pure.

Comments and blank lines are no drift: an earlier release has written others, and people write their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from clusters.postgres.files import File
from clusters.postgres.obstacles import Obstacle, obstacle
from clusters.postgres.settings import in_unit
from clusters.postgres.text import gettext_noop as _

#: Judged elsewhere (`sync_rules`, the pair's own rules), or the same on no two servers.
_ELSEWHERE: Final = frozenset({"synchronous_standby_names", "primary_conninfo", "primary_slot_name"})
_ASSIGNMENT: Final = re.compile(r"([a-z_][a-z0-9_.]*)\s*=\s*('(?:[^']|'')*'|[^#\s]+)", re.IGNORECASE)
_COMMENT: Final = re.compile(r"(?:^|\s{2,})#.*$")
_ON: Final = frozenset({"on", "true", "yes", "1"})
_OFF: Final = frozenset({"off", "false", "no", "0"})
#: So many names stand in a sentence.
NAMED: Final = 10


@dataclass(frozen=True)
class InForce:
    """A line of pg_settings."""

    name: str
    setting: str
    unit: str
    type: str  # "bool", "enum", "integer", "real", "string"
    by: str  # "file", "system" (ALTER SYSTEM), "command line", "other"
    pending: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> InForce:
        return cls(
            str(row["name"]), str(row["setting"] or ""), str(row["unit"] or ""), str(row["vartype"]), str(row["by"]), bool(row["pending"])
        )


# -- files


def file_drift(instance: str, variants: Sequence[File], found: str | None) -> Obstacle | None:
    """The file is as the panel would write it; `variants`: each is as good, they differ by members that are only planned."""
    wanted = variants[0]
    if found is None:
        return obstacle(
            "file_missing",
            "warns",
            _("%(value)s of %(instance)s is not there."),
            _("Somebody has removed it. Put it back from a backup of the server, or from what the plan of the job that made it shows."),
            value=wanted.path,
            instance=instance,
        )
    if any(_alike(file, found) for file in variants):
        return None
    if wanted.secret:
        return obstacle(
            "file_drifted",
            "warns",
            _("%(path)s of %(instance)s is not what the panel has written there; it holds a secret and is not shown."),
            _("See who has changed it. If a password was changed by hand, change it back: the panel's own would be refused."),
            value=wanted.path,
            path=wanted.path,
            instance=instance,
        )
    number, here, declared = first_difference(found, wanted.content)
    return obstacle(
        "file_drifted",
        "warns",
        _("%(path)s of %(instance)s differs from what is declared, first in line %(number)s: “%(here)s”, and not “%(threshold)s”."),
        _("If the change was meant, make it on every member, or a later primary behaves otherwise; else undo it and reload."),
        value=here,
        threshold=declared,
        path=wanted.path,
        number=number,
        here=here,
        instance=instance,
    )


def _alike(wanted: File, found: str) -> bool:
    if wanted.secret or wanted.mode & 0o100:  # a program is compared as it stands
        return wanted.content == found
    return [line for _number, line in _meant(found)] == [line for _number, line in _meant(wanted.content)]


def _meant(text: str) -> list[tuple[int, str]]:
    """The lines that say something, numbered, without what is only for people."""
    lines = ((number, " ".join(_COMMENT.sub("", line).split())) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line]


def first_difference(found: str, wanted: str) -> tuple[int, str, str]:
    """(number of the line in `found`, what stands there, what is declared); an empty text where one of the two has ended."""
    for here, there in zip_longest(_meant(found), _meant(wanted), fillvalue=(0, "")):
        if here[1] != there[1]:
            return here[0] or len(found.splitlines()), here[1], there[1]
    pairs = zip_longest(found.splitlines(), wanted.splitlines(), fillvalue="")
    return next((number, here, there) for number, (here, there) in enumerate(pairs, start=1) if here != there)


# -- settings


def declared_settings(files: Iterable[File]) -> dict[str, str]:
    """Name -> value of every assignment in these files; a later one counts, as for PostgreSQL."""
    lines = (match for file in files for line in file.content.splitlines() if (match := _ASSIGNMENT.match(line)))
    return {match[1].lower(): _plain(match[2]) for match in lines if match[1].lower() not in _ELSEWHERE}


def _plain(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def is_in_force(declared: str, seen: InForce) -> bool:
    """Whether the value in force is the declared one, whatever unit or word for it the file uses. -1 leaves the choice to PostgreSQL."""
    if seen.type == "bool":
        word = declared.lower()
        return word not in (_OFF if seen.setting == "on" else _ON)
    if seen.type in ("integer", "real"):
        number = in_unit(declared, seen.unit)
        return number is None or number < 0 or abs(number - float(seen.setting)) <= abs(number) * 1e-6
    if seen.type == "enum":
        return declared.lower() == seen.setting.lower() or {declared.lower(), seen.setting.lower()} <= _ON or seen.setting == ""
    return declared == seen.setting


def settings_drift(instance: str, declared: Mapping[str, str], seen: Iterable[InForce]) -> list[Obstacle]:
    """What is in force is what is declared; what waits for a restart is told by `restart_pending`."""
    differ = [row for row in seen if row.name in declared and not row.pending and not is_in_force(declared[row.name], row)]
    outdone = [row for row in differ if row.by in _OUTDONE_BY]
    edited = [row for row in differ if row.by not in _OUTDONE_BY]
    found = []
    if outdone:
        found.append(_overridden(instance, declared, outdone))
    if edited:
        found.append(_not_in_force(instance, declared, edited))
    return found


_OUTDONE_BY: Final = {"system": "ALTER SYSTEM", "command line": "command line"}


def _overridden(instance: str, declared: Mapping[str, str], rows: list[InForce]) -> Obstacle:
    return obstacle(
        "setting_overridden",
        "warns",
        _("On %(instance)s something outdoes the declared settings: %(value)s; declared: %(threshold)s."),
        _("Run ALTER SYSTEM RESET for each, or take it off the command line; reload or restart. Or give the value to all members."),
        value=_listed(f"{row.name} = {_shown(row)} ({_OUTDONE_BY[row.by]})" for row in rows),
        threshold=_listed(f"{row.name} = {declared[row.name]}" for row in rows),
        instance=instance,
    )


def _not_in_force(instance: str, declared: Mapping[str, str], rows: list[InForce]) -> Obstacle:
    return obstacle(
        "setting_differs",
        "warns",
        _("%(instance)s runs with %(value)s; declared: %(threshold)s."),
        _("See its postgresql.conf and reload. If the change was meant, make it on every member."),
        value=_listed(f"{row.name} = {_shown(row)}" for row in rows),
        threshold=_listed(f"{row.name} = {declared[row.name]}" for row in rows),
        instance=instance,
    )


def _shown(row: InForce) -> str:
    return f"{row.setting} × {row.unit}" if row.unit[:1].isdigit() else f"{row.setting}{row.unit}"


def _listed(words: Iterable[str]) -> str:
    listed = list(words)
    return ", ".join(listed[:NAMED]) + (", …" if len(listed) > NAMED else "")


# -- image and collations


def image_drift(instance: str, declared: str, running: str, named: str) -> Obstacle | None:
    """The container runs the image that is declared. `named`: what the declared name stands for on its engine now."""
    if not running or not named or running == named:
        return None
    return obstacle(
        "image_drifted",
        "warns",
        _("The container of %(instance)s runs the image %(value)s; %(declared)s now names %(threshold)s."),
        _("The next start of a new container takes the other image. Pull the same one on all servers, best by its digest, standbys first."),
        value=running,
        threshold=named,
        declared=declared,
        instance=instance,
    )


def collations_drift(instance: str, changed: Sequence[str]) -> Obstacle | None:
    """The collations that columns and indexes use sort as they did when they were made."""
    if not changed:
        return None
    return obstacle(
        "collations_changed",
        "warns",
        _("On %(instance)s these collations sort otherwise than when they were made: %(value)s. Indexes that use them may be wrong."),
        _("Use the same system on all members; else REINDEX what uses them, then ALTER COLLATION ... REFRESH VERSION on the primary."),
        value=_listed(changed),
        instance=instance,
    )


# -- the cluster


def several_writable(names: Sequence[str]) -> Obstacle | None:
    """One instance accepts writes."""
    if len(names) < 2:
        return None
    return obstacle(
        "several_writable",
        "blocks",
        _("%(value)s accept writes at the same time."),
        _("Keep applications away from all but one before anything else is done."),
        value=", ".join(names),
        threshold=1,
    )


def instance_silent(instance: str) -> Obstacle:
    return obstacle(
        "instance_silent", "flag", _("%(value)s does not answer."), _("See whether it runs, and what its log says."), value=instance
    )
