"""`hs-drill baseline`: keep what runs measured in a small file that can be committed, for `hs-drill compare --baseline`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill.store import BASELINES, baseline_path, write_baseline
from hs_drill.verdict import obstacles_to

from ._shared import read_figures, safely

__all__ = ["main", "make_parser"]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill baseline", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    save = commands.add_parser("save", help="keep the figures of runs")
    save.add_argument("name", metavar="NAME", help="what to call it, such as main")
    save.add_argument("runs", metavar="RUN", nargs="+", help="directories of runs of one scenario, in one environment")
    save.add_argument("--baselines", metavar="DIR", type=Path, default=BASELINES, help="where baselines are (baselines)")
    save.add_argument("--force", action="store_true", help="replace the baseline if it exists")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    return safely(lambda: _save(options))


def _save(options: argparse.Namespace) -> int:
    path = baseline_path(options.baselines, options.name)
    runs = read_figures(options.runs)
    if obstacles := obstacles_to(runs):
        sys.stderr.write(f"{path}: not saved: {'; '.join(obstacles)}\n")
        return ExitCode.INCONCLUSIVE
    write_baseline(path, [run.to_dict() for run in runs], replace=options.force)
    print(f"{path}: {counted(len(runs), 'run')} of {runs[0].environment['server']}")
    return ExitCode.PASSED
