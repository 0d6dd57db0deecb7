"""`hs-drill analyze`: judge a kept run again. Changes nothing in its directory, and exits with the run's exit code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from hs_drill.report import KeptRun, junit, print_other_requests, print_summary, print_verdict, render

from ._shared import console, read_run, safely

__all__ = ["main", "make_parser"]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill analyze", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="the run's directory, such as runs/20260131-120000-mixed")
    parser.add_argument(
        "--explain", action="store_true", help="explain how every expectation was judged, not only the missed ones"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON instead")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the HTML report into this file")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the expectations as JUnit XML into this file")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    return safely(lambda: _analyze(options))


def _analyze(options: argparse.Namespace) -> int:
    run = read_run(options.run)
    if options.html is not None:
        options.html.write_text(render(run), encoding="utf-8")
    if options.junit is not None:
        options.junit.write_text(junit(run), encoding="utf-8")
    if options.json:
        print(json.dumps(run.result, indent=2))
    else:
        _print(run, options)
    return run.exit_code


def _print(run: KeptRun, options: argparse.Namespace) -> None:
    out = console()
    title = f"{run.scenario.name}: {run.run_totals.seconds:.1f} s"
    print_summary(run.run_totals, title, run.operations(), out, open_loop=run.scenario.load.open)
    print_other_requests(run.result["other_requests"], out)
    print_verdict(run.result, options.run, explain=options.explain, timelines=True, console=out)
