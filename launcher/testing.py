"""`./pgreplica test`: lint, format, types, then every test."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

#: One process more than cores, since stories wait for servers; what is left of a long file goes to the one that is idle.
PARALLEL = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal")
#: The machine has one lab: its tests run one after another, when the others have ended.
LAB = "tests/lab"
PACKAGES = ("launcher", "clusters", "tasks", "pgreplica_admin")


def run_tests(checkout: Path, pytest_arguments: Sequence[str]) -> int:
    """Run all of it, pytest last; with arguments for pytest, only pytest. Returns the first exit code that is not 0."""
    steps: list[tuple[str, list[str]]] = [
        ("ruff check", ["ruff", "check", "."]),
        ("ruff format", ["ruff", "format", "--check", "."]),
        ("mypy", ["mypy", *PACKAGES]),
        ("pytest", ["pytest", *PARALLEL, f"--ignore={LAB}"]),
        ("pytest, the lab", ["pytest", LAB]),
    ]
    if pytest_arguments:
        steps = [("pytest", ["pytest", *pytest_arguments])]
    codes = [_run(checkout, title, words) for title, words in steps]
    return next((code for code in codes if code), 0)


def _run(checkout: Path, title: str, words: list[str]) -> int:
    print(f"== {title}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pgr-") as state:  # loading the settings makes key files: not among the panel's own
        environment = os.environ | {"PGREPLICA_STATE_DIR": state} if words[0] == "mypy" else os.environ
        code = subprocess.run([sys.executable, "-m", *words], cwd=checkout, env=environment, check=False).returncode
    print(f"== {title}: {'ok' if code == 0 else f'failed ({code})'}, {time.monotonic() - began:.1f} s", flush=True)
    return code
