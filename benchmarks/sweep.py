"""What watching costs: the monitor beside a bare loop that asks the same question over kept connections.

    .venv/bin/python -m benchmarks.sweep [--instances 1000] [--seconds 40] [--dead 100]

Two real instances stand behind all the entries. Prints the monitor's CPU time as a share of one core (the bar is 40 % for 1,000 instances
every 5 s) and per instance and look, the ratio to the bare loop (the bar is 2), and how old the oldest answer is, before and after some
instances have become unreachable (the bar is 1 s more for the others). Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.panel import throw_away_panel

BAR_CORE, BAR_RATIO, BAR_AGE = 0.4, 2.0, 1.0
INTERVAL = 5.0
WARM_UP = 3 * INTERVAL


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--instances", type=int, default=1000)
    options.add_argument("--dead", type=int, default=100)
    options.add_argument("--seconds", type=float, default=40.0, help="of each measurement")
    chosen = options.parse_args()
    with throw_away_panel() as base:
        return measure(base, chosen)


def measure(base: Path, chosen: argparse.Namespace) -> int:
    from benchmarks.sweep_bench import SweepBench

    bench = SweepBench(base, chosen.instances)
    try:
        bare = bench.bare(chosen.seconds)
        print(f"bare loop  {bare * 1e6:6.0f} us of CPU an instance and look", flush=True)
        monitor = subprocess.Popen([sys.executable, "manage.py", "monitor", f"--interval={INTERVAL:g}"])
        try:
            bench.wait_all_answered()
            time.sleep(WARM_UP)
            core = share_of_core(monitor.pid, chosen.seconds)
            oldest = bench.oldest()
            bench.kill(chosen.dead)
            time.sleep(WARM_UP)
            with_dead = bench.oldest()
        finally:
            monitor.terminate()
            monitor.wait(30)
        each = core * INTERVAL / chosen.instances
        print(f"monitor    {each * 1e6:6.0f} us of CPU an instance and look; {core:.1%} of one core (bar {BAR_CORE:.0%})")
        print(f"ratio monitor/bare: {each / bare:.2f} (bar {BAR_RATIO})")
        print(f"oldest answer {oldest:.1f} s; with {chosen.dead} unreachable {with_dead:.1f} s for the others (bar {BAR_AGE} s more)")
        return int(core > BAR_CORE or each / bare > BAR_RATIO or with_dead > oldest + BAR_AGE)
    finally:
        bench.end()


def share_of_core(process: int, seconds: float) -> float:
    watched = psutil.Process(process)
    before, began = sum(watched.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    return (sum(watched.cpu_times()[:2]) - before) / (time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
