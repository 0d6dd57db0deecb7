"""The figures of many runs as CSV for Apache Otava, which finds the runs at which a figure changed for good.

Otava reads a header, a column with times, columns of attributes, and columns of numbers without gaps, oldest first
(https://github.com/apache/otava, docs/CSV.md and otava/importer.py). So a figure that some run lacks is left out, and so is an
incomplete run. Lines on standard error say so, and what else may be the cause of a change point.
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
    """Write to standard output. Raises `ComparisonError` if the loads differ, or a run is there twice or has no time."""
    for run in runs:
        if run.incomplete:
            sys.stderr.write(f"left out {run.run}, which is incomplete: {run.incomplete}\n")
    runs = [run for run in runs if not run.incomplete]
    if not runs:
        raise ComparisonError("no run is complete, so there is nothing to write")
    comparison = compare(runs, (), may_differ=[*may_differ, "server"])  # which is an attribute
    differ = [one.name for one in comparison.differences if len(one.a) > 1 and not one.allowed]
    if names := [name for name in differ if name.startswith("scenario.") or name == "options"]:
        allowing = " ".join(sorted({f"--may-differ {name.partition('.')[0]}" for name in names}))
        raise ComparisonError(
            f"the runs have different scenarios ({', '.join(names[:3])}): name runs of one, or say {allowing}"
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
    for obstacle in comparison.obstacles:
        sys.stderr.write(f"{obstacle}: a change point may come from that\n")


def _started(run: RunFigures) -> datetime:
    try:
        return datetime.strptime(str(run.environment.get("started")), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    except ValueError:
        raise ComparisonError(f"{run.run}: its environment does not say when it started") from None
