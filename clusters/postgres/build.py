"""What the programs of an instance are made of, as far as a copy or a promotion depends on it, and the question for it.

A physical standby reads the primary's indexes, whose order is that of the C library's or ICU's collations, and calls the
libraries that the primary's extensions name. Source: PostgreSQL's manual, "Localization", section "Collation Support",
and "Hot Standby".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from clusters.postgres.command import Command
from clusters.postgres.refused import shown

SCRIPT: Final = (Path(__file__).parent / "build.sh").read_text()
#: So many extensions are read; contrib has about 50.
NAMES: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,100}")


@dataclass(frozen=True)
class Build:
    """Empty texts and no names mean that nobody could tell."""

    machine: str = ""  # "x86_64"
    libc: str = ""  # "glibc 2.36", "musl"
    icu: str = ""  # "72": the library that PostgreSQL is linked with
    image: str = ""  # "sha256:...", the same for the same image on every server; empty without containers
    extensions: tuple[str, ...] = ()  # on disk, whether used or not

    def as_row(self) -> dict[str, Any]:
        """JSON values; `from_row` reads them back."""
        return asdict(self) | {"extensions": list(self.extensions)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Build:
        given: dict[str, Any] = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        return cls(**given | {"extensions": tuple(given.get("extensions", ()))})

    @classmethod
    def parse(cls, printed: str) -> Build:
        """From what `build.sh` printed. A line that is none of its lines is left out."""
        said: dict[str, list[str]] = {}
        for line in printed.splitlines():
            word, _space, value = line.partition(" ")
            said.setdefault(word, []).append(value.strip())
        return cls(
            libc=_first(said, "libc"),
            icu=_first(said, "icu"),
            extensions=_names(said.get("extension", [])),
        )

    def lacks(self, other: Build) -> tuple[str, ...]:
        """Extensions that the other has on disk and this one has not; none where one of the lists is not known."""
        known = bool(self.extensions and other.extensions)
        return tuple(name for name in other.extensions if known and name not in self.extensions)

    def on(self, machine: str, image: str = "") -> Build:
        return replace(self, machine=shown(machine), image=shown(image, 100))


#: Where nobody was asked.
NOT_KNOWN: Final = Build()


def asked_in(bindir: str) -> Command:
    """The question to a server about the programs in a directory."""
    return Command(("sh", "-c", SCRIPT, "pgreplica", bindir), purpose=f"Read what the programs in {bindir} are made of")


def _first(said: Mapping[str, list[str]], word: str) -> str:
    return shown(next(iter(said.get(word, [])), ""))


def _names(given: list[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in given if _NAME.fullmatch(name)}))[:NAMES]
