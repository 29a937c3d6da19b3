"""What every image has below PostgreSQL: a small Debian made of this machine's programs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.lab.commands import LabError, run
from tests.lab.image.layer import Layer

PROGRAMS = """
    awk basename bash cat chgrp chmod chown cksum cmp cp cut dash date dd df diff dirname du env expr fallocate false find free getconf
    getent grep gunzip gzip head hostname id install ionice kill ldd ln locale ls mawk md5sum mkdir mktemp mount mv nice nohup nproc numfmt
    od pgrep pkill printenv printf ps pwd readlink realpath rm rmdir sed seq setpriv sh sha256sum sleep sort stat stdbuf sync tail tar tee
    test timeout top touch tr true truncate umount uname uniq uptime wc which whoami xargs xz yes zcat [
"""
EMPTY = ("dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr/sbin", "var/log", "docker-entrypoint-initdb.d")
ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\n"
    "postgres:x:999:999::/var/lib/postgresql:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\ntty:x:5:\npostgres:x:999:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def base_layer() -> Layer:
    layer = Layer()
    for place in EMPTY:
        layer.directory(f"/{place}")
    for place in ("/tmp", "/var/tmp"):
        layer.directory(place, mode=0o1777)
    layer.directory("/root", mode=0o700)
    for link in (path for path in Path("/").iterdir() if path.is_symlink() and path.readlink().parts[0] == "usr"):
        layer.link(str(link), str(link.readlink()))
        layer.directory(f"/{link.readlink()}")
    layer.link("/var/run", "/run")
    layer.libraries_of(*[_add_program(layer, name) for name in PROGRAMS.split()])
    _add_etc(layer)
    _add_libc_files(layer)
    return layer


def _add_program(layer: Layer, name: str) -> Path:
    """At /usr/bin, whatever Debian's alternatives make of it. Returns the file it is."""
    found = shutil.which(name, path="/usr/bin:/usr/sbin")
    if found is None:
        raise LabError(f"the images need the program {name}, and this machine has none in /usr/bin")
    program = Path(found).resolve()
    layer.file(str(program), program, mode=0o755)
    if program != Path(found):
        layer.link(f"/usr/bin/{name}", str(program))
    return program


def _add_etc(layer: Layer) -> None:
    for name, text in ACCOUNTS.items():
        layer.file(f"/etc/{name}", text.encode())
    layer.file("/etc/os-release", Path("/etc/os-release").resolve())
    layer.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")


def _add_libc_files(layer: Layer) -> None:
    """Time zones, and the two locales that the official images have."""
    zones = Path("/usr/share/zoneinfo")
    for name in sorted(path.name for path in zones.iterdir() if path.name not in ("posix", "right")):
        (layer.copy if (zones / name).is_dir() else layer.file)(f"{zones}/{name}", (zones / name).resolve())
    layer.copy("/usr/lib/locale/C.utf8", Path("/usr/lib/locale/C.utf8"))
    with tempfile.TemporaryDirectory(prefix="pgr-lab-") as prefix:
        Path(prefix, "usr/lib/locale").mkdir(parents=True)
        run(["localedef", "--no-archive", "-i", "en_US", "-f", "UTF-8", f"--prefix={prefix}", "en_US.UTF-8"])
        for path in sorted(Path(prefix, "usr/lib/locale/en_US.utf8").rglob("*")):
            if path.is_file():
                layer.file(str(Path("/", path.relative_to(prefix))), path.read_bytes())
