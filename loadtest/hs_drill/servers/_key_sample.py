"""Samples the rows of a table that exists: the values by which a load finds them, read through the primary key in pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import trio

from hs_drill._cluster import ClusterError, Server
from hs_drill._sql_text import quoted, table_name

from ._exact_values import ExactColumn, exact_session, keys_beyond
from ._live_table import LiveTable
from ._sql import as_cluster_errors

__all__ = ["first_rows", "sample_rows"]

PAGE_ROWS = 10_000
MOST_BYTES = 40_000_000
"""The values of a sample, in memory and on the wire to the engines; about those of the rows that `first_rows` reads."""
SECONDS_BETWEEN_LINES = 2.0

Values = dict[str, list[bytes | None]]


async def sample_rows(
    server: Server, table: LiveTable, columns: Sequence[str], most: int, progress: Callable[[str], None]
) -> Values:
    """The values of `columns` in at most `most` rows, as HandlerSocket gives them. Raises `ClusterError`.

    Of a larger table every n-th row is kept, so that the sample is spread over all of it.
    """
    progress(f"sampling the keys of {table.shown}, about {table.estimate:,} rows")
    with as_cluster_errors(server):
        return await trio.to_thread.run_sync(
            lambda: _Sampling(server, table, columns, most, progress).run(), abandon_on_cancel=True
        )


def first_rows(server: Server, table: LiveTable, most: int) -> dict[str, list[Any]]:
    """The values of some rows at both ends of the table, by column, as Python has them; without those that no declared column
    takes. At most `most` rows, and fewer if they are large. For threads."""
    columns = list(table.columns)
    name = table_name(table.database, table.name)
    most = max(min(most, MOST_BYTES // max(table.row_bytes, 1)), 2)
    rows: list[Any] = []
    with exact_session(server) as cursor:
        for direction in ("ASC", "DESC"):
            order = ", ".join(f"{quoted(part)} {direction}" for part in table.primary)
            cursor.execute(f"SELECT {', '.join(map(quoted, columns))} FROM {name} ORDER BY {order} LIMIT {most // 2}")
            rows += cursor.fetchall()
    found: dict[str, list[Any]] = {}
    for name, values in zip(columns, zip(*rows, strict=True), strict=False):
        decode = table.columns[name].declared.decode_data
        found[name] = kept = []
        for value in values:
            with suppress(Exception):  # such as the date 0000-00-00
                kept.append(None if value is None else decode(value))
    return found


class _Sampling:
    def __init__(
        self, server: Server, table: LiveTable, columns: Sequence[str], most: int, progress: Callable[[str], None]
    ) -> None:
        self._server, self._table, self._columns = server, table, columns
        self._most = most
        self._progress = progress
        self._decoders = [table.columns[name].declared.decode_data for name in columns]
        self._values: list[list[bytes | None]] = [[] for _ in columns]
        self._every = 1
        """One of this many rows is kept."""
        self._seen = self._bytes = self._odd = 0

    def run(self) -> Values:
        key = [ExactColumn(self._table.columns[name]) for name in self._table.primary]
        # The values that the load uses, and behind them those that the next page begins with.
        selected = ", ".join([*map(quoted, self._columns), *(part.selected for part in key)])
        order = ", ".join(quoted(part.name) for part in key)
        name = table_name(self._table.database, self._table.name)
        told, where = time.monotonic(), ""
        with exact_session(self._server) as cursor:
            cursor.execute("SET SESSION time_zone = @@global.time_zone")  # in which HandlerSocket shows a TIMESTAMP
            while True:
                cursor.execute(f"SELECT {selected} FROM {name}{where} ORDER BY {order} LIMIT {PAGE_ROWS}")
                page = cursor.fetchall()
                for row in page:
                    self._add(row)
                if len(page) < PAGE_ROWS:
                    break
                where = f" WHERE {keys_beyond(key, page[-1][len(self._columns) :])}"
                if time.monotonic() - told > SECONDS_BETWEEN_LINES:
                    told = time.monotonic()
                    trio.from_thread.run_sync(self._progress, f"{self._seen:,} rows seen, {len(self._values[0]):,} keys kept")
        return self._result()

    def _add(self, row: Sequence[bytes | None]) -> None:
        self._seen += 1
        if self._seen % self._every:
            return
        kept = row[: len(self._columns)]
        for decode, value in zip(self._decoders, kept, strict=True):
            try:
                if value is not None:
                    decode(value)
            except Exception:  # a value that no declared column takes, such as the date 0000-00-00
                self._odd += 1
                return
        for values, value in zip(self._values, kept, strict=True):
            values.append(value)
            self._bytes += 0 if value is None else len(value)
        if len(self._values[0]) > self._most or self._bytes > MOST_BYTES:
            self._halve()

    def _halve(self) -> None:
        """Keep every other row only."""
        self._every *= 2
        self._values = [values[1::2] for values in self._values]
        self._bytes = sum(len(value) for values in self._values for value in values if value is not None)

    def _result(self) -> Values:
        kept = len(self._values[0])
        if not kept:
            odd = f": the keys of all {self._odd:,} have values that cannot be sent" if self._odd else ""
            raise ClusterError(f"{self._table.shown} on {self._server.name} has no rows to work on{odd}")
        left = f"; {self._odd:,} have values that cannot be sent" if self._odd else ""
        line = f"{self._table.shown} has {self._seen:,} rows, of which the load uses {kept:,}{left}"
        trio.from_thread.run_sync(self._progress, line)
        return dict(zip(self._columns, self._values, strict=True))
