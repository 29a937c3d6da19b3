"""`./pgreplica test`: lint, format, types, then every test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

#: One process more than cores, since stories wait for servers; what is left of a long file goes to the one that is idle.
PARALLEL = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal")
#: The lab's tests mostly wait for servers, so they run beside the others: in two processes, each with a lab of its own. Two of the longest
#: stories go with them, so that both ends come at about the same time.
LAB = "tests/lab"
LONG = ("tests/stories/test_up_story.py", "tests/stories/test_obstacles_story.py")
LAB_PARALLEL = ("-n", "2", "--dist", "loadfile")
#: What took longest is told, so that a suite that grows is seen to.
TELLING = ("--durations=25", "--durations-min=5")
#: Where the tests make their directories: sockets need short paths.
TEMPORARY: Final = Path("/tmp")  # noqa: S108
MEMORY: Final = 6 << 30
PACKAGES = ("launcher", "clusters", "tasks", "pgreplica_admin")


def run_tests(checkout: Path, pytest_arguments: Sequence[str]) -> int:
    """Run all of it, pytest last; with arguments for pytest, only pytest. Returns the first exit code that is not 0."""
    if pytest_arguments:
        return _run(checkout, "pytest", ["pytest", *pytest_arguments])
    codes = [
        _run(checkout, "ruff check", ["ruff", "check", "."]),
        _run(checkout, "ruff format", ["ruff", "format", "--check", "."]),
        _run(checkout, "mypy", ["mypy", *PACKAGES]),
    ]
    with ThreadPoolExecutor(1) as beside:
        lab = beside.submit(_run, checkout, "pytest, the lab", ["pytest", *TELLING, *LAB_PARALLEL, *LONG, LAB], later=True)
        others = [f"--ignore={path}" for path in (LAB, *LONG)]
        codes.append(_run(checkout, "pytest", ["pytest", *TELLING, *PARALLEL, *others], before=in_memory(checkout)))
        codes.append(lab.result())
    return next((code for code in codes if code), 0)


def in_memory(checkout: Path) -> tuple[str, ...]:
    """Words before a command that give it a /tmp of its own in memory, gone with it however it ends; none where that cannot be.

    The tests make some hundred PostgreSQL clusters: thousands of small files each, which cost a disk more time than PostgreSQL.
    """
    hidden = any(Path(path).is_relative_to(TEMPORARY) for path in (checkout, sys.prefix, sys.base_prefix))
    if os.geteuid() != 0 or hidden or not shutil.which("unshare") or _memory_available() < 2 * MEMORY:
        return ()
    mount = f'mount -t tmpfs -o mode=1777,size={MEMORY} pgreplica-test {TEMPORARY} && exec "$@"'
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "in-memory")
    tried = subprocess.run([*before, "true"], capture_output=True, check=False)
    return before if tried.returncode == 0 else ()  # root of a container may not be allowed to mount


def _memory_available() -> int:
    """In bytes; 0 where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def _run(checkout: Path, title: str, words: list[str], *, later: bool = False, before: Sequence[str] = ()) -> int:
    """The exit code. `later`: what it prints comes in one piece when it has ended, since another step prints beside it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pgr-") as state, tempfile.TemporaryFile() as printed:
        if not later:
            print(f"== {title}", flush=True)
        # Loading the settings makes key files: not among the panel's own.
        environment = os.environ | {"PGREPLICA_STATE_DIR": state} if words[0] == "mypy" else os.environ
        streams = {"stdout": printed, "stderr": subprocess.STDOUT} if later else {}
        code = subprocess.run([*before, sys.executable, "-m", *words], cwd=checkout, env=environment, check=False, **streams).returncode  # type: ignore[call-overload]
        if later:
            printed.seek(0)
            print(f"== {title}\n{printed.read().decode(errors='replace')}", flush=True)
    print(f"== {title}: {'ok' if code == 0 else f'failed ({code})'}, {time.monotonic() - began:.1f} s", flush=True)
    return int(code)
