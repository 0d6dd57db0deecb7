"""Measure the memory of a long audited run: Locust's process, its load engine, and the controller. `./dev bench memory`

Runs the mixed scenario, which is audited, against MariaDB, and samples the processes every second. Prints the maximum of each
process in each third of the time, and whether the claim holds. Exit code 1: it does not hold; 2: the run failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table

from benchmarks._locust import BenchmarkError, run_locust

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
LIMIT = 400
"""MiB, for Locust's process and the load engine together."""
MODULES = {"Locust": "locust", "load engine": "hs_drill.engine", "controller": "hs_drill.controller"}

Sample = dict[str, int]
"""Bytes by process."""


def sample(parent: int) -> Sample:
    """The current memory of Locust, which `parent` has started, and of its children."""
    found: Sample = {}
    for pid in descendants(parent):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # the process has just ended
        for name, module in MODULES.items():
            if module.encode() in command:
                found[name] = pages * os.sysconf("SC_PAGE_SIZE")
    return found


def descendants(pid: int) -> Iterable[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from descendants(child)


def measure(minutes: float) -> tuple[int, list[Sample]]:
    """The number of operations, and the memory in each second, including the time of the judging."""
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as directory:
        scenario = str(ROOT / "scenarios/mixed.yaml")
        options = ["-f", str(ROOT / "loadtest"), "--scenario", scenario, "--cluster", "mariadb", "-t", f"{minutes * 60:g}s"]
        samples = trio.run(_watched, directory, options)
        [path] = Path(directory).glob("runs/*/result.json")
        done: int = json.loads(path.read_text())["operations"]["all"]["ok"]["count"]
    return done, samples


async def _watched(directory: str, options: list[str]) -> list[Sample]:
    samples: list[Sample] = []

    async def look() -> None:
        while True:
            samples.append(sample(os.getpid()))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await run_locust(directory, *options)
        nursery.cancel_scope.cancel()
    return samples


def report(done: int, samples: list[Sample]) -> bool:
    """Print the table, and whether the claim holds; returns that."""
    ends = [len(samples) * third // 3 for third in range(4)]
    thirds = [samples[since:until] for since, until in pairwise(ends)]
    table = Table(title=f"{done:,} operations in an audited run: the most MiB in each third of its time")
    for heading in ("", "first", "second", "third"):
        table.add_column(heading, justify="right" if heading else "left")
    together = [one.get("Locust", 0) + one.get("load engine", 0) for one in samples]
    for name in MODULES:
        table.add_row(name, *(f"{max(one.get(name, 0) for one in third) / MIB:,.0f}" for third in thirds))
    Console(width=100 if not sys.stdout.isatty() else None).print(table)
    most = max(together) / MIB
    holds = most <= LIMIT
    word = "holds" if holds else "does not hold"
    print(f"Locust and the load engine stay under {LIMIT} MiB: {word} ({most:,.0f} MiB)")
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=6.0, help="of load")
    options = parser.parse_args()
    try:
        return 0 if report(*measure(options.minutes)) else 1
    except* BenchmarkError as errors:
        print(errors.exceptions[0], file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
