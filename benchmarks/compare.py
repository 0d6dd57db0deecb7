"""Measure how often the gate of `hs-drill compare` is right on real runs. `python -m benchmarks.compare RUN..`

The runs are of one scenario on the same servers, on a machine that does nothing else. Draws pairs of sides from them. Of pairs
as they are, none should miss the gate; of pairs whose latencies on B are made a fifth longer, 19 of 20 should. The pairs share
runs, so they are not independent: the more runs, the more this says. Exit code 1: the claim does not hold.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import stdev

from hs_drill.store import RunDirectory
from hs_drill.verdict import Gate, Result, RunFigures, compare, figures_of, obstacles_to

PAIRS = 20
SLOWER = 1.2


def slower(run: RunFigures, figure: str) -> RunFigures:
    return replace(run, figures={**run.figures, figure: run.figures[figure] * SLOWER})


def results(runs: Sequence[RunFigures], gate: Gate) -> tuple[Counter[Result], Counter[Result]]:
    """Of pairs as they are, and of pairs of which B is slower."""
    rng, half = Random(1), len(runs) // 2
    same, slow = Counter[Result](), Counter[Result]()
    for _ in range(PAIRS):
        drawn = rng.sample(runs, 2 * half)
        a, b = drawn[:half], drawn[half:]
        same[compare(a, b, gates=[gate]).gates[0].result] += 1
        slow[compare(a, [slower(run, gate.figure) for run in b], gates=[gate]).gates[0].result] += 1
    return same, slow


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.compare", description=__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="directories of runs, six or more")
    parser.add_argument("--figure", default="all.p99", help="of a latency (all.p99)")
    options = parser.parse_args(arguments)
    if len(options.runs) < 6:
        parser.error("name six runs or more: a gate needs three on each side")
    runs = [figures_of(RunDirectory.open(path)) for path in options.runs]
    if obstacles := obstacles_to(runs):
        parser.error("; ".join(obstacles))
    spread = stdev(math.log(run.figures[options.figure]) for run in runs)
    print(f"{len(runs)} runs, {len(runs) // 2} on each side of {PAIRS} pairs; spread of {options.figure}: {spread * 100:.1f} %")
    same, slow = results(runs, Gate.parse(f"{options.figure} > +10%"))
    for name, found in (("as they are", same), (f"B takes {SLOWER:g} times as long", slow)):
        print(f"{name}: {', '.join(f'{found[one]} {one.value}' for one in (Result.MISS, Result.PASS, Result.UNKNOWN))}")
    return 0 if not same[Result.MISS] and slow[Result.MISS] >= PAIRS - 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
