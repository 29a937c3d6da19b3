"""What the panel asks of a machine: `Machine`, the types that go in and out, and (imported here) the errors.

Every path is absolute. Every verb that changes something takes a `Fence`: the machine refuses it when a newer worker has spoken
(safety.md 3(f)). Everything runs as one system user, so ownership is right without chown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from clusters.hosts.errors import (
    ArgumentRefused,
    CommandTimeout,
    HostError,
    LockBusy,
    MachineUnreachable,
    OutcomeUnknown,
    PathRefused,
    TokenRefused,
    UserRefused,
    VerbFailed,
)

__all__ = [
    "ArgumentRefused",
    "CommandTimeout",
    "Disk",
    "Fence",
    "Finished",
    "HostError",
    "Kind",
    "LockBusy",
    "Machine",
    "MachineUnreachable",
    "OutcomeUnknown",
    "PathRefused",
    "TokenRefused",
    "Unit",
    "UnitState",
    "UserRefused",
    "VerbFailed",
]

Kind = Literal["absent", "file", "directory", "symlink", "other"]
UnitState = Literal["absent", "running", "finished", "vanished"]


@dataclass(frozen=True, slots=True)
class Fence:
    """Who asks: `path` is the cluster's token file on the machine, `token` the lease token of the job."""

    path: str
    token: int


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. 128+n: ended by signal n; 127: no such program; 126: it may not be run.

    `stdout` and `stderr` hold at most 1 MiB each (the first and the last half), no line above 8 KiB.
    """

    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


@dataclass(frozen=True, slots=True)
class Unit:
    """A detached command. `returncode` is known when finished, `pid` when it was ever started.

    vanished = it was started, nothing of it runs any more, and it left no exit code (killed, or the machine was restarted).
    `already` is true when `start_unit` found it instead of starting it.
    """

    state: UnitState
    returncode: int | None = None
    pid: int | None = None
    command: str = ""
    already: bool = False


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds `path` (or would hold it: the nearest directory that exists counts), in bytes."""

    path: str
    mount: str
    total_bytes: int
    free_bytes: int


class Machine(Protocol):
    """One machine, as one system user. Raises `HostError` and its kin, never an OSError."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        fence: Fence | None = None,
    ) -> Finished:
        """Run a command to its end. `on_line` gets each line of both streams as it comes; an exception from it ends the command."""

    def claim(self, fence: Fence) -> None:
        """Store the token. When this returns, no guarded command of an older worker runs, and none will; its units may still run.

        For whoever takes a job over: before the first look at the machine, since until then a late command changes what was seen.
        """

    def read_file(self, path: str, limit: int = 1 << 20) -> bytes | None:
        """The whole file, None when there is none; PathRefused("too-large") above `limit` bytes."""

    def read_tail(self, path: str, limit: int = 1 << 16) -> bytes | None:
        """The last `limit` bytes of a file (a log), None when there is none."""

    def write_file(self, path: str, data: bytes, mode: int = 0o600, fence: Fence | None = None) -> None:
        """Write a whole file atomically and durably. Refuses a target that is a symbolic link or a directory."""

    def make_directory(self, path: str, mode: int = 0o700, fence: Fence | None = None) -> None:
        """Make a directory and its missing parents (0700); one that is there already gets `mode`."""

    def make_directories(self, paths: Sequence[str], mode: int = 0o700, fence: Fence | None = None) -> None:
        """The same for several, in their order, in one go."""

    def make_base_directory(self, path: str) -> None:
        """Make the directory that holds everything, 0700, owned by the machine's user, with whatever right the panel has (root).

        One that is there must be that user's own.
        """

    def make_owned_directory(self, path: str, owner_file: str, owner_text: str, fence: Fence | None = None) -> bool:
        """Make a directory (0700, and its missing parents) that holds `owner_file` from its first moment.

        False: it is there, and its `owner_file` holds `owner_text`. Refuses any other that is there.
        """

    def move(self, source: str, target: str, fence: Fence | None = None) -> None:
        """Rename within one file system. Refuses an existing target and a missing source."""

    def remove_file(self, path: str, fence: Fence | None = None) -> None:
        """Delete one file; one that is not there is no error. Refuses a directory and a symbolic link."""

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`, a dangling symbolic link too."""

    def kind(self, path: str) -> Kind:
        """What there is at `path`, without following a symbolic link. Raises when that may not be looked at."""

    def list_directory(self, path: str) -> list[str] | None:
        """The names in a directory, sorted; None when there is none."""

    def remove_owned_tree(self, path: str, owner_file: str, owner_text: str, fence: Fence | None = None) -> bool:
        """Delete a directory if the file `owner_file` in it holds `owner_text`, else refuse. False: it was not there."""

    def free_bytes(self, path: str) -> int:
        """Bytes that the machine's user may still write where `path` is or would be."""

    def disks(self, paths: Sequence[str]) -> list[Disk]:
        """One entry for each path, in their order."""

    def directory_bytes(self, path: str) -> int:
        """Bytes that a directory takes on disk; 0 when there is none. Files that go away meanwhile are left out."""

    def port_free(self, address: str, port: int) -> bool:
        """Whether a server could listen on `address`:`port` now."""

    def facts(self) -> dict[str, str | int]:
        """{"system", "release", "machine", "libc", "cpus", "memory_bytes", "hostname"}; empty text or 0 where unknown."""

    def owner(self) -> str:
        """`uid:gid` of the machine's user. Raises: UserRefused where the panel may not act as that user."""

    def login_path(self) -> str:
        """Directories in which programs are looked for when nobody said where they are, joined by colons."""

    def start_unit(self, directory: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, fence: Fence | None = None) -> Unit:
        """Start a command that outlives the panel, with its receipts in `directory`; a second call finds the first (`already`)."""

    def unit(self, directory: str) -> Unit:
        """How a detached command stands."""

    def follow_unit(self, directory: str, offset: int, seconds: float, limit: int = 1 << 16) -> tuple[Unit, bytes]:
        """Wait while the unit runs, at most `seconds`; how it stands then (without pid and command), and what it printed from `offset` on.

        An end is heard within a tenth of a second. What was printed before the end is in the answer that tells it, up to `limit` bytes.
        """

    def stop_unit(self, directory: str, grace: float = 10, fence: Fence | None = None) -> Unit:
        """TERM to the process group, KILL after `grace` seconds, only to processes proven to be the unit's. Gives the state after it."""

    def remove_unit(self, directory: str, fence: Fence | None = None) -> None:
        """Delete the receipts of a unit that does not run."""

    def reaches(self, address: str, port: int, seconds: float) -> bool:
        """Whether `address`:`port`, on this machine or another one, takes a TCP connection from here. Nothing is sent over it.

        Raises: HostError where it cannot be tried.
        """

    def forward(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """Where to connect from the panel to reach `address`:`port` of the machine, while the context is open."""
