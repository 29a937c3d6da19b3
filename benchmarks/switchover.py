"""What a switchover costs: the panel's job against a bare script that does the least that is safe, in turn, under writers.

    .venv/bin/python -m benchmarks.switchover [--rounds 10] [--writers 8]

Prints the write gap (the longest time in which no writer was acknowledged anything) of each, medians, the worst, and the ratio
of medians (the bar is 1.3); rows acknowledged and lost (the bar is 0); rebuilds (there is no code for one). Exit code 1 when a bar is
missed. The bare script: two checkpoints, a fast stop watched every 5 ms, the candidate's position compared with the shutdown
checkpoint, pg_promote(false) over an open connection, then the old primary back as a standby.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from benchmarks.panel import throw_away_panel

BAR_RATIO, BAR_MEDIAN, BAR_MAX = 1.3, 0.25, 1.0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=10, help="switchovers of each")
    options.add_argument("--writers", type=int, default=8)
    options.add_argument("--only", choices=("panel", "bare"), help="one of the two, for a long run")
    chosen = options.parse_args()
    with throw_away_panel() as base:
        return measure(base, chosen)


def measure(base: Path, chosen: argparse.Namespace) -> int:
    from benchmarks.switch_bench import SwitchBench

    bench = SwitchBench(base, chosen.writers)
    gaps: dict[str, list[float]] = {name: [] for name in ("bare", "panel") if chosen.only in (None, name)}
    try:
        with bench.writers:
            for number in range(chosen.rounds + 1):  # the first warms up and is not counted
                for name in gaps:
                    gap = bench.switch(name)
                    if number:
                        gaps[name].append(gap)
                    print(f"{number:3} {name:6} gap {gap * 1000:6.0f} ms{'' if number else '   (not counted)'}", flush=True)
            lost = bench.writers.lost()
        return report(gaps, bench, len(lost))
    finally:
        bench.end()


def report(gaps: dict[str, list[float]], bench: object, lost: int) -> int:
    medians = {name: statistics.median(values) for name, values in gaps.items()}
    for name, values in gaps.items():
        print(f"{name:6} write gap median {medians[name] * 1000:4.0f} ms, worst {max(values) * 1000:4.0f} ms, {len(values)} switchovers")
    print(f"{bench.writers.count} rows acknowledged, {lost} lost; {bench.rebuilds} rebuilds")  # type: ignore[attr-defined]
    failed = lost > 0
    if "panel" in gaps:
        failed = failed or medians["panel"] > BAR_MEDIAN or max(gaps["panel"]) > BAR_MAX
    if len(gaps) == 2:
        ratio = medians["panel"] / medians["bare"]
        print(f"ratio of medians panel/bare: {ratio:.2f} (bar {BAR_RATIO})")
        failed = failed or ratio > BAR_RATIO
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
