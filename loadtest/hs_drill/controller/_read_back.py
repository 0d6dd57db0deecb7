"""Reads a server's rows back, and keeps what they show for the audit."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import trio

from hs_drill.scenario import Scenario
from hs_drill.servers import Control, Row, key_of
from hs_drill.store import MOST_WRONG_ROWS, WrongRow, write_final_state
from hs_drill.workload import Rows, rows_of

from ._table import load_table

__all__ = ["read_back"]

PAGE_ROWS = 10_000
QUIET_SECONDS = 2.0
"""Until the first line about the progress, and between two of them."""
_MOST_SHOWN = 100


async def read_back(
    control: Control, server: str, scenario: Scenario, path: Path, report: Callable[[str], None] = lambda line: None
) -> None:
    """Read every row by the primary key, a page after the other, and keep their states in a file. Raises `ClusterError`.

    `report` gets a line for the user every two seconds that this takes.
    """
    found = _Found(rows_of(scenario))
    table = load_table(scenario)
    after: Sequence[Any] | None = None
    rows, due = 0, trio.current_time() + QUIET_SECONDS
    while page := await control.read_rows(server, table, after=after, limit=PAGE_ROWS):
        await trio.to_thread.run_sync(found.add, page)
        after = key_of(table, page[-1])
        rows += len(page)
        if trio.current_time() >= due:
            report(f"reading back {server}: {rows:,} rows")
            due = trio.current_time() + QUIET_SECONDS
    await trio.to_thread.run_sync(found.write, path)


class _Found:
    """States of rows: 8 bytes for each of number, version, counters and extras, because there may be millions of rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._width = 2 + len(rows.counters) + len(rows.extras)
        self._states = array("q")
        self._ascending = True
        self._last = -(2**63)
        self._wrong: list[WrongRow] = []

    def add(self, page: Iterable[Row]) -> None:
        state_of = self._rows.state
        for row in page:
            state = state_of(row)
            number = state.number
            if (state.wrong or state.key) and len(self._wrong) < MOST_WRONG_ROWS:
                key = state.key if len(state.key) <= _MOST_SHOWN else f"{state.key[: _MOST_SHOWN - 3]}..."
                self._wrong.append(WrongRow(number, key, state.wrong, state.shown))
            self._ascending = self._ascending and number > self._last
            self._last = number
            self._states.extend((number, state.version, *state.counters, *state.extras))

    def write(self, path: Path) -> None:
        rows = self._rows
        write_final_state(path, self._by_number(), counters=rows.counters, extras=rows.extras, wrong=self._wrong)

    def _by_number(self) -> Iterator[Sequence[int]]:
        """Keys need not ascend with the numbers: UUIDs do not, nor keys that begin with another column."""
        states, width = self._states, self._width
        starts: Iterable[int] = range(0, len(states), width)
        if not self._ascending:
            starts = sorted(starts, key=states.__getitem__)
        return (states[at : at + width] for at in starts)
