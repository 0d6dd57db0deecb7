"""The tables of `hs-drill export`, for programs that read tables: JSON lines and CSV. docs/history.md has every field.

Every row of a table has the same fields. Whole numbers are never missing from the fields that hold large ones, because pandas
reads columns with gaps as floating-point numbers.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from hs_drill.store import FinalState, FinalStateError, RecordedOperation, RunDirectory, RunHistory, state_of

__all__ = ["FIELDS", "TABLES", "complete_state", "table_rows", "write_csv", "write_json_lines"]

TABLES = ("operations", "events", "rows", "run")
Record = dict[str, Any]
FIELDS = {
    "operations": (
        *(
            "number",
            "worker",
            "user",
            "name",
            "kind",
            "outcome",
            "row",
            "state",
            "value",
            "counter",
            "counter_column",
            "columns",
        ),
        *("intended_ns", "start_ns", "end_ns", "error", "server"),
    ),
    "events": ("time_ns", "kind", "name", "details"),
}
"""Of the tables whose fields do not depend on the run's table."""


def table_rows(
    table: str, directory: RunDirectory, history: RunHistory, operations: Iterable[RecordedOperation], problems: list[str]
) -> Iterator[Record]:
    """The rows of a table. Adds to `problems` why some may be missing. Raises `HistoryError` and `FinalStateError`."""
    match table:
        case "operations":
            yield from _operations(operations, history.origin)
        case "events":
            for event in history.events:
                values = (event.time - history.origin, event.kind, event.name, dict(event.details))
                yield dict(zip(FIELDS["events"], values, strict=True))
        case "rows":
            yield from _rows(directory, problems)
        case _:
            yield _run(directory, history)


def _operations(operations: Iterable[RecordedOperation], origin: int) -> Iterator[Record]:
    for number, one in enumerate(operations):
        values = (
            *(number, one.worker, one.user, one.name, one.kind, one.outcome, one.row, one.state, one.value),
            *(one.counter, one.counter_column, list(one.columns)),
            *(one.intended - origin, one.start - origin, one.end - origin, one.error, one.server),
        )
        yield dict(zip(FIELDS["operations"], values, strict=True))


def _rows(directory: RunDirectory, problems: list[str]) -> Iterator[Record]:
    primary = directory.primary()
    states = [("before", primary, directory.before)] if directory.before.exists() else []
    for path in sorted(directory.path.glob("final-*.bin")):
        states.append(("after", path.stem.removeprefix("final-"), path))
    if not any(moment == "after" and server == primary for moment, server, _ in states):
        problems.append(f"{directory.final(primary)}: is missing: the primary was not read back")
    for moment, server, path in states:
        state = complete_state(FinalState(path, server))
        for row, version, *more in state:
            names = [*(f"counter_{name}" for name in state.counters), *(f"fingerprint_{name}" for name in state.extras)]
            what = {"moment": moment, "server": server, "primary": server == primary}
            yield {**what, "row": row, "state": state_of(version), "value": version, **dict(zip(names, more, strict=True))}


def complete_state(state: FinalState) -> FinalState:
    """The state, if all of it was kept. Raises `FinalStateError`."""
    if not state.complete:
        raise FinalStateError(state.damage or f"{state.path}: is cut: {state.server} was not read back to its end")
    return state


def _run(directory: RunDirectory, history: RunHistory) -> Record:
    scenario = directory.scenario()
    return {
        "scenario": scenario.name,
        "loaded_rows": scenario.table.rows,
        "workers": len(history.workers),
        "origin_unix": history.origin_unix,
        "primary": directory.primary(),
        "reads_primary": history.reads_primary,
        "reads_kept": scenario.audit.reads,
        "problems": history.problems,
    }


def write_json_lines(rows: Iterable[Record], file: IO[str]) -> None:
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
    for row in rows:
        file.write(encode(row) + "\n")


def write_csv(rows: Iterable[Record], file: IO[str], fields: Sequence[str] = ()) -> None:
    """With a line of names first: `fields`, or those of the first row. Lists and mappings become JSON."""
    writer = csv.writer(file, lineterminator="\n")
    if fields:
        writer.writerow(fields)
    for row in rows:
        if not fields:
            fields = tuple(row)
            writer.writerow(fields)
        writer.writerow(map(_cell, row.values()))


def _cell(value: object) -> object:
    if isinstance(value, list | Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value).lower() if isinstance(value, bool) else value
