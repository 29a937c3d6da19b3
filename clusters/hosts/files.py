"""The verbs about files, directories, disks and the machine itself. `clusters.hosts.machine.Machine` has the contract of each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final, cast

from clusters.hosts.arguments import path_checked, tree_checked
from clusters.hosts.errors import ArgumentRefused, PathRefused, VerbFailed, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.machine import Disk, Fence, Kind
from clusters.hosts.shell import ShellMachine
from clusters.hosts.wrapper import FILES

DELETE_SECONDS: Final = 3600.0
SIZE_SECONDS: Final = 300.0
#: A line of `df -Pk`: the file system's name (which may hold spaces), total, used, free, percent, where it is mounted.
_DF: Final = re.compile(r"\S.*?\s(\d+)\s+(\d+)\s+(-?\d+)\s+\S+\s+(/.*)")


class FileVerbs(ShellMachine):
    def read_file(self, path: str, limit: int = 1 << 20) -> bytes | None:
        answer = self.verb(FILES, "read", path_checked(path), str(limit + 1), answer_bytes=limit + 2)
        if len(answer) > limit + 1:
            raise PathRefused(
                "too-large",
                _("%(path)s is larger than %(limit)s bytes, so it was not read."),
                _("Look what it is: the panel writes no file of this size."),
                path=inert(path),
                limit=limit,
            )
        return _answered(answer)

    def read_tail(self, path: str, limit: int = 1 << 16) -> bytes | None:
        return _answered(self.verb(FILES, "tail", path_checked(path), str(limit), answer_bytes=limit + 1))

    def write_file(self, path: str, data: bytes, mode: int = 0o600, fence: Fence | None = None) -> None:
        self.verb(FILES, "write", tree_checked(path), f"{mode:o}", str(len(data)), fence=fence, stdin=data)

    def make_directory(self, path: str, mode: int = 0o700, fence: Fence | None = None) -> None:
        self.make_directories([path], mode, fence)

    def make_directories(self, paths: Sequence[str], mode: int = 0o700, fence: Fence | None = None) -> None:
        self.verb(FILES, "mkdir", f"{mode:o}", *map(path_checked, paths), fence=fence)

    def make_base_directory(self, path: str) -> None:
        self.verb(FILES, "base", tree_checked(path), self.owner(), as_owner=False)
        self.make_directory(path)

    def make_owned_directory(self, path: str, owner_file: str, owner_text: str, fence: Fence | None = None) -> bool:
        return self.verb(FILES, "mkdir_owned", *_owned(path, owner_file, owner_text), fence=fence) != b"already\n"

    def remove_owned_tree(self, path: str, owner_file: str, owner_text: str, fence: Fence | None = None) -> bool:
        words = _owned(path, owner_file, owner_text)
        return self.verb(FILES, "remove_tree", *words, fence=fence, timeout=DELETE_SECONDS) != b"absent\n"

    def move(self, source: str, target: str, fence: Fence | None = None) -> None:
        self.verb(FILES, "move", tree_checked(source), tree_checked(target), fence=fence)

    def remove_file(self, path: str, fence: Fence | None = None) -> None:
        self.verb(FILES, "remove_file", tree_checked(path), fence=fence)

    def exists(self, path: str) -> bool:
        return self.kind(path) != "absent"

    def kind(self, path: str) -> Kind:
        return cast("Kind", self.verb(FILES, "kind", path_checked(path)).decode().strip())

    def list_directory(self, path: str) -> list[str] | None:
        answer = _answered(self.verb(FILES, "list", path_checked(path)))
        return None if answer is None else sorted(os.fsdecode(name) for name in answer.split(b"\0")[:-1])

    def free_bytes(self, path: str) -> int:
        return self.disks([path])[0].free_bytes

    def disks(self, paths: Sequence[str]) -> list[Disk]:
        answer = self.verb(FILES, "disks", *(path_checked(path) for path in paths)).decode("utf-8", "replace")
        found = [_DF.fullmatch(line) for line in answer.splitlines()]
        if len(found) != len(paths) or not all(found):
            raise VerbFailed(_("The server's df answered in a form the panel does not know: %(answer)s"), answer=inert(answer))
        rows = [match.groups() for match in found if match]
        return [Disk(path, row[3], int(row[0]) * 1024, max(0, int(row[2])) * 1024) for path, row in zip(paths, rows, strict=True)]

    def directory_bytes(self, path: str) -> int:
        return int(self.verb(FILES, "size", path_checked(path), timeout=SIZE_SECONDS)) * 1024

    def facts(self) -> dict[str, str | int]:
        lines = self.verb(FILES, "facts").decode("utf-8", "replace").splitlines()
        said = dict(line.split("=", 1) for line in lines if "=" in line)
        memory = _number(said.get("memory_bytes", "")) or _number(said.get("memory_kilobytes", "")) * 1024
        texts = {name: inert(said.get(name, "")) for name in ("system", "release", "machine", "libc", "hostname")}
        return {**texts, "cpus": _number(said.get("cpus", "")), "memory_bytes": memory}


def _owned(path: str, owner_file: str, owner_text: str) -> tuple[str, str, str]:
    if "/" in owner_file or owner_file in ("", ".", "..") or not owner_text.strip():
        raise ArgumentRefused(_("The owner file must be a name in the directory, and its text must say something."))
    return tree_checked(path), owner_file, owner_text.rstrip("\n")


def _answered(answer: bytes) -> bytes | None:
    """The rest of an answer that began with + (there is such a file); None when it began with -."""
    return answer[1:] if answer[:1] == b"+" else None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
