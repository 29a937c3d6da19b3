"""The control groups of a lab: one for each server in every hierarchy that this machine has (version 1, version 2, or both).

They tell which processes are a server's, whoever started them, and they stop and thaw them all at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.lab.site import Site
from tests.waiting import wait_until

ROOT = "/sys/fs/cgroup"
INIT = "init"


class Cgroups:
    def __init__(self, site: Site) -> None:
        self.site = site

    def make(self, server: str) -> list[Path]:
        """The server's groups; what writes its own number into the `cgroup.procs` of each is in them, with all that it starts."""
        for hierarchy in hierarchies():
            _make(hierarchy, hierarchy / self.site.name)
            (hierarchy / self.site.name / server).mkdir(exist_ok=True)
        return list(self._of(server))

    def homes(self, server: str) -> list[Path]:
        """The groups that the processes are in. Version 2 wants one below: a group that hands controllers down has no processes."""
        below = INIT if only_version_2() else ""
        for group in self._of(server):
            (group / below).mkdir(exist_ok=True)
        return [group / below for group in self._of(server)]

    def servers(self) -> set[str]:
        """Every server of the lab that has a group left."""
        labs = (hierarchy / self.site.name for hierarchy in hierarchies())
        return {path.name for lab in labs if lab.is_dir() for path in lab.iterdir() if path.is_dir()}

    def processes(self, server: str) -> set[int]:
        found: set[int] = set()
        for group in self._of(server):
            for path in _with_groups_below(group):
                found.update(_numbers(path / "cgroup.procs"))
        return found

    def freeze(self, server: str, *, frozen: bool) -> None:
        """Stop every process where it is, or let all go on. What was started in the server later is in the group, too."""
        group = self._freezer(server)
        if group is not None and is_frozen(group) is not frozen:
            name, words = ("freezer.state", ("THAWED", "FROZEN")) if (group / "freezer.state").exists() else ("cgroup.freeze", ("0", "1"))
            (group / name).write_text(words[frozen])
            wait_until(lambda: is_frozen(group) is frozen, f"{'freezing' if frozen else 'thawing'} {server}", 10)

    def frozen(self, server: str) -> bool:
        group = self._freezer(server)
        return group is not None and is_frozen(group)

    def remove(self, server: str) -> None:
        """Once no process is in them. Safe to repeat."""
        for group in self._of(server):
            for path in sorted(_with_groups_below(group), reverse=True):
                wait_until(partial(_removed, path), f"the end of {path}", 10)

    def remove_all(self) -> None:
        for hierarchy in hierarchies():
            lab = hierarchy / self.site.name
            if lab.is_dir():
                lab.rmdir()

    def _freezer(self, server: str) -> Path | None:
        """One only: what version 1 has frozen never reports to version 2 that it stands still."""
        groups = list(self._of(server))
        return next((group for name in ("freezer.state", "cgroup.freeze") for group in groups if (group / name).exists()), None)

    def _of(self, server: str) -> Iterator[Path]:
        groups = (hierarchy / self.site.name / server for hierarchy in hierarchies())
        return (group for group in groups if group.is_dir())


def mounts() -> list[tuple[Path, str, list[str]]]:
    """Mount point, kind and options of every hierarchy."""
    rows = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [(Path(row[1]), row[2], row[3].split(",")) for row in rows if row[2] in ("cgroup", "cgroup2") and row[1].startswith(ROOT)]


def hierarchies() -> list[Path]:
    return [place for place, _kind, _options in mounts()]


def only_version_2() -> bool:
    return all(kind == "cgroup2" for _place, kind, _options in mounts())


def is_frozen(group: Path) -> bool:
    if (group / "freezer.state").exists():
        return (group / "freezer.state").read_text().strip() == "FROZEN"
    return "frozen 1" in (group / "cgroup.events").read_text()


def _make(hierarchy: Path, lab: Path) -> None:
    lab.mkdir(exist_ok=True)
    if (hierarchy / "cpuset.cpus").exists() and not (hierarchy / "cgroup.subtree_control").exists():  # version 1 begins with none of them
        for name in ("cpuset.cpus", "cpuset.mems"):
            (lab / name).write_text((hierarchy / name).read_text())
        (lab / "cgroup.clone_children").write_text("1")
    for group in (hierarchy, lab):
        if (group / "cgroup.subtree_control").exists():  # version 2 hands controllers down on request only
            wanted = " ".join(f"+{name}" for name in (group / "cgroup.controllers").read_text().split())
            (group / "cgroup.subtree_control").write_text(wanted)


def _with_groups_below(group: Path) -> list[Path]:
    """It and every group in it. One that goes meanwhile is left out: `os.walk` passes over what it cannot read."""
    return [Path(place) for place, _groups, _files in os.walk(group)]


def _numbers(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):  # a container's group went meanwhile
            return []
        raise


def _removed(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            return error.errno == errno.ENOENT
        return False
    return True
