"""What a stall of one second does to the percentiles of both loops, at this machine's own rate. `./dev bench open_loop`

Carries out scenarios/closed-loop-stall.yaml, and then scenarios/open-loop-stall.yaml at half of what the closed loop got done
in a second, against MariaDB. Prints both, and what is claimed. Exit code 1: a claim does not hold; 2: something could not run.
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
"""By how much of itself the rate may be missed."""


@dataclass(frozen=True)
class Measured:
    """What a run came to."""

    seconds: float
    """As long as it was to last."""
    ok: dict[str, int]
    """Of what succeeded, the count and the percentiles in microseconds, as `result.json` has them."""
    failed: int
    typical: float
    """Operations in a second that was like most."""


def measure(scenario: str, seconds: float, **load: Any) -> Measured:
    """Carry a stall scenario out in so many seconds, the reader paused in their middle."""
    given = yaml.safe_load((ROOT / f"scenarios/{scenario}.yaml").read_text())
    given["load"] |= {"duration": seconds, **load}
    given["faults"][0] |= {"at": seconds / 2, "for": STALL}
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as directory:
        path = Path(directory, "scenario.yaml")
        path.write_text(yaml.safe_dump(given))
        options = ["-f", str(ROOT / "loadtest"), "--scenario", str(path), "--cluster", "mariadb"]
        # 1: its p99.9 is what is to be seen
        trio.run(partial(run_locust, directory, *options, codes=(0, 1)))
        (run,) = Path(directory, "runs").iterdir()
        done = json.loads((run / "result.json").read_text())["operations"]["get"]
        with (run / "latencies.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["operation"], row["outcome"]) == ("get", "ok")]
    counts = [int(row["count"]) for row in rows if row["second"] != "total"]
    return Measured(seconds, done["ok"], done["failed"]["count"], statistics.median(counts))


def report(closed: Measured, opened: Measured, rate: float) -> bool:
    """Print the table, and what is claimed of it; gives whether that holds."""
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
    """Operations that succeeded, per second."""
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
