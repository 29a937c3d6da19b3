"""What the panel adds to a clone: the job *add standby* against bare pg_basebackup + pg_verifybackup + start, run in turn.

    .venv/bin/python -m benchmarks.add_standby [--scale 70] [--runs 5]

Prints seconds of each run, medians, and the ratio of medians (the bar is 1.15; exit code 1 when it is missed). Both end when
the upstream shows the standby streaming. Scale 70 of pgbench is about 1 GB.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.panel import throw_away_panel

BAR = 1.15


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--scale", type=int, default=70)
    options.add_argument("--runs", type=int, default=5)
    chosen = options.parse_args()
    with throw_away_panel() as base:
        return measure(base, chosen.scale, chosen.runs)


def measure(base: Path, scale: int, runs: int) -> int:
    from benchmarks.clone_bench import Bench

    bench = Bench(base)
    try:
        size = bench.fill(scale)
        print(f"pgbench scale {scale}: {size / 1024**2:.0f} MB; {runs} runs of each, in turn")
        contestants: dict[str, Callable[[], float]] = {"bare": bench.bare, "panel": bench.panel}
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for round_number in range(runs + 1):  # the first warms the page cache and is not counted
            for name, contestant in contestants.items():
                took = contestant()
                if round_number:
                    seconds[name].append(took)
        met = report(seconds)
        print("the panel's steps, medians in seconds:")
        for title, values in bench.step_seconds.items():
            print(f"{statistics.median(values):8.2f}  {title}")
        return int(not met)
    finally:
        bench.end()


def report(seconds: dict[str, list[float]]) -> bool:
    for name, values in seconds.items():
        print(f"{name:6} median {statistics.median(values):6.2f} s   each: {' '.join(f'{value:.2f}' for value in values)}")
    ratio = statistics.median(seconds["panel"]) / statistics.median(seconds["bare"])
    pairs = [panel / bare for panel, bare in zip(seconds["panel"], seconds["bare"], strict=True)]
    print(f"ratio of medians panel/bare: {ratio:.2f} (bar {BAR}); round by round: {' '.join(f'{pair:.2f}' for pair in pairs)}")
    return ratio <= BAR


if __name__ == "__main__":
    sys.exit(main())
