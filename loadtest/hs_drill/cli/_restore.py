"""`hs-drill restore`: put back what a run has changed in a table of your own.

For a run with `table: {existing: true, writes: allowed}`, also one that was killed. Every row that the run could change gets
back what its columns held, and rows that the run inserted are deleted. Other rows, and columns that the run could not write,
are left alone. It may be repeated until everything is put back. It refuses if the writer is no server of that run, if the table
is not the same, if the run has not ended, or if what it kept is not whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from hs_drill._cluster import ClusterError
from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill._trio_child import first_error
from hs_drill.controller import Restored, before_image_of, later_run, no_run_in, restore
from hs_drill.scenario import SERVERS_HELP, Scenario, with_cluster
from hs_drill.store import BeforeImage, BeforeImageError, RunDirectory

from ._shared import safely

__all__ = ["main", "make_parser"]

NOT_AS_BEFORE = 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill restore", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="the run's directory, such as runs/20260131-120000-mine")
    parser.add_argument("--servers", metavar="SERVERS", help=f"{SERVERS_HELP} By default, those of the scenario.")
    parser.add_argument(
        "--even-if-rebuilt", action="store_true", help="the table was built anew since the run, and holds the same rows"
    )
    parser.add_argument(
        "--on-replicas-too",
        action="store_true",
        help="put back rows that only a replica holds otherwise, through the binary log",
    )
    parser.add_argument(
        "--incomplete", action="store_true", help="put back what is left of a before-image that is cut or damaged"
    )
    parser.add_argument(
        "--server-is", metavar="IDENTITY", help="the writer is this server of the run, and has got another name, port or number"
    )
    parser.add_argument(
        "--again", action="store_true", help="put back again what was put back already, and with it what has changed since"
    )
    parser.add_argument(
        "--out-of-order", action="store_true", help="put it back although a later run of the same table was not put back"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    return safely(lambda: _restore(options))


def _restore(options: argparse.Namespace) -> int:
    directory = RunDirectory.open(Path(options.run))
    scenario = directory.scenario()
    try:
        with no_run_in(directory):
            image = before_image_of(directory, scenario, incomplete=options.incomplete)
            if not isinstance(image, BeforeImage):
                print(f"{options.run}: {image}")
                return 0
            if (when := directory.restored()) and not options.again:
                sys.stderr.write(
                    f"{options.run}: was put back on {when}. What has changed in these columns since then would be lost: if "
                    "that is what you want, say --again. Nothing was put back\n"
                )
                return ExitCode.BAD_ARGUMENTS
            assert image.header is not None
            if (other := later_run(directory, image.header)) is not None and not options.out_of_order:
                sys.stderr.write(
                    f"{options.run}: a later run changed the same table and was not put back: {other.path}. Put that back "
                    "first, for it found what this run had left. If its changes are to stay, say --out-of-order. Nothing was "
                    "put back\n"
                )
                return ExitCode.BAD_ARGUMENTS
            if options.servers is not None:
                scenario = with_cluster(scenario, options.servers, {})
            restored = _put_back(scenario, image, options)
            if restored.finished:
                directory.mark_restored()
    except (BeforeImageError, ClusterError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_ARGUMENTS
    print(
        f"put back {counted(restored.changed, 'row')}, deleted {counted(restored.deleted, 'row')} that the run had inserted; "
        f"{counted(restored.same, 'row')} held what they had held"
    )
    for name in restored.replicas.unasked:
        print(f"{name} was not looked at: its sql_port is not known")
    differences = list(_differences(restored))
    for line in differences:
        print(line)
    return NOT_AS_BEFORE if differences else 0


def _differences(restored: Restored) -> Iterator[str]:
    """What is not as before the run, a line each."""
    if restored.gone:
        what = "is gone, and stays so" if restored.gone == 1 else "are gone, and stay so"
        yield f"{counted(restored.gone, 'row')} {what}: the run deletes only what it inserts, so somebody else did"
    if restored.refused:
        yield (
            f"the server refused to put back or delete {counted(restored.refused, 'row')}, for the first one with "
            f"{restored.refusal}: remove the cause, and restore again"
        )
    if restored.missing:
        yield f"{counted(restored.missing, 'row')} stayed as the run left them: the before-image has lost what they held"
    if restored.again:
        yield (
            f"{counted(restored.again, 'row')} changed again meanwhile: end what writes there (is an engine of the run still "
            "up?), and restore again"
        )
    yield from restored.replicas.unknown
    for name, rows in restored.replicas.rows.items():
        yield (
            f"{name} holds something else in {counted(rows, 'row')} that are as before on the writer: from the run, through "
            "changes of these rows by SQL that replicated, or from before it. --on-replicas-too puts them back"
        )


def _put_back(scenario: Scenario, image: BeforeImage, options: argparse.Namespace) -> Restored:
    result: list[Restored] = []

    async def run() -> None:
        restored = await restore(
            scenario,
            image,
            print,
            even_if_rebuilt=options.even_if_rebuilt,
            on_replicas_too=options.on_replicas_too,
            server_is=options.server_is,
        )
        result.append(restored)

    try:
        trio.run(run)
    except* (ClusterError, BeforeImageError, OSError, KeyboardInterrupt) as errors:
        failed = first_error(errors)
    else:
        return result[0]
    raise failed
