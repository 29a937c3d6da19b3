from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string


class Command(BaseCommand):
    help = "Judge every five seconds what is wrong, and send notifications, until stopped. A second one helps with the sending."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_signal: stop.set())
        ready = os.environ.get("PGREPLICA_READY_FILE")
        # By its name: what it judges is defined beside workflows, which reach machines. It reaches none.
        import_string("tasks.alerting.alerter.Alerter")(Path(ready) if ready else None).run(stop)
