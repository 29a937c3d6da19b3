"""The process that tells people: judges every few seconds what is known, and sends what waits.

It needs the panel's database and nothing else. Neither a broker that is gone, nor workers that are all busy, nor a monitor that has died
keeps anybody from being told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django.db import DatabaseError, InterfaceError, connection
from psycopg_pool import PoolTimeout

from tasks.alerting.evaluation import evaluate
from tasks.alerting.sender import Sender

logger = logging.getLogger(__name__)

#: How often what the monitor sees is judged, and how often also what verifications found.
JUDGE_SECONDS: Final = 5.0
EVERYTHING_SECONDS: Final = 30.0
#: How often it is looked for what is to be sent.
SEND_SECONDS: Final = 1.0
#: So long after its start, and after the panel's database was away, the other parts are given time to begin.
PATIENCE_SECONDS: Final = 90.0
#: For deliveries that are under way when it is stopped; who stops it waits for 5 s (launcher.parts).
LAST_SECONDS: Final = 3.0


class Alerter:
    """`run` until `stop` is set. `ready`: a file that is touched after each evaluation, for those who look whether it lives."""

    def __init__(self, ready: Path | None = None) -> None:
        self._ready, self._sender = ready, Sender()
        self._judge_due = self._everything_due = 0.0
        self._patient_until: float | None = None

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.turn(time.monotonic())
            stop.wait(SEND_SECONDS)
        _tried(lambda: self._sender.finish(LAST_SECONDS))

    def turn(self, now: float) -> None:
        """Do what is due at `now`, in seconds of the monotonic clock. What fails is said, and tried again when it is due again."""
        if self._patient_until is None:
            self._patient_until = now + PATIENCE_SECONDS
        if now >= self._judge_due:
            everything, patient = now >= self._everything_due, now < self._patient_until
            if not _tried(lambda: evaluate(everything=everything, patient=patient)):
                self._patient_until = None
            else:
                self._everything_due = now + EVERYTHING_SECONDS if everything else self._everything_due
                if self._ready is not None:
                    self._ready.touch()
            self._judge_due = now + JUDGE_SECONDS
        _tried(self._sender.step)


def _tried(act: Callable[[], object]) -> bool:
    """Whether it went well."""
    try:
        act()
    except (DatabaseError, InterfaceError, PoolTimeout) as error:
        logger.warning("The panel's database does not answer, nobody can be told of anything: %s", str(error).strip().partition("\n")[0])
    except Exception:  # a fault of ours ends neither the judging nor the sending
        logger.exception("What is wrong could not be judged, or not be sent; it is tried again")
    else:
        return True
    finally:
        connection.close()  # back to the pool, which gives out none that is dead
    return False
