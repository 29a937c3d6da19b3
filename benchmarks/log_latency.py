"""How long a log line takes from the journal to its viewers, and whether a long log arrives whole.

    .venv/bin/python -m benchmarks.log_latency [--viewers 20] [--rate 200] [--seconds 20] [--lines 20000]

A worker process writes through the real journal, a real web process streams, the viewers read here; database and Valkey are the
embedded ones with their defaults. Latency is from `Journal.add` to the viewer's receipt of the line, of every line at every viewer.
The bars: p50 50 ms, p99 250 ms; the long log complete and in order over two forced reconnects. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.panel import settings_chosen, throw_away_panel
from tests import plugin

if TYPE_CHECKING:
    from tests.live import Web

BAR_P50, BAR_P99 = 0.050, 0.250
PADDING = " as a line of pg_basebackup or pg_ctl may be long, more or less"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--viewers", type=int, default=20)
    options.add_argument("--rate", type=float, default=200, help="lines per second")
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--lines", type=int, default=20_000, help="of the long log")
    options.add_argument("--write", type=int, metavar="JOB", help=argparse.SUPPRESS)  # this process is the worker
    chosen = options.parse_args()
    if chosen.write:
        settings_chosen()
        write(chosen.write, chosen.lines, chosen.rate)
        return 0
    plugin.FAST.clear()  # commits wait for the disk, as in production
    plugin.FAST["max_connections"] = "100"
    with throw_away_panel():
        return measure(chosen)


def measure(chosen: argparse.Namespace) -> int:
    from django.conf import settings

    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)  # whitenoise warns where it is missing
    from tests.live import Valkey, Web

    with Valkey() as valkey, Web(valkey.url) as web:
        latency = latency_met(web, valkey.url, chosen)
        return 0 if long_log_met(web, valkey.url, chosen.lines) and latency else 1


def latency_met(web: Web, redis_url: str, chosen: argparse.Namespace) -> bool:
    lines = int(chosen.rate * chosen.seconds)
    job_id, cookie = prepare()
    seen = watched(job_id, redis_url, lines, chosen.rate, *[lambda: latencies(web.port, job_id, cookie)] * chosen.viewers)
    every = sorted(delay for delays in seen for delay in delays)
    cuts = statistics.quantiles(every, n=100)
    print(f"{chosen.viewers} viewers, {chosen.rate:g} lines/s, {len(every)} of {lines * chosen.viewers} lines received:", end=" ")
    print(f"p50 {cuts[49] * 1e3:.1f} ms (bar {BAR_P50 * 1e3:g}), p99 {cuts[98] * 1e3:.1f} ms (bar {BAR_P99 * 1e3:g}),", end=" ")
    print(f"longest {every[-1] * 1e3:.1f} ms; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return cuts[49] <= BAR_P50 and cuts[98] <= BAR_P99 and len(every) == lines * chosen.viewers


def long_log_met(web: Web, redis_url: str, lines: int) -> bool:
    job_id, cookie = prepare()
    began = time.monotonic()
    [seen] = watched(job_id, redis_url, lines, 4000, lambda: reconnecting(web.port, job_id, cookie, lines))
    whole = seen == list(range(1, lines + 1))
    print(f"{lines} lines, two forced reconnects: {'complete and in order' if whole else 'NOT WHOLE'}, {time.monotonic() - began:.1f} s")
    return whole


def prepare() -> tuple[int, str]:
    """A queued job and the cookie of somebody who may watch it."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from tasks.models import Job

    user, _ = get_user_model().objects.get_or_create(username="bench", defaults={"is_superuser": True})
    client = Client()
    client.force_login(user)
    return Job.objects.create(kind="verify", mutating=False, source="bench").pk, f"sessionid={client.cookies['sessionid'].value}"


def watched(job_id: int, redis_url: str, lines: int, rate: float, *viewers: Callable[..., object]) -> list:
    """What the viewers saw of `lines` lines that a worker writes once they are there."""
    from tests.live import database_url, play

    async def worker() -> None:
        await asyncio.sleep(1)  # the viewers come first
        argv = [sys.executable, "-m", "benchmarks.log_latency", "--write", str(job_id), "--lines", str(lines), "--rate", str(rate)]
        env = {**os.environ, "DATABASE_URL": database_url(), "REDIS_URL": redis_url}
        assert await asyncio.to_thread(subprocess.call, argv, env=env) == 0

    return play(worker, *viewers, seconds=600)[1:]


async def latencies(port: int, job_id: int, cookie: str) -> list[float]:
    from tests.live import get

    stream = await get(port, f"/jobs/{job_id}/stream", cookie)
    return [frame.at - float(json.loads(frame.data)["text"].split()[0]) async for frame in stream.frames() if frame.id]


async def reconnecting(port: int, job_id: int, cookie: str, lines: int) -> list[int]:
    """Breaks the connection after a third and after two thirds, and comes back with Last-Event-ID."""
    from tests.live import numbers

    seen: list[int] = []
    for until in (lines // 3, 2 * lines // 3, None):
        seen += await numbers(port, job_id, cookie, seen[-1] if seen else 0, until=until)
    return seen


def write(job_id: int, lines: int, rate: float) -> None:
    """The worker: evenly, `rate` lines per second, each beginning with the moment it was given to the journal."""
    import django

    django.setup()
    from tasks.journal import Journal, Level
    from tasks.lease import claim
    from tasks.models import Job

    lease = claim(job_id)
    assert lease is not None
    began = time.monotonic()
    with Journal(Job.objects.get(pk=job_id), lease) as journal:
        for number in range(lines):
            time.sleep(max(0, began + number / rate - time.monotonic()))
            journal.add(Level.OUTPUT, f"{time.time():.6f}{PADDING}", 1)
        journal.commit([], job={"status": "done"}, last=True)


if __name__ == "__main__":
    sys.exit(main())
