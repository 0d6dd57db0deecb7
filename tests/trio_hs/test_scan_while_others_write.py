"""Any scan of the embedded server: each row exactly once and in order, whatever others insert and delete meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.trio_hs.support.scans import COLUMNS, KEYS, TEXTS, may_go, opened, row_of
from trio_hs import ConnectionError, Filter, Scan
from trio_hs.testing import EmbeddedServer, Table

TABLE = Table.from_columns("d", "t", COLUMNS)


@dataclass
class Case:
    """A scan, and what others do after each of its steps."""

    index: str
    backwards: bool
    chunk: int
    equal: list[Any]
    start: list[Any]
    stop: list[Any]
    filtered: bool
    rows: list[list[Any]]
    changes: list[list[list[Any] | tuple[int, int]]]
    """A list inserts a row, a tuple deletes the one of that key."""
    resumed: int
    """After every so many steps another scan goes on."""
    steps: list[int]
    """How many rows each step takes one by one; 0 takes a page."""
    failures: list[str | None]
    """What happens to each request: it fails "before" or "behind" the server, or not."""


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "p": st.integers(-1, 4),
    "q": st.integers(-1, 4),
    "a": st.sampled_from([None, -1, 0, 1]),
    "s": st.sampled_from(TEXTS),
    "n": st.integers(-2, 2),
    "u": st.one_of(st.none(), st.integers(-1, 16)),
    "v": st.integers(-1, 16),
}
ROWS = st.builds(row_of, st.sampled_from(KEYS), VALUES["a"], VALUES["s"], VALUES["n"], st.booleans())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    index = draw(st.sampled_from(list(COLUMNS.indexes)))
    backwards = draw(st.booleans()) and may_go(index, backwards=True)
    parts = COLUMNS.indexes[index]
    look_ups = [
        VALUES[part.column.name] if part.prefix is None else VALUES[part.column.name].filter(lambda value: len(value) < 2)
        for part in parts
    ]

    def some(begin: int) -> list[Any]:
        end = draw(st.integers(begin, len(parts)))
        return [draw(look_up) for look_up in look_ups[begin:end]]

    whole = all(part.prefix is None for part in parts)
    equal = some(0) if whole and draw(st.integers(0, 3)) == 0 else []
    return Case(
        index,
        backwards,
        draw(st.integers(1, 4)),
        equal,
        some(len(equal)) if draw(st.booleans()) else [],
        some(len(equal)) if whole and draw(st.booleans()) else [],
        draw(st.integers(0, 3)) == 0,
        draw(st.lists(ROWS, max_size=16, unique_by=lambda row: (row[0], row[1]))),
        draw(st.lists(st.lists(st.one_of(ROWS, st.sampled_from(KEYS)), max_size=3), max_size=6)),
        draw(st.integers(1, 4)),
        draw(st.lists(st.integers(0, 5), max_size=8)),
        draw(st.lists(st.sampled_from([None, None, "before", "behind"]), max_size=8)),
    )


class Order:
    """The order of an index, as the embedded server has it."""

    def __init__(self, server: EmbeddedServer, case: Case) -> None:
        self.case = case
        self.stored = server.database.tables["d", "t"]
        (self.index,) = [index for index in self.stored.indexes if index.name == case.index]

    def _stored(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(column.store(value) for column, value in zip(self.stored.columns, row, strict=True))

    def entry(self, row: Sequence[Any]) -> Any:
        return self.index.entry(self._stored(row))

    def matches(self, row: Sequence[Any]) -> bool:
        """Whether the row is in the range of the scan."""
        case, key = self.case, self.index.key(self._stored(row))

        def before(values: list[Any]) -> bool:
            wanted = self._wanted(values)
            return bool(wanted < key[: len(wanted)] if case.backwards else key[: len(wanted)] < wanted)

        same = self._wanted(case.equal)
        if key[: len(same)] < same or same < key[: len(same)] or (case.filtered and row[4] < 0):
            return False
        if case.start and before([*case.equal, *case.start]):
            return False
        return not case.stop or before([*case.equal, *case.stop])

    def _wanted(self, values: list[Any]) -> Any:
        return self.index.search_key([None if value is None else str(value).encode() for value in values])


async def scanned(case: Case) -> None:
    async with opened(TABLE) as (server, hs):
        table = hs.table("d", "t", columns=COLUMNS, index_name=None if case.index == "PRIMARY" else case.index, row=row_type)
        writer = hs.table("d", "t", columns=COLUMNS)
        order = Order(server, case)
        outcomes = await writer.insert_many(case.rows)
        there = {key(row): row for row, outcome in zip(case.rows, outcomes, strict=True) if outcome is None}
        always = dict(there)
        ever = list(there.values())
        changes, steps, failures = iter(case.changes), iter(case.steps), iter(case.failures)
        number = 0
        found: list[list[Any]] = []

        def scan(after: str | None) -> Scan[list[Any]]:
            filters = [Filter("n", ">=", 0)] if case.filtered else []
            bounds: dict[str, Any] = {"equal": case.equal, "start": case.start, "stop": case.stop}
            made = table.scan(case.chunk, **bounds, filters=filters, backwards=case.backwards, after=after)
            find = made._find

            async def may_fail(*arguments: Any) -> Any:
                fails = next(failures, None)
                if fails == "before":
                    raise ConnectionError("before the server")
                answer = await find(*arguments)
                if fails == "behind":
                    raise ConnectionError("behind the server")
                return answer

            made._find = may_fail  # type: ignore[assignment,method-assign]
            return made

        current = scan(None)
        while True:
            taken = next(steps, 0)
            try:
                if taken:
                    for _ in range(taken):
                        found.append(await anext(current))
                else:
                    page = await current.page()
                    assert len(page) == case.chunk or current.done
                    found += page
            except StopAsyncIteration:
                assert current.done
            except ConnectionError:
                assert not current.done
            number += 1
            assert len(found) <= len(ever), "it does not end"
            if current.done:
                break
            if number % case.resumed == 0:
                current = scan(current.position)
            for change in next(changes, []):
                if isinstance(change, tuple):
                    await writer.delete("=", change)
                    always.pop(change, None)
                    there.pop(change, None)
                elif key(change) not in there:
                    await writer.insert(change)
                    there[key(change)] = change
                    ever.append(change)
        entries = [order.entry(row) for row in found]
        assert entries == sorted(entries, reverse=case.backwards)
        # Only a row that was deleted and inserted again with another key may come twice, as two rows.
        assert len({(key(row), row[2], row[3], row[4]) for row in found}) == len(found)
        assert [row for row in found if key(row) in always] == sorted(
            (row for row in always.values() if order.matches(row)), key=order.entry, reverse=case.backwards
        )
        assert all(order.matches(row) and row in ever for row in found)


def key(row: Sequence[Any]) -> tuple[int, int]:
    return row[0], row[1]


def row_type(p: int, q: int, a: int | None, s: str, n: int, u: int | None, v: int) -> list[Any]:
    return [p, q, a, s, n, u, v]


@pytest.mark.slow
@settings(max_examples=amount(120, 3_000))
@given(cases())
def test_any_scan_while_others_change_the_table(case: Case) -> None:
    trio.run(scanned, case)
