from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tasks.first_start import demo_advance
from tasks.refusals import Refusal

PAUSE_SECONDS = 0.5


class Command(BaseCommand):
    help = "Request the demo cluster's jobs, each when the one before is done. `./pgreplica up` runs it until the demo is complete."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, action="append", required=True, help="a free port; twice, for primary and standby")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            while demo_advance(options["port"]):
                time.sleep(PAUSE_SECONDS)
        except Refusal as refusal:
            self.stderr.write(f"The demo cluster is not completed: {refusal.sentence}")
