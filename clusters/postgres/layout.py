"""Where an adopted instance lies: what the panel needs to know of it to ask it, as it was found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clusters.postgres.asking import Door
from clusters.postgres.found import Found, Tie


@dataclass(frozen=True)
class Layout:
    """`data_directory`, `config_file` and `hba_file` are as PostgreSQL sees them; `data_source` is the data directory on its server."""

    way: str  # container, process
    container: str
    user: str
    superuser: str
    socket: str
    port: int
    bindir: str
    data_directory: str
    data_source: str
    config_file: str
    hba_file: str
    hba_text: str  # as it was seen last, without secrets: what a plan is made from
    hba_source: str  # on its server, where it lies there
    hba_mounted: bool  # as a single file: a new one in its place would not be seen
    image_id: str
    compose_directory: str
    compose_files: str
    #: How its upstream sees it, until it has a name of its own there.
    application_name: str
    seen_as: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Layout:
        return cls(**row)

    def as_row(self) -> dict[str, Any]:
        return asdict(self)

    def typed(self, *argv: str) -> str:
        """A program where the instance is, as a person on its server types it."""
        return shlex.join(self.door.inside(*argv))

    def outside(self, path: str) -> str:
        """A path below its data directory as its server has it, where it has it."""
        return self.data_source + path.removeprefix(self.data_directory) if self.data_source else path

    @property
    def door(self) -> Door:
        return Door(self.container, self.user, self.superuser, self.socket, self.port, self.bindir)


def layout_of(found: Found, tie: Tie | None) -> Layout:
    return Layout(
        way=found.way,
        container=found.name if found.way == "container" else "",
        user=found.user,
        superuser=found.superuser,
        socket=found.socket,
        port=found.port,
        bindir=found.bindir,
        data_directory=found.data_directory,
        data_source=found.outside(found.data_directory),
        config_file=found.config_file,
        hba_file=found.hba_file,
        hba_text=found.hba_text,
        hba_source=found.outside(found.hba_file),
        hba_mounted=found.mounted_at(found.hba_file) is not None,
        image_id=found.image_id,
        compose_directory=found.compose_directory,
        compose_files=found.compose_files,
        application_name=tie.application_name if tie else "",
        seen_as=tie.seen_as if tie else "",
    )
