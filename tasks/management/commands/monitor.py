from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string


class Command(BaseCommand):
    help = "Ask every instance every few seconds how it stands, until stopped. A second one waits, and takes over when the first is gone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS", help="from 1 to 300; 5 unless given")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["interval"] <= 300:
            raise CommandError("--interval: give a number of seconds from 1 to 300.")
        ready = os.environ.get("PGREPLICA_READY_FILE")
        # By its name: of all commands this one alone reaches machines.
        rounds = import_string("tasks.watching.monitor.Rounds")(options["interval"], Path(ready) if ready else None)
        gc.collect()
        gc.freeze()  # what is loaded stays: the collector need not look through all of Django for the answers of each second
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_until_stopped(rounds.run()))


async def _until_stopped(run: Any) -> None:
    task = asyncio.ensure_future(run)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task
