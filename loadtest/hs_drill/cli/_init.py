"""`hs-drill init`: write a scenario, from a table of your own or as an example.

--from reads columns, indexes and some rows of a live table by SQL, and changes nothing there. The scenario's run creates and
loads a table like it on servers of its own. (To measure the table where it is, say `table: {existing: true}`.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._exit_codes import ExitCode
from hs_drill._shipped import scenario_path, shipped_scenarios
from hs_drill.scenario import SERVERS_HELP, Scenario, parse_scenario, with_cluster
from hs_drill.servers import LiveTable, as_cluster_errors, first_rows, read_live_table

from ._init_scenario import NotNumberedError, scenario_text
from ._live_tables import ask_servers, writer_of
from ._shared import safely

__all__ = ["main", "make_parser"]

ROWS_READ = 1000


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill init", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--from", dest="table", metavar="DB.TABLE", help="a table on your servers, such as shop.products")
    which.add_argument("--example", metavar="NAME", help="a shipped scenario, such as shop")
    parser.add_argument("--servers", metavar="SERVERS", help=f"with --from. {SERVERS_HELP} Only the writer is asked.")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write it into this file, which must not exist yet")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    return safely(lambda: _init(options))


def _init(options: argparse.Namespace) -> int:
    try:
        text = _example(options.example) if options.example is not None else _from_table(options.table, options.servers)
    except (ClusterError, NotNumberedError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_ARGUMENTS
    if options.output is None:
        sys.stdout.write(text)
    else:
        with options.output.open("x", encoding="utf-8") as file:
            file.write(text)
        print(f"{options.output}: written; hs-drill check {options.output} shows what its run would do")
    return 0


def _example(name: str) -> str:
    path = scenario_path(name)
    if path.parent != shipped_scenarios():
        names = ", ".join(sorted(one.stem for one in shipped_scenarios().glob("*.yaml")))
        raise ClusterError(f"there is no example {name!r}; there are {names}")
    return path.read_text(encoding="utf-8")


def _from_table(name: str, servers: str | None) -> str:
    database, _, table = name.partition(".")
    if not database or not table:
        raise ClusterError(f"{name!r} names no table: write DB.TABLE, such as shop.products")
    if servers is None:
        raise ClusterError("--from needs --servers, such as --servers writer=127.0.0.1:9998:9999:3306")
    if servers.startswith("writer=") and "," not in servers:
        servers += f",reader-1={servers.removeprefix('writer=')}"  # which a run needs, and nobody asks here
    writer = writer_of(with_cluster(Scenario.model_validate({"name": "init", "mix": {"get": 1}}), servers, {}))
    live, found = ask_servers(partial(_read, writer, database, table))
    text = scenario_text(live, found)
    parse_scenario(text, f"the scenario for {live.shown}")
    return text


async def _read(writer: Server, database: str, table: str) -> tuple[LiveTable, dict[str, list[Any]]]:
    """The table, and the values of its first rows."""
    live = await read_live_table(writer, database, table)
    with as_cluster_errors(writer):
        return live, await trio.to_thread.run_sync(first_rows, writer, live, ROWS_READ, abandon_on_cancel=True)
