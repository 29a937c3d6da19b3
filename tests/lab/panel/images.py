"""Stand-ins for the images that the panel's own image and compose.yml take from a registry: `python` and `redis`."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher.programs import valkey_server
from tests.lab.commands import run
from tests.lab.image import archive
from tests.lab.image.base import base_layer
from tests.lab.image.layer import Layer

#: This machine's own Python is in it, under the name that stands in the Dockerfile for "any Debian with Python 3.11 or newer".
PYTHON = "python:of-this-machine"
REDIS = "redis:8"
INTERPRETER = Path("/usr/bin/python3")
#: What wheels are linked with and every Debian has.
RUNTIMES = ("libgcc_s.so.1", "libstdc++.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6")
REDIS_USER = 998
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: `redis-cli PING`, for a health check: the wheel has the server alone.
REDIS_CLI = b"""#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/6379 && printf '%s\\r\\n' "$1" >&3 && IFS= read -r -t 3 answer <&3 && echo "$answer" && [[ $answer == +* ]]
"""


def archives(cache: Path) -> list[Path]:
    """Files for `docker load`, made where the cache has none of this content."""
    return [_archive(cache, PYTHON, _python, {}), _archive(cache, REDIS, _redis, {"Volumes": {"/data": {}}, "WorkingDir": "/data"})]


def _archive(cache: Path, tag: str, layer: Callable[[], Layer], config: dict[str, Any]) -> Path:
    path = cache / f"{tag.replace(':', '-')}-{_fingerprint()}.tar"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".image-") as directory:
            layers = [Path(directory, "programs.tar"), Path(directory, f"{tag.partition(':')[0]}.tar")]
            base_layer().write(layers[0])
            layer().write(layers[1])
            unfinished = Path(directory, "image.tar")
            archive.write(unfinished, tag, layers, {"Env": [PATH, "LANG=C.UTF-8"], "Cmd": ["bash"], **config})
            unfinished.rename(path)
    return path


def _fingerprint() -> str:
    """Of the code that makes them, and of the programs that go in."""
    image = Path(archive.__file__).parent
    parts = [Path(__file__), *(image / name for name in ("archive.py", "base.py", "layer.py")), INTERPRETER, valkey_server()]
    data = b"\0".join(path.read_bytes() for path in [*parts, Path("/etc/debian_version")])
    return hashlib.sha256(data + platform.machine().encode()).hexdigest()[:16]


def _python() -> Layer:
    layer = Layer()
    program = INTERPRETER.resolve()
    name = program.name  # python3.11, say
    layer.file(str(program), program, mode=0o755)
    for link in ("python3", "python"):
        layer.link(f"/usr/bin/{link}", name)
    for place in (Path("/usr/lib", name), Path("/usr/share/python-wheels"), Path("/etc", name)):
        layer.copy(str(place), place)
    useradd = Path("/usr/sbin/useradd")
    layer.file(str(useradd), useradd, mode=0o755)
    layer.file("/etc/login.defs", Path("/etc/login.defs"))
    extensions = Path("/usr/lib", name, "lib-dynload").glob("*.so")
    layer.libraries_of(program, useradd, *extensions)
    _add_runtimes(layer)
    return layer


def _add_runtimes(layer: Layer) -> None:
    known = (line.split() for line in run(["ldconfig", "-p"]).stdout.splitlines() if "=>" in line)
    for words in known:
        if words[0] in RUNTIMES:
            library = Path(words[-1])
            layer.file(str(library.parent.resolve() / library.name), library.resolve(), mode=0o755)


def _redis() -> Layer:
    layer = Layer()
    server = valkey_server()
    layer.file("/usr/local/bin/redis-server", server, mode=0o755)
    layer.file("/usr/local/bin/redis-cli", REDIS_CLI, mode=0o755)
    layer.libraries_of(server)
    accounts = f"root:x:0:0:root:/root:/bin/bash\nredis:x:{REDIS_USER}:{REDIS_USER}::/data:/usr/sbin/nologin\n"
    layer.file("/etc/passwd", accounts.encode())
    layer.file("/etc/group", f"root:x:0:\nredis:x:{REDIS_USER}:\n".encode())
    layer.directory("/data", owner=REDIS_USER)
    return layer
