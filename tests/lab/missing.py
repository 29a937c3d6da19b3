"""What this machine lacks for the lab, in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.lab.boot import PIVOT_ROOT
from tests.lab.cgroups import hierarchies

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Program -> Debian's package.
PROGRAMS = {
    "ip": "iproute2", "tc": "iproute2", "ebtables": "iptables", "iptables": "iptables", "unshare": "util-linux", "nsenter": "util-linux",
    "setsid": "util-linux", "ssh": "openssh-client", "sshd": "openssh-server", "mkfs.ext4": "e2fsprogs", "docker": "docker.io",
    "dockerd": "docker.io", "localedef": "locales",
}  # fmt: skip
CURE = "; .ci/packages installs everything on Debian 12"


def missing() -> str | None:
    """Why there can be no lab here; None where there can."""
    return next(filter(None, (look() for look in (_root, _programs, _compose, _one_usr, _architecture, _groups))), None)


def _root() -> str | None:
    return None if os.geteuid() == 0 else "the lab needs root, to make namespaces"


def _programs() -> str | None:
    lacking = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    packages = ", ".join(sorted({PROGRAMS[name] for name in lacking}))
    return f"the lab needs {', '.join(lacking)} (Debian: {packages}){CURE}" if lacking else None


def _compose() -> str | None:
    words = ["docker", "compose", "version", "--short"]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": SEARCHED, "HOME": "/nonexistent"})
    version = answer.stdout.strip().lstrip("v")
    if answer.returncode != 0 or version.startswith(("0", "1.")):
        return f"the lab needs Docker Compose 2, installed for all users{CURE}"
    return None


def _one_usr() -> str | None:
    return None if Path("/bin").is_symlink() else "the lab needs a system whose /bin is a link into /usr"


def _architecture() -> str | None:
    machine = os.uname().machine
    return None if machine in PIVOT_ROOT else f"the lab knows the processors {' and '.join(PIVOT_ROOT)}, not {machine}"


def _groups() -> str | None:
    found = hierarchies()
    if not found:
        return "the lab needs control groups below /sys/fs/cgroup"
    closed = [str(place) for place in found if not os.access(place, os.W_OK)]
    return f"the lab needs to write to {', '.join(closed)}" if closed else None
