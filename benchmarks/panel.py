"""A panel to measure: a throw-away database with the schema in it, and a directory, both gone at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import plugin


def settings_chosen() -> None:
    """Before Django is loaded, in every process that measures."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgreplica_admin.settings")
    os.environ.setdefault("PGREPLICA_LOG_LEVEL", "ERROR")


@contextmanager
def throw_away_panel() -> Iterator[Path]:
    """Inside, Django is set up: what needs models is imported there, not before. The directory's name is short, as sockets want it."""
    settings_chosen()
    plugin.begin()
    base = Path(tempfile.mkdtemp(prefix="pgr-bench-", dir="/tmp"))
    try:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)
        plugin.pytest_unconfigure()
