"""One layer of an image, as a tar file whose bytes depend on its content alone."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    kind: bytes
    mode: int
    owner: int = 0
    source: Path | bytes | str = b""  # of a file: where it lies, or its content; of a link: its target


class Layer:
    """Paths are absolute ones of the image, with no link on the way. Directories above an entry are made."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def directory(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        self._add(path, Entry(tarfile.DIRTYPE, mode, owner))

    def file(self, path: str, source: Path | bytes, *, mode: int = 0o644) -> None:
        self._add(path, Entry(tarfile.REGTYPE, mode, source=source))

    def link(self, path: str, target: str) -> None:
        self._add(path, Entry(tarfile.SYMTYPE, 0o777, source=target))

    def copy(self, path: str, source: Path) -> None:
        """A directory with all that is in it; links stay links."""
        self.directory(path)
        for child in sorted(source.iterdir()):
            below = f"{path}/{child.name}"
            if child.is_symlink():
                self.link(below, str(child.readlink()))
            elif child.is_dir():
                self.copy(below, child)
            else:
                self.file(below, child, mode=0o755 if child.stat().st_mode & 0o100 else 0o644)

    def libraries_of(self, *programs: Path, but_not_below: Path | None = None) -> None:
        """The libraries that they are linked with, at the places where this machine has them."""
        for library in linked_libraries(programs):
            if but_not_below is None or not library.is_relative_to(but_not_below):
                self.file(str(library.parent.resolve() / library.name), library.resolve(), mode=0o755)

    def write(self, path: Path) -> None:
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, entry in sorted(self._entries.items()):
                self._write_entry(tar, name, entry)

    def _write_entry(self, tar: tarfile.TarFile, name: str, entry: Entry) -> None:
        member = tarfile.TarInfo(name.lstrip("/"))
        member.type, member.mode, member.uid, member.gid = entry.kind, entry.mode, entry.owner, entry.owner
        if entry.kind == tarfile.SYMTYPE:
            member.linkname = str(entry.source)
        data = entry.source.read_bytes() if isinstance(entry.source, Path) else entry.source
        if entry.kind == tarfile.REGTYPE and isinstance(data, bytes):
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        else:
            tar.addfile(member)

    def _add(self, path: str, entry: Entry) -> None:
        parent = os.path.dirname(path)
        if parent != "/" and parent not in self._entries:
            self.directory(parent)
        self._entries[path] = entry


def linked_libraries(programs: tuple[Path, ...]) -> list[Path]:
    """What the loader of this machine takes for them."""
    answer = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    words = (line.split() for line in answer.splitlines() if "(0x" in line)
    found = {Path(line[2] if "=>" in line else line[0]) for line in words if "=>" in line or line[0].startswith("/")}
    return sorted(found)
