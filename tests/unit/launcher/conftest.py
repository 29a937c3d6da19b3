from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.state import State


@pytest.fixture
def state() -> Iterator[State]:
    """A state directory that exists, short enough for sockets and outside of homes."""
    root = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
    yield State(root)
    shutil.rmtree(root)
