"""The figures of many runs as CSV for Apache Otava, which finds the runs at which a figure changed for good.

Otava reads a header, a column with times, columns of attributes, and columns of numbers without gaps, oldest first
(https://github.com/apache/otava, docs/CSV.md and otava/importer.py). So a figure that some run lacks is left out, and a line
says so.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from hs_drill._counted import counted
from hs_drill.verdict import ComparisonError, RunFigures, compare

__all__ = ["ATTRIBUTES", "TIME", "write_otava"]

TIME = "time"
ATTRIBUTES = ("run", "server", "trio-hs")


def write_otava(runs: Sequence[RunFigures], *, may_differ: Collection[str]) -> None:
    """Write to standard output. Raises `ComparisonError` if the scenarios differ, or a run is there twice or has no time."""
    differences = compare(runs, (), may_differ=may_differ).differences
    if names := [one.name for one in differences if one.name.startswith("scenario.") and not one.allowed]:
        raise ComparisonError(
            f"the runs have different scenarios ({', '.join(names[:3])}): name runs of one, or say --may-differ scenario"
        )
    ordered = sorted(runs, key=_started)
    everywhere = [name for name in ordered[0].figures if all(name in run.figures for run in ordered)]
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow([TIME, *ATTRIBUTES, *everywhere])
    for run in ordered:
        told = [run.run, *(str(run.environment.get(name, "")) for name in ATTRIBUTES[1:])]
        rows.writerow([f"{_started(run):%Y-%m-%d %H:%M:%S %z}", *told, *(run.figures[name] for name in everywhere)])
    if left_out := {name for run in runs for name in run.figures} - set(everywhere):
        sys.stderr.write(f"left out {counted(len(left_out), 'figure')} that not every run has\n")


def _started(run: RunFigures) -> datetime:
    try:
        return datetime.strptime(str(run.environment.get("started")), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    except ValueError:
        raise ComparisonError(f"{run.run}: its environment does not say when it started") from None
