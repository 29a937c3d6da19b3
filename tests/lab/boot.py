"""The first program of a server, already in its namespaces: puts its root file system together, enters it and becomes PID 1.

Called with the server's name and directory. A file on its own: it is run by a Python without any path to the checkout.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_MOVE = 1, 2, 4, 8, 32, 4096, 8192
MNT_DETACH = 2
QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # the C library has no function for this system call
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse")
CGROUPS = "sys/fs/cgroup"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def main(name: str, directory: Path) -> None:
    root = directory / "root"
    hierarchies = cgroup_mounts()
    socket.sethostname(name)
    mount(str(root), root, flags=MS_BIND)
    mount("/usr", root / "usr", flags=MS_BIND)
    mount("/usr", root / "usr", flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
    mount("proc", root / "proc", "proc", QUIET)
    mount("sysfs", root / "sys", "sysfs", QUIET)
    mount_cgroups(root, hierarchies)
    make_devices(root / "dev")
    mount("tmpfs", root / "run", "tmpfs", data="mode=755")
    for below in ("sshd", "lock"):
        (root / "run" / below).mkdir()
    mount("tmpfs", root / "tmp", "tmpfs", data="mode=1777")
    for disk in json.loads((directory / "disks.json").read_text()):
        mount_disk(root, directory / disk["image"], disk["path"])
    enter(root)
    program = shutil.which("docker-init", path=ENVIRONMENT["PATH"]) or "/usr/bin/tini"
    os.execve(program, [program, "--", "/bin/sh", "/etc/lab/init.sh"], ENVIRONMENT)


def cgroup_mounts() -> list[tuple[str, str, str]]:
    """Name below the root, kind and options of each hierarchy to mount. A version 2 beside version 1 has no controllers: left out."""
    rows = [line.split()[1:4] for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = [(Path(place), kind, options) for place, kind, options in rows if kind in ("cgroup", "cgroup2")]
    if all(kind == "cgroup2" for _place, kind, _options in found):
        return [("", "cgroup2", "")]
    return [(place.name, kind, controllers(options)) for place, kind, options in found if kind == "cgroup"]


def controllers(options: str) -> str:
    known = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()}
    named = [word for word in options.split(",") if word.startswith("name=")]
    return ",".join(["none", *named] if named else [word for word in options.split(",") if word in known])


def mount_cgroups(root: Path, hierarchies: list[tuple[str, str, str]]) -> None:
    if hierarchies == [("", "cgroup2", "")]:
        mount("cgroup2", root / CGROUPS, "cgroup2", QUIET)
        hand_controllers_down(root / CGROUPS)
        return
    mount("tmpfs", root / CGROUPS, "tmpfs", QUIET, "mode=755")
    for name, kind, options in hierarchies:
        (root / CGROUPS / name).mkdir()
        mount("cgroup", root / CGROUPS / name, kind, QUIET, options)


def hand_controllers_down(top: Path) -> None:
    wanted = " ".join(f"+{name}" for name in (top / "cgroup.controllers").read_text().split())
    (top / "cgroup.subtree_control").write_text(wanted)


def make_devices(dev: Path) -> None:
    mount("tmpfs", dev, "tmpfs", data="mode=755,size=1m")
    for name in DEVICES:
        if Path("/dev", name).exists():
            (dev / name).touch()
            mount(f"/dev/{name}", dev / name, flags=MS_BIND)
    for name in ("pts", "shm", "mqueue"):
        (dev / name).mkdir()
    mount("devpts", dev / "pts", "devpts", data="newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount("tmpfs", dev / "shm", "tmpfs", MS_NOSUID | MS_NODEV)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        (dev / name).symlink_to(target)


def mount_disk(root: Path, image: Path, path: str) -> None:
    """A disk of its own at `path`. A new one takes along what lies there. `mount` sets the loop device so that it goes with the mount."""
    place = root / path.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    staging = root / "mnt"
    subprocess.run(["mount", "-o", "loop", str(image), str(staging)], check=True)
    if (staging / "lost+found").exists():
        (staging / "lost+found").rmdir()
        subprocess.run(["cp", "--archive", f"{place}/.", str(staging)], check=True)
    mount(str(staging), place, flags=MS_MOVE)


def enter(root: Path) -> None:
    """Nothing of the machine's own root file system stays in sight."""
    old = root / ".old"
    old.mkdir(exist_ok=True)
    os.chdir(root)
    checked(_libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b".old"), "pivot_root")
    os.chdir("/")
    checked(_libc.umount2(b"/.old", MNT_DETACH), "umount /.old")
    Path("/.old").rmdir()


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    answer = _libc.mount(source.encode(), str(target).encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None)
    checked(answer, f"mount {kind} {target}")


def checked(answer: int, act: str) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), f"{act}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
