"""What the pages of a large fleet cost: 1,000 clusters, 3,000 instances, each with what a look and the monitor have left.

    .venv/bin/python -m benchmarks.pages [--clusters 1000]

Prints for each page the time until its answer (median of 15, in this process, without the network), how many queries it made, and the ratio
to those same queries asked over a bare connection. The bars are 300 ms for the fleet and for a chart of a month,
150 ms for a cluster. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.panel import throw_away_panel

TURNS = 15
#: Address -> seconds; None: only told.
BARS: dict[str, float | None] = {
    "/admin/": 0.3,
    "/admin/?q=c9": 0.3,
    "/clusters/c500/": 0.15,
    "/clusters/c500/charts/?range=31d": 0.3,
    "/clusters/c500/charts/?range=7d": 0.3,
    "/clusters/c501/charts/?range=31d": 0.3,
    "/api/v1/clusters/c500/samples?measure=lag_bytes": None,
    "/jobs/durations/?kind=verify": 0.3,
    "/metrics": None,
    "/api/v1/clusters": None,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--clusters", type=int, default=1000)
    chosen = options.parse_args()
    with throw_away_panel():
        return measure(chosen.clusters)


def measure(clusters: int) -> int:
    from django.conf import settings
    from django.core.management import call_command

    settings.ALLOWED_HOSTS = ["testserver"]
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    call_command("access_setup", verbosity=0)
    from benchmarks.pages_bench import asked, client_of, declare, spoken

    began = time.monotonic()
    instances = declare(clusters)
    print(f"{clusters} clusters, {instances} instances ({time.monotonic() - began:.0f} s to declare)", flush=True)
    client, late = client_of("administrator"), []
    for path, bar in BARS.items():
        queries = asked(client, path)
        seconds, bare = timed(partial(client.get, path)), timed(partial(spoken, queries))
        told = f"(bar {bar * 1000:.0f} ms)" if bar else ""
        print(f"{path:48} {seconds * 1000:6.0f} ms, {len(queries):3} queries, ratio to these {seconds / bare:5.2f} {told}", flush=True)
        late += [path] if bar and seconds > bar else []
    return int(bool(late))


def timed(act: Callable[[], object]) -> float:
    """Seconds; the median."""
    act()
    spent = []
    for _turn in range(TURNS):
        began = time.perf_counter()
        act()
        spent.append(time.perf_counter() - began)
    return median(spent)


if __name__ == "__main__":
    sys.exit(main())
