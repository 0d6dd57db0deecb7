"""`hs-drill compare`: compare kept runs with others, or with a baseline, and fail if they became worse than a gate allows.

`compare A B` shows two runs side by side and exits with 0. `compare A.. --with B..` compares any number of runs on each side,
and `compare B.. --baseline NAME` runs with those of a baseline (`hs-drill baseline save`). These two exit with 1 if a gate
(`--fail-if`) was missed, and with 4 if something could not be judged: too few runs, an incomplete run, or runs that differ in
server, cores, scenario and the like.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from hs_drill._exit_codes import ExitCode
from hs_drill.store import BASELINES, BaselineError, baseline_path, read_baseline
from hs_drill.verdict import Comparison, Gate, RunFigures, compare

from ._compare_otava import write_otava
from ._compare_pair import compare_pair
from ._compare_text import print_comparison, write_markdown
from ._shared import console, read_figures, read_run, safely

__all__ = ["main", "make_parser"]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "hs-drill compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="directories of runs")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--with", metavar="RUN", nargs="+", action="extend", dest="others", help="the runs to compare with those before (B)"
    )
    other.add_argument("--baseline", metavar="NAME", help="compare the runs (B) with this baseline (A)")
    parser.add_argument("--baselines", metavar="DIR", type=Path, default=BASELINES, help="where baselines are (baselines)")
    parser.add_argument(
        "--fail-if",
        metavar="GATE",
        action="append",
        default=[],
        help="such as 'get.p99 > +10%%' or 'all.throughput < -5%%'; repeatable",
    )
    parser.add_argument(
        "--may-differ",
        metavar="NAME",
        action="append",
        default=[],
        help="what may differ, such as server or scenario.load; repeatable",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the comparison as JSON instead")
    form.add_argument("--markdown", action="store_true", help="print it as Markdown instead, for a CI's summary")
    form.add_argument(
        "--otava", action="store_true", help="print the runs as CSV for Apache Otava instead, which finds change points"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    sides = options.others is not None or options.baseline is not None
    if options.otava:
        if sides or options.fail_if:
            parser.error("--otava takes any number of runs, and neither --with, --baseline nor --fail-if")
    elif not sides:
        if len(options.runs) != 2:
            parser.error("name two runs to see them side by side, or say --with RUN.. or --baseline NAME to compare any number")
        if options.fail_if or options.may_differ or options.json or options.markdown:
            parser.error("--fail-if, --may-differ, --json and --markdown need --with or --baseline: compare A --with B")
        return safely(lambda: compare_pair(*map(read_run, options.runs)))
    return safely(lambda: _compare(options))


def _compare(options: argparse.Namespace) -> int:
    gates = [Gate.parse(text) for text in options.fail_if]
    runs = read_figures([*options.runs, *(options.others or ())])
    if options.otava:
        write_otava(runs, may_differ=options.may_differ)
        return ExitCode.PASSED
    if options.baseline is None:
        a, b, names = runs[: len(options.runs)], runs[len(options.runs) :], ("A", "B")
    else:
        a, b, names = _baseline(options.baselines, options.baseline), runs, (f"baseline {options.baseline}", "B")
    comparison = compare(a, b, gates=gates, may_differ=options.may_differ, names=names)
    _print(comparison, options)
    return comparison.exit_code


def _baseline(directory: Path, name: str) -> list[RunFigures]:
    path = baseline_path(directory, name)
    try:
        runs = [RunFigures.from_dict(run) for run in read_baseline(path)]
    except (TypeError, OverflowError) as error:
        raise BaselineError(f"{path}: is no baseline: {error}") from error
    if not runs:
        raise BaselineError(f"{path}: is a baseline of no run")
    return runs


def _print(comparison: Comparison, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(comparison.to_dict(), indent=2))
    elif options.markdown:
        write_markdown(comparison)
    else:
        print_comparison(comparison, console())
