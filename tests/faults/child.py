"""What a worker process of a fault test does. Loaded once into the fork server, so that each worker starts in milliseconds."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
import psycopg_pool  # noqa: F401  # Django would load it at the first connection

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from pgreplica_admin.database import connection_options  # noqa: E402
from tasks import runner  # noqa: E402
from tests.faults.toy import toys  # noqa: E402

gc.freeze()  # each worker is a fork of this: what it does not touch, it need not copy


def work(job_id: int, database: str, env: Mapping[str, str], values: Mapping[str, Any], deliveries: int) -> None:
    """Take a job as a worker does, in as many threads as it is delivered. Exit code 3: it was not to be had; 4: more than once."""
    os.environ.update(env)
    for name, value in values.items():
        setattr(settings, name, value)
    connections.settings["default"]["NAME"] = database
    connections.settings["default"]["OPTIONS"]["options"] = connection_options("", settings.JOB_LEASE_SECONDS)
    with toys():
        had = _delivered(job_id, deliveries)
    os._exit({0: 3, 1: 0}.get(had, 4))


def _delivered(job_id: int, deliveries: int) -> int:
    """How many of the deliveries had the job."""
    if deliveries == 1:
        return int(_run(job_id))
    with ThreadPoolExecutor(deliveries) as threads:
        return sum(threads.map(_run, [job_id] * deliveries))


def _run(job_id: int) -> bool:
    had = runner.run(job_id)
    connections.close_all()
    return had
