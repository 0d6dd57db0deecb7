"""`hs-drill restore`: put back what a run has changed in a table of your own.

For a run with `table: {existing: true, writes: allowed}`, also one that was killed. Every row that the run could change gets
back what its columns held, and rows that the run inserted are deleted. Other rows, and columns that the run could not write,
are left alone. It may be repeated. It refuses if the writer is no server of that run, or if the table is not the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from hs_drill._cluster import ClusterError
from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill._trio_child import first_error
from hs_drill.controller import Restored, before_image_of, restore
from hs_drill.scenario import SERVERS_HELP, Scenario, with_cluster
from hs_drill.store import BeforeImage, BeforeImageError, RunDirectory

from ._shared import safely

__all__ = ["main"]

ROWS_GONE = 1


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("hs-drill restore", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="the run's directory, such as runs/20260131-120000-mine")
    parser.add_argument("--servers", metavar="SERVERS", help=f"{SERVERS_HELP} By default, those of the scenario.")
    parser.add_argument(
        "--even-if-rebuilt", action="store_true", help="the table was built anew since the run, and holds the same rows"
    )
    options = parser.parse_args(arguments)
    return safely(lambda: _restore(options))


def _restore(options: argparse.Namespace) -> int:
    directory = RunDirectory.open(Path(options.run))
    scenario = directory.scenario()
    try:
        image = before_image_of(directory, scenario)
        if not isinstance(image, BeforeImage):
            print(f"{options.run}: {image}")
            return 0
        if options.servers is not None:
            scenario = with_cluster(scenario, options.servers, {})
        restored = _put_back(scenario, image, even_if_rebuilt=options.even_if_rebuilt)
    except (BeforeImageError, ClusterError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_ARGUMENTS
    print(
        f"put back {counted(restored.changed, 'row')}, deleted {counted(restored.deleted, 'row')} that the run had inserted; "
        f"{counted(restored.same, 'row')} held what they had held"
    )
    if restored.gone:
        what = "is gone, and stays so" if restored.gone == 1 else "are gone, and stay so"
        print(f"{counted(restored.gone, 'row')} {what}: the run deletes only what it inserts, so somebody else did")
        return ROWS_GONE
    return 0


def _put_back(scenario: Scenario, image: BeforeImage, *, even_if_rebuilt: bool) -> Restored:
    result: list[Restored] = []

    async def run() -> None:
        result.append(await restore(scenario, image, print, even_if_rebuilt=even_if_rebuilt))

    try:
        trio.run(run)
    except* (ClusterError, BeforeImageError, OSError, KeyboardInterrupt) as errors:
        failed = first_error(errors)
    else:
        return result[0]
    raise failed
