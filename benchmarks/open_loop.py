"""Show what a stall of one second does to the percentiles of both loops, at this machine's own rate. `./dev bench open_loop`

Runs scenarios/closed-loop-stall.yaml against MariaDB, then scenarios/open-loop-stall.yaml at half of the closed loop's rate.
Prints both, and whether the claims hold. Exit code 1: a claim does not hold; 2: something could not run.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks._locust import BenchmarkError, run_locust

ROOT = Path(__file__).resolve().parent.parent
STALL = 1.0
"""Seconds."""
HELD = 0.01
"""The relative deviation that the rate may have."""


@dataclass(frozen=True)
class Measured:
    """The results of a run."""

    seconds: float
    """The duration that was asked for."""
    ok: dict[str, int]
    """Count, and percentiles in microseconds, of the successful operations, as in `result.json`."""
    failed: int
    typical: float
    """Operations in a typical second (the median)."""


def measure(scenario: str, seconds: float, **load: Any) -> Measured:
    """Run a stall scenario for that long, with the reader paused in the middle."""
    given = yaml.safe_load((ROOT / f"scenarios/{scenario}.yaml").read_text())
    given["load"] |= {"duration": seconds, **load}
    given["faults"][0] |= {"at": seconds / 2, "for": STALL}
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as directory:
        path = Path(directory, "scenario.yaml")
        path.write_text(yaml.safe_dump(given))
        options = ["-f", str(ROOT / "loadtest"), "--scenario", str(path), "--cluster", "mariadb"]
        # 1: the open loop misses its p99.9, as intended
        trio.run(partial(run_locust, directory, *options, codes=(0, 1)))
        (run,) = Path(directory, "runs").iterdir()
        done = json.loads((run / "result.json").read_text())["operations"]["get"]
        with (run / "latencies.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["operation"], row["outcome"]) == ("get", "ok")]
    counts = [int(row["count"]) for row in rows if row["second"] != "total"]
    return Measured(seconds, done["ok"], done["failed"]["count"], statistics.median(counts))


def report(closed: Measured, opened: Measured, rate: float) -> bool:
    """Print the table, and whether the claims hold; returns whether all do."""
    table = Table(title="gets, the reader paused for 1 s")
    for heading in ("", "operations", "failed", "p50 ms", "p99 ms", "p99.9 ms", "max ms"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, run in (("closed loop", closed), (f"open loop, {rate:,.0f}/s", opened)):
        times = (f"{run.ok[f'{percent}_us'] / 1000:,.1f}" for percent in ("p50", "p99", "p99.9", "max"))
        table.add_row(name, f"{run.ok['count']:,}", f"{run.failed:,}", *times)
    Console(width=100 if not sys.stdout.isatty() else None).print(table)
    held = run_rate(opened) / rate - 1
    claims = [
        (f"half of the closed loop's rate is held within {HELD:.0%}", abs(held) <= HELD, f"{held:+.2%}"),
        ("the open loop's p99.9 shows the second", opened.ok["p99.9_us"] >= STALL * 0.9e6, _ms(opened)),
        ("the closed loop's p99.9 does not", closed.ok["p99.9_us"] < STALL * 0.1e6, _ms(closed)),
    ]
    for claim, holds, measured in claims:
        print(f"{claim}: {'holds' if holds else 'does not hold'} ({measured})")
    return all(holds for _, holds, _ in claims)


def run_rate(run: Measured) -> float:
    """Successful operations per second."""
    return run.ok["count"] / run.seconds


def _ms(run: Measured) -> str:
    return f"{run.ok['p99.9_us'] / 1000:,.1f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench open_loop", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of load in each of the two")
    options = parser.parse_args()
    try:
        closed = measure("closed-loop-stall", options.seconds)
        rate = round(closed.typical / 2)
        return 0 if report(closed, measure("open-loop-stall", options.seconds, rate=rate), rate) else 1
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
