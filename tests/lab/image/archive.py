"""An image as `docker load` takes it: layers, configuration and manifest in one tar file. No engine is needed to make one."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: The same time in each image, so that the same content is the same image.
MADE = "2024-01-01T00:00:00Z"


def write(path: Path, tag: str, layers: Sequence[Path], config: dict[str, Any]) -> None:
    digests = [hashlib.sha256(layer.read_bytes()).hexdigest() for layer in layers]
    image = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": MADE,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": MADE, "created_by": layer.stem} for layer in layers],
    }
    configuration = json.dumps(image, sort_keys=True).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar" for digest in digests]}]
    with tarfile.open(path, "w") as tar:
        for digest, layer in zip(digests, layers, strict=True):
            _add(tar, f"{digest}/layer.tar", layer.read_bytes())
        _add(tar, name, configuration)
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
