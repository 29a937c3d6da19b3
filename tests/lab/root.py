"""The part of a server's root file system that is its own and outlives a reboot: everything but /usr, which is the machine's, read-only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.lab.commands import run

FILES = Path(__file__).parent / "files"
EMPTY = (
    "usr", "proc", "sys", "dev", "run", "tmp", "boot", "home", "opt", "srv", "mnt", "media", "root/.ssh",
    "var/lib/docker", "var/log", "var/tmp", "var/cache", "var/spool", "var/mail",
)  # fmt: skip
MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "root/.ssh": 0o700}
#: Of the copied /etc: what would make servers one and the same machine.
NOT_SHARED = ("docker/key.json", "machine-id", "resolv.conf", "mtab", "ssh")
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
AUTHORIZED_KEYS = "root/.ssh/authorized_keys"


def make(root: Path, name: str, address: str, gateway: str) -> None:
    for place in EMPTY:
        (root / place).mkdir(parents=True)
    for place, mode in MODES.items():
        (root / place).chmod(mode)
    for link in (path for path in Path("/").iterdir() if path.is_symlink() and path.readlink().parts[0] == "usr"):
        (root / link.name).symlink_to(link.readlink())  # bin, sbin, lib, lib64
    (root / "var/run").symlink_to("/run")
    (root / "var/lock").symlink_to("/run/lock")
    run(["cp", "--archive", "/etc", str(root)])
    _own_etc(root / "etc", name, address, gateway)
    make_host_key(root, name)


def _own_etc(etc: Path, name: str, address: str, gateway: str) -> None:
    for place in NOT_SHARED:
        run(["rm", "-rf", str(etc / place)])
    for place in ("ssh", "docker", "lab"):
        (etc / place).mkdir(exist_ok=True)
    (etc / "mtab").symlink_to("/proc/self/mounts")
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    (etc / "resolv.conf").write_text("# no resolver in the lab\n")
    (etc / "docker/daemon.json").write_text(json.dumps(engine_settings(gateway)))
    shutil.copy(FILES / "sshd_config", etc / "ssh")
    for script in ("init.sh", "engine.sh"):
        shutil.copy(FILES / script, etc / "lab")


def engine_settings(gateway: str) -> dict[str, object]:
    """Names are asked for where nobody answers, so that a wrong one fails at once; the engine's default lets it wait 15 seconds."""
    return {"dns": [gateway], "log-driver": "json-file", "log-opts": {"max-size": "5m", "max-file": "2"}}


def make_host_key(root: Path, name: str) -> None:
    key = root / HOST_KEY
    for path in (key, key.with_suffix(".pub")):
        path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{name}", "-f", str(key)])


def authorize(root: Path, public_key: str) -> None:
    path = root / AUTHORIZED_KEYS
    with path.open("a") as file:
        file.write(public_key.strip() + "\n")
    path.chmod(0o600)
