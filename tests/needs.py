"""What a test needs from the machine beyond Python. `@pytest.mark.needs("browser")` skips it, with the reason, where that is missing.

`PGREPLICA_TEST_REQUIRE=docker,browser` names what must be there: then such a skip is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from tests.lab.missing import missing as lacking_for_the_lab

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@cache
def chromium() -> str | None:
    """Path of the Chromium that the tests drive: `PGREPLICA_CHROMIUM`, else the first on PATH."""
    return os.environ.get("PGREPLICA_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@cache
def missing(need: str) -> str | None:
    """Why `need` is not met here, in one sentence; None where it is."""
    return PROBES[need]()


def _no_browser() -> str | None:
    return None if chromium() else "needs Chromium: install Debian's package chromium, or name the program in PGREPLICA_CHROMIUM"


def _no_docker() -> str | None:
    if shutil.which("docker") is None:
        return "needs the docker command"
    answer = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True, check=False, timeout=20)
    return None if answer.returncode == 0 else f"needs a Docker engine: {(answer.stderr or answer.stdout).strip()[:200]}"


def _no_root() -> str | None:
    return None if os.geteuid() == 0 else "needs root, to become other users"


def sshd() -> str | None:
    """Path of OpenSSH's server, which must be called by its full path."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _no_sshd() -> str | None:
    return None if sshd() else "needs OpenSSH's server: install Debian's package openssh-server"


def _no_sudo() -> str | None:
    return None if shutil.which("sudo") else "needs sudo: install Debian's package sudo"


def _no_busybox() -> str | None:
    return None if shutil.which("busybox") else "needs BusyBox: install Debian's package busybox"


def _no_lab() -> str | None:
    lacking = lacking_for_the_lab()
    return f"needs the lab: {lacking}" if lacking else None


PROBES = {
    "browser": _no_browser,
    "busybox": _no_busybox,
    "docker": _no_docker,
    "lab": _no_lab,
    "root": _no_root,
    "sshd": _no_sshd,
    "sudo": _no_sudo,
}


def required() -> frozenset[str]:
    """The needs whose absence is a failure."""
    names = frozenset(filter(None, os.environ.get("PGREPLICA_TEST_REQUIRE", "").replace(" ", "").split(",")))
    unknown = names - PROBES.keys()
    if unknown:
        raise ValueError(f"PGREPLICA_TEST_REQUIRE knows {', '.join(sorted(PROBES))}, not {', '.join(sorted(unknown))}")
    return names
