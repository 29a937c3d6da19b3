"""How often a story is told that the issue asks for many times: a few times in each run, all of them on demand (PGREPLICA_TEST_LONG=1)."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def rounds(few: T, many: T) -> T:
    return many if os.environ.get("PGREPLICA_TEST_LONG") else few
