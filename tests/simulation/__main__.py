"""``./dev simulate``: many runs over all cores; a seed that fails is printed with the command that replays it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .fleet import simulate
from .runner import Result, run


def replay(seed: str, verbose: bool) -> Result:
    result = run(seed)
    if verbose:
        print("\n".join(result.log))
    print("\n".join(f"violation: {violation}" for violation in result.violations) or "no violation")
    return result


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev simulate",
        description="Rehearses failovers of the client in virtual time. Exit code: 0 no violation, 1 violation, 2 wrong use.",
    )
    parser.add_argument("--runs", type=_count, default=1000, help="how many runs (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="of all runs; run N of seed S replays as S:N (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first run (default: 0)")
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--replay", metavar="SEED", help="play one run, such as 1:17, and nothing else")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --replay: print every event")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return 1 if replay(options.replay, options.verbose).violations else 0
    return 1 if simulate(options.seed, options.first, options.runs, options.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
