"""`hs-drill export`: write the history of a kept run for other programs: Jepsen's checkers, pandas, DuckDB.

docs/history.md describes the formats field by field.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from hs_drill._counted import counted
from hs_drill._exit_codes import ExitCode
from hs_drill.audit import AuditedTable
from hs_drill.store import FinalState, FinalStateError, HistoryError, RunDirectory, RunHistory, read_history
from hs_drill.workload import ABSENT, INITIAL

from ._export_jepsen import WORKLOADS, Held, HeldBy, JepsenHistory
from ._export_tables import FIELDS, TABLES, complete_state, table_rows, write_csv, write_json_lines
from ._shared import safely

__all__ = ["main", "make_parser"]

QUIET_SECONDS = 2.0
"""Until the first line about the progress, and between two of them."""
LOOK_EVERY = 4096
"""Operations between two looks at the clock."""
T = TypeVar("T")


class _NoExportError(Exception):
    """What was asked for cannot be exported; one line for the user."""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hs-drill export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="the run's directory, such as runs/20260131-120000-mixed")
    parser.add_argument("--format", required=True, choices=["edn", "jsonl", "csv"], help="edn is what Jepsen's checkers read")
    parser.add_argument("--workload", choices=WORKLOADS, help="of edn: what the checker checks (register if you say nothing)")
    parser.add_argument("--table", choices=TABLES, help="of jsonl and csv: what to export (operations if you say nothing)")
    parser.add_argument("--row", type=int, metavar="N", help="only operations of this row; of edn, values without its number")
    parser.add_argument("--output", metavar="FILE", help="write into this file; - or nothing: to the terminal or a pipe")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    return parser


def main(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.format == "edn" and options.table:
        parser.error("--table is of --format jsonl and csv; of edn say --workload")
    if options.format != "edn" and options.workload:
        parser.error("--workload is of --format edn; of jsonl and csv say --table")
    if options.row is not None and options.table not in (None, "operations"):
        parser.error(f"--row chooses operations, and --table {options.table} has none")
    return safely(lambda: _reported(options))


def _reported(options: argparse.Namespace) -> int:
    try:
        return _export(options)
    except (HistoryError, FinalStateError, _NoExportError) as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_ARGUMENTS


def _export(options: argparse.Namespace) -> int:
    directory = RunDirectory.open(Path(options.run))
    history = read_history(directory.path)
    if not history.workers and options.table in (None, "operations"):
        if (directory.result() or {}).get("workers"):
            raise _NoExportError("; ".join(history.problems))
        raise _NoExportError(f"{directory.path}: no worker has a history: the run was not audited, so no operation was kept")
    target = Path(options.output) if options.output not in (None, "-") else None
    problems: list[str] = []
    with _output(target, overwrite=options.overwrite) as out:
        if options.format == "edn":
            summary = _export_edn(options, directory, history, target, out, problems)
        else:
            summary = _export_table(options, directory, history, out, problems)
    problems[:0] = history.problems
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stderr.write(f"{summary}\n")
    return ExitCode.INCONCLUSIVE if problems else ExitCode.PASSED


def _export_table(
    options: argparse.Namespace, directory: RunDirectory, history: RunHistory, out: IO[str], problems: list[str]
) -> str:
    table = options.table or "operations"
    chosen = history if options.row is None else (one for one in history if one.row == options.row)
    rows = _Counted(table_rows(table, directory, history, chosen, problems), history.size if table == "operations" else 0)
    if options.format == "jsonl":
        write_json_lines(rows, out)
    else:
        write_csv(rows, out, FIELDS.get(table, ()))
    _require_some(rows.count, options.row)
    return f"exported {counted(rows.count, _SINGULAR[table])}"


_SINGULAR = {"operations": "operation", "events": "event", "rows": "row", "run": "run"}


def _export_edn(
    options: argparse.Namespace,
    directory: RunDirectory,
    history: RunHistory,
    target: Path | None,
    out: IO[str],
    problems: list[str],
) -> str:
    scenario = directory.scenario()
    table = AuditedTable.of(scenario)
    workload = options.workload or WORKLOADS[0]
    if workload == "counter" and len(table.counters) != 1:
        if not table.counters:
            raise _NoExportError(f"{directory.path}: no operation of its mix counts a column, so there is no counter")
        if options.row is not None:
            names = ", ".join(table.counters)
            raise _NoExportError(
                f"the rows have several counters ({names}): leave --row out, and choose by the keys in the file"
            )
    jepsen = JepsenHistory(workload, table.counters, history.origin, options.row)
    after = _held_after(directory, problems)

    def header() -> Iterator[str]:
        yield f"hs-drill export: {workload} workload of a run of {scenario.name}"
        if not history.reads_primary:
            yield "replicas answered reads, and may lag: a stale read is no fault of theirs unless you expect it to be"
        if scenario.audit.reads < 1:
            yield f"of the reads that succeeded, a share of {scenario.audit.reads:g} was kept"
        yield from (f"incomplete: {problem}" for problem in [*history.problems, *problems])

    operations = _Counted(history, history.size)
    folder = target.absolute().parent if target is not None else directory.path if os.access(directory.path, os.W_OK) else None
    before = _held_before(directory, scenario.table.rows, table)

    def watched(lines: Iterable[T], about: int) -> Iterable[T]:
        return _Counted(lines, about, "lines written")

    jepsen.write(out, operations, history.events, before, after, header, folder, watched)
    _require_some(jepsen.operations + jepsen.left_out.total(), options.row)
    parts = [f"exported {counted(jepsen.operations, 'operation')}"]
    parts += [f"left out {count:,} {reason}" for reason, count in sorted(jepsen.left_out.items())]
    if jepsen.decrements:
        parts.append(f"{counted(jepsen.decrements, 'decrement')} as negative adds, which Jepsen's counter checker refuses")
    return "; ".join(parts)


def _require_some(operations: int, row: int | None) -> None:
    if row is not None and not operations:
        raise _NoExportError(f"the history has no operation of row {row}")


def _held_before(directory: RunDirectory, loaded: int, table: AuditedTable) -> HeldBy:
    """What rows held before the run."""
    state = complete_state(FinalState(directory.before, "before")) if directory.before.exists() else None

    def held(rows: Iterable[int]) -> Iterator[Held]:
        if state is not None:
            kept = _held_in(state)(rows)
            yield from (one if one.version != ABSENT else one._replace(counters=table.initial(one.row)) for one in kept)
        else:
            for row in rows:
                yield Held(row, INITIAL if 1 <= row <= loaded else ABSENT, table.initial(row))

    return held


def _held_after(directory: RunDirectory, problems: list[str]) -> HeldBy | None:
    """What rows of the primary held at the end. None, and a line in `problems`, if that is not known."""
    path, primary = directory.final(directory.primary()), directory.primary()
    if not path.exists():
        problems.append(f"{path}: is missing: the primary was not read back")
        return None
    state = FinalState(path, primary)
    if not state.complete and not state.damage:
        problems.append(f"{path}: is cut: {primary} was not read back to its end")
        return None
    return _held_in(complete_state(state))


def _held_in(state: FinalState) -> HeldBy:
    def held(rows: Iterable[int]) -> Iterator[Held]:
        kept = iter(state)
        one = next(kept, None)
        for row in rows:
            while one is not None and one[0] < row:
                one = next(kept, None)
            there = one is not None and one[0] == row
            yield Held(row, one[1], one[2 : 2 + len(state.counters)]) if one is not None and there else Held(row, ABSENT, ())

    return held


# ---- the output


class _Counted(Iterable[T]):
    """Counts what passes, and says so on stderr from time to time. `about`: how many will come; 0 says nothing."""

    def __init__(
        self, items: Iterable[T], about: int, done: str = "operations read", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._items = items
        self._about = about
        self._done = done
        self._clock = clock
        self.count = 0

    def __iter__(self) -> Iterator[T]:
        due = self._clock() + QUIET_SECONDS
        for item in self._items:
            self.count += 1
            if self.count % LOOK_EVERY == 0 and self._about and self._clock() >= due:
                sys.stderr.write(f"{self.count:,} of about {max(self._about, self.count):,} {self._done}\n")
                sys.stderr.flush()
                due = self._clock() + QUIET_SECONDS
            yield item


@contextmanager
def _output(path: Path | None, *, overwrite: bool) -> Iterator[IO[str]]:
    """The file to write, which gets its name only when it is whole; standard output for None. What is there and is no file,
    such as a pipe or a device, is written into. Raises OSError."""
    if path is None:
        yield sys.stdout
        return
    path = path.resolve()  # of a link, what it leads to
    if path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("w", encoding="utf-8", newline="") as device:
            yield device
        return
    _require_free(path, overwrite=overwrite)
    if not path.parent.is_dir():
        raise _NoExportError(f"{path.parent}: is no directory; --output names a file in one that exists")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            yield file
        _require_free(path, overwrite=overwrite)  # somebody else may have made it meanwhile
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _require_free(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise _NoExportError(f"{path}: is a directory; --output names a file")
    if path.exists() and not overwrite:
        raise _NoExportError(f"{path}: exists already; name another file, or say --overwrite")
