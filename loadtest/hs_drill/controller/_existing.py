"""A table that exists: its columns are read into the scenario, and the keys of its rows are sampled, before the load."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hs_drill._cluster import ClusterError, Server
from hs_drill._counted import counted
from hs_drill.scenario import LiveTableError, PlacedError, Scenario, ScenarioError, values, with_table
from hs_drill.servers import Control, LiveTable, read_live_table, require_existing, sample_rows
from hs_drill.workload import Sample

from ._table import load_table

WRITES = ("table", "writes")
__all__ = ["Existing", "check_existing", "goes_by_sql", "require_own_servers", "use_existing"]


@dataclass(frozen=True)
class Existing:
    """What a run on a table that exists needs."""

    scenario: Scenario
    """With the columns of the table, and as many rows as are sampled."""
    sample: Sample
    live: LiveTable
    _writing: list[Path] = field(default_factory=list)
    """The directories of the runs that may have written, in their order."""

    def left_by(self, run: Path) -> str:
        """What this run, and those before it, leave in the table, in words; and what puts it back."""
        self._writing.append(run)
        *later, first = [f"hs-drill restore {shlex.quote(str(path))}" for path in reversed(self._writing)]
        if not later:
            return f"what the run has changed in {self.live.shown}: {first} puts it back"
        return (
            f"what {len(self._writing)} runs have changed in {self.live.shown}: {', then '.join([*later, first])} put it back"
        )


def require_own_servers(scenario: Scenario) -> None:
    """Raise `ClusterError` if the run would start servers, which have no such table."""
    if scenario.table.existing and scenario.cluster.kind != "external":
        table = f"{scenario.table.database}.{scenario.table.name}"
        raise ClusterError(f"{table} exists on servers of your own (`existing: true`): name them with --servers")


async def check_existing(scenario: Scenario, writer: Server) -> tuple[Scenario, LiveTable]:
    """The scenario with the columns and indexes that `writer` shows. Raises `ClusterError` and `ScenarioError`."""
    live = await read_live_table(writer, scenario.table.database, scenario.table.name)
    columns: dict[str, dict[str, Any]] = {
        name: {"type": column.type, "nullable": column.nullable} for name, column in live.columns.items()
    }
    if mistakes := list(_mistakes(scenario, live)):
        raise LiveTableError(live.shown, mistakes)
    return with_table(scenario, columns, live.primary, {name: index.columns for name, index in live.indexes.items()}), live


async def use_existing(control: Control, scenario: Scenario, progress: Callable[[str], None]) -> Existing:
    """Check the table and sample its keys. Raises `ClusterError`."""
    writer = control.cluster.writer
    try:
        found, live = await check_existing(scenario, writer)
    except ScenarioError as error:
        first, *others = str(error).splitlines()
        more = f" (and {counted(len(others), 'more mistake', 'more mistakes')})" if others else ""
        raise ClusterError(
            f"{first}{more}; hs-drill check SCENARIO --servers ... says in which line. Nothing was written"
        ) from error
    for line in live.left_out:
        progress(line)
    await require_existing(control, load_table(found), writes=found.writes)
    sampled = await sample_rows(writer, live, Sample.columns_for(found), found.table.rows, progress)
    rows = len(sampled[live.primary[0]])
    table = found.table.model_copy(update={"rows": rows})
    if found.writes:
        progress(f"WRITES ARE ALLOWED: A RUN CHANGES ROWS OF {live.shown} ON {writer.name.upper()} ({writer.host})")
    else:
        progress(f"this run reads {live.shown}, and changes nothing")
    return Existing(found.model_copy(update={"table": table}), Sample(sampled), live)


def goes_by_sql(scenario: Scenario) -> bool:
    """Whether the run's writes are SQL's in the end: they go into the binary log, and set columns with ON UPDATE."""
    return scenario.driver.name == "sql" or scenario.cluster.topology == "write-through"


def _mistakes(scenario: Scenario, live: LiveTable) -> Iterator[PlacedError]:
    """What the server's own words about the table forbid."""
    if live.unreadable:
        yield PlacedError(("table", "name"), f"cannot be used: {live.unreadable}")
    for name in live.primary:
        if live.columns[name].declared.type in ("float", "double"):
            kind = live.columns[name].type
            yield PlacedError(("table", "name"), f"its primary key has {name}, a {kind}, by which no row is found exactly")
    if not scenario.writes:
        return
    for name in live.primary:
        if live.columns[name].declared.type == "timestamp":
            yield PlacedError(WRITES, f"cannot be allowed: {name}, in its primary key, depends on the time zone")
    if forbidden := live.unwritable or live.unseen:
        yield PlacedError(WRITES, f"cannot be allowed: {forbidden}")
    unkept = [name for name in live.on_update if name not in live.columns]
    if unkept and goes_by_sql(scenario):
        yield PlacedError(WRITES, f"cannot be allowed: SQL sets {unkept[0]} at each write, and it is not kept")
    for one in scenario.operations:
        for name in (*one.set, *filter(None, [one.column])):
            if why := live.foreign.get(name) or live.unique.get(name):
                yield PlacedError(("mix", one.name), f"cannot change {name}: it {why}")
            elif name in live.columns and live.columns[name].generated:
                yield PlacedError(("mix", one.name), f"cannot change {name}, which the server computes")
        if one.do in ("insert", "delete") and (why := _no_inserts(scenario, live)):
            yield PlacedError(("mix", one.name), f"cannot insert: {why}")


def _no_inserts(scenario: Scenario, live: LiveTable) -> str:
    """Why a run may not insert: its rows must be told from all others by their keys, and leave nothing behind."""
    computed = [name for name, column in live.columns.items() if column.generated]
    counting = [name for name, column in live.columns.items() if column.auto_increment]
    given = scenario.table.columns
    numbers = values.Sequence | values.Uuid
    numbered = [name for name in live.primary if name in given and isinstance(given[name].values, numbers)]
    unique = {name: why for name, why in live.unique.items() if name not in live.primary}
    if live.lacks_columns:
        return live.left_out[0]
    if computed:
        return f"the server computes {', '.join(computed)}"
    if counting:
        return f"{counting[0]} is AUTO_INCREMENT, which would go on from the keys of the run for good"
    for name, why in {**unique, **live.foreign}.items():
        return f"{name} {why}"
    if not numbered:
        return (
            f"no column of the primary key ({', '.join(live.primary)}) can tell the run's rows from others; "
            "that needs a bigint with `values: sequence`, or a UUID with `values: uuid`"
        )
    return ""
