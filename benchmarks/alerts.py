"""What alerts cost: judging 1,000 clusters of 3,000 instances, as it is done every five seconds, and every thirty.

    .venv/bin/python -m benchmarks.alerts [--clusters 1000]

Prints the CPU time of this process for an evaluation of what the monitor sees, and of everything; the queries of each; and the share of
one core that both take together. The bar is a fifth of a core. Exit code 1 when it is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from statistics import median

from benchmarks.panel import throw_away_panel

TURNS = 9
SHARE_MOST = 0.2


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--clusters", type=int, default=1000)
    chosen = options.parse_args()
    with throw_away_panel():
        return measure(chosen.clusters)


def measure(clusters: int) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from benchmarks.pages_bench import declare
    from clusters.models import Cluster, Monitor
    from clusters.schedules import schedules_make
    from tasks.alerting.evaluation import evaluate

    print(f"{clusters} clusters, {declare(clusters)} instances", flush=True)
    for cluster in Cluster.objects.all():
        schedules_make(cluster)
    now = timezone.now()
    Monitor.objects.update_or_create(pk=1, defaults={"lease_until": now + timedelta(hours=1), "beat_at": now, "interval": 5.0})
    spent = {}
    for everything, words in ((False, "what the monitor sees"), (True, "everything")):
        with CaptureQueriesContext(connection) as captured:
            evaluate(everything=everything)
        cpu, wall = timed(lambda every=everything: evaluate(everything=every))  # type: ignore[misc]  # bound at once
        spent[everything] = cpu
        print(f"{words:24} {cpu * 1000:6.0f} ms of CPU, {wall * 1000:6.0f} ms, {len(captured.captured_queries):3} queries", flush=True)
    share = spent[False] / 5 + spent[True] / 30
    print(f"share of one core {share:5.1%} (bar {SHARE_MOST:.0%})", flush=True)
    return int(share > SHARE_MOST)


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU and in all; the medians."""
    act()
    cpu, wall = [], []
    for _turn in range(TURNS):
        began, began_cpu = time.perf_counter(), time.process_time()
        act()
        cpu.append(time.process_time() - began_cpu)
        wall.append(time.perf_counter() - began)
    return median(cpu), median(wall)


if __name__ == "__main__":
    sys.exit(main())
