"""`hs-drill check`: show a scenario's mistakes, or what its run would do and when. Starts nothing.

With --servers it also reads the columns of a table that exists there.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hs_drill._cluster import ClusterError
from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill._shipped import scenario_path
from hs_drill.controller import goes_by_sql
from hs_drill.report import words
from hs_drill.scenario import (
    SERVERS_HELP,
    Expect,
    Fault,
    Load,
    Moment,
    Scenario,
    load_scenario,
    require_programs,
    timeline,
    with_cluster,
)
from hs_drill.servers import LiveTable

from ._check_table import audit_in_words, column_rows, operation_rows, table_in_words, writes_in_words
from ._live_tables import read_table
from ._shared import console, safely

__all__ = ["main", "make_parser"]

MAX_MOMENTS = 60
NO_MIX = "none: users are classes of Python code"
"""Lines of faults in the timeline: a fault that flaps for an hour would have thousands."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill check", description=__doc__)
    parser.add_argument("scenario", metavar="SCENARIO", help="the YAML file, or the name of a shipped scenario")
    parser.add_argument("--servers", metavar="SERVERS", help=SERVERS_HELP)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    return safely(lambda: _check(options.scenario, options.servers))


def _check(path: str, servers: str | None) -> int:
    file = scenario_path(path)
    scenario = load_scenario(file)
    live: LiveTable | None = None
    if servers is not None:
        scenario = with_cluster(scenario, servers, {})
        if scenario.table.existing:
            try:
                scenario, live = read_table(scenario, file)
            except ClusterError as error:
                sys.stderr.write(f"{error}\n")
                return ExitCode.BAD_ARGUMENTS
    require_programs(scenario, file)
    out = console()
    out.print(Text(f"{path}: is valid", style="green"), soft_wrap=True)
    out.print(Text(f"{scenario.name}{f': {scenario.description}' if scenario.description else ''}", style="bold"))
    _print(out, "", _setting(scenario, live))
    if scenario.table.declared:
        _print(out, "columns", column_rows(scenario))
        if live is not None and live.left_out:
            _print(out, "left out", [("", line) for line in live.left_out])
    if scenario.table.declared or any(one.name != one.do or one.primary for one in scenario.operations):
        _print(out, "operations", operation_rows(scenario))
    _print(out, "timeline", _moments(scenario))
    unstated = [("nothing stated", "the run fails when an operation fails")] if scenario.expect == Expect() else []
    _print(out, "expected", [*unstated, *words.expectations(scenario)])
    return 0


def _print(out: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    table = Table(title=title, title_style="bold", title_justify="left", show_header=False, box=box.SIMPLE, show_edge=False)
    table.add_column(no_wrap=True, justify="right" if title == "timeline" else "left")
    table.add_column()
    for name, what in rows:
        table.add_row(Text(name), Text(what))
    out.print()
    out.print(table)


def _setting(scenario: Scenario, live: LiveTable | None) -> list[tuple[str, str]]:
    cluster, table, load = scenario.cluster, scenario.table, scenario.load
    weights = scenario.weights
    total = sum(weights.values())
    servers = f"writer, {'standby, ' if cluster.standby else ''}{counted(cluster.readers, 'reader')}"
    servers += ", reached through a router" if cluster.router is not None else ""
    version = f"version {cluster.version}, " if cluster.version else ""
    on_update = live.on_update if live is not None and goes_by_sql(scenario) else ()
    return [
        ("servers", f"{servers} ({version}kind {cluster.kind}, writes {cluster.topology}, replication {cluster.replication})"),
        ("table", table_in_words(table, live.estimate if live is not None else None)),
        *([("writes", writes_in_words(scenario, on_update))] if table.existing else []),
        ("load", f"{words.load(load)}{', by SQL' if scenario.driver.name == 'sql' else ''}"),
        ("keys", _keys(scenario)),
        ("mix", ", ".join(f"{name} {weight / total:.3g}" for name, weight in weights.items()) or NO_MIX),
        ("audit", audit_in_words(scenario)),
    ]


def _keys(scenario: Scenario) -> str:
    """The distribution of the keys: one word if it is the same for all operations."""
    drawn_by = scenario.drawn_by
    drawn = {one.name: drawn_by[one.name].distribution for one in scenario.operations if one.do not in ("insert", "delete")}
    if len(set(drawn.values())) > 1:
        return ", ".join(f"{name} {distribution}" for name, distribution in drawn.items())
    return next(iter(drawn.values()), "none are drawn")


def _moments(scenario: Scenario) -> list[tuple[str, str]]:
    load = scenario.load
    full = load.locust_users / load.locust_spawn_rate
    end = "the load ends; all faults heal, the servers are read back, the run is judged"
    moments = [(0.0, "the load begins"), (load.lasts, end), *_stages(load)]
    if load.warm_up:
        moments.append((load.warm_up, "the warm-up ends: everything counts from here on"))
    if 0 < full < load.lasts and not load.open:
        moments.append(
            (full, "the user has started" if load.locust_users == 1 else f"all {load.locust_users:,} users have started")
        )
    faults = list(_faults(scenario.faults, load.lasts))
    moments += faults[:MAX_MOMENTS]
    rows = [(f"{at:.2f} s", what) for at, what in sorted(moments, key=lambda one: one[0])]
    if len(faults) > MAX_MOMENTS:
        rows.insert(
            -1,
            ("...", f"and {counted(len(faults) - MAX_MOMENTS, 'more start or healing', 'more starts and healings')} of faults"),
        )
    return rows


def _stages(load: Load) -> Iterator[tuple[float, str]]:
    what = ("operation a second", "operations a second") if load.open else ("user", "users")
    at, before = load.course()[0]
    for stage, (until, value) in zip(load.stages, load.course()[1:], strict=True):
        how = f"within {stage.for_:g} s" if stage.for_ else "at once"
        yield at, f"stays at {counted(value, *what)}" if value == before else f"changes to {counted(value, *what)} {how}"
        at, before = until, value


def _faults(faults: Sequence[Fault], duration: float) -> Iterator[tuple[float, str]]:
    for moment in timeline(faults, duration):
        yield moment.at, _line(faults[moment.number], moment)


def _line(fault: Fault, moment: Moment) -> str:
    if moment.heals:
        return f"healed: {fault}"
    settings = fault.model_dump(by_alias=True, exclude={"fault", "target", "at", "for_", "every", "name_"})
    shown = {
        name.replace("_", " "): _shown(value) for name, value in settings.items() if value is not False and value is not None
    }
    details = ", ".join(name if value is True else f"{name} {value}" for name, value in shown.items())
    lasts = "" if not fault.lasts else f" for {fault.for_:g} s" if fault.for_ is not None else " until the end"
    return f"{fault}{f' ({details})' if details else ''}{lasts}"


def _shown(value: object) -> object:
    if isinstance(value, float):
        return f"{value:g} s"  # every fraction is a time
    return shlex.join(value) if isinstance(value, list) else value
