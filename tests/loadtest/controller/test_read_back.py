"""Reading rows back: page by page, in whatever order their keys are, with the rows that are none of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hs_drill.controller import _read_back
from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.store import FinalState
from hs_drill.workload import DAMAGED, FOREIGN, INITIAL, rows_of
from tests.loadtest.support.declared import SHOP, declared
from trio_hs.testing import Table

COMPOSITE = """
name: by region
table:
  database: shop
  name: orders
  rows: 30
  columns:
    region: {type: char(2), values: {choice: [eu, us, ap]}}
    id:     {type: bigint, values: sequence}
    seen:   {type: int, values: {between: [1, 9]}}
    note:   {type: varchar(18), values: version}
  primary: [region, id]
mix: {get: 5, count: {do: incr, column: seen, weight: 1}}
"""
DRILL = "name: drill\ntable: {rows: 30, groups: 3, value_size: 20}\nmix: {get: 1, update: 1}\n"


class Server:
    """Gives rows in the order of their primary key."""

    def __init__(self, rows: list[list[Any]], primary: Sequence[int], *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.rows = sorted((tuple(row) for row in rows), key=lambda row: [row[place] for place in primary])
        self.keys = [[row[place] for place in primary] for row in self.rows]
        self.pages = 0

    async def read_rows(
        self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000
    ) -> list[tuple[Any, ...]]:
        assert name == "writer"
        await trio.sleep(self.seconds)
        self.pages += 1
        first = 0 if after is None else self.keys.index(list(after)) + 1
        return self.rows[first : first + limit]


async def state_of(server: Server, scenario: Scenario, path: Path) -> FinalState:
    await _read_back.read_back(server, "writer", scenario, path)  # type: ignore[arg-type]
    return FinalState(path, "writer")


@pytest.mark.parametrize("text", [COMPOSITE, DRILL])
async def test_rows_come_back_by_number_whatever_the_order_of_their_keys(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_read_back, "PAGE_ROWS", 7)
    scenario = parse_scenario(text, "s.yaml")
    rows = rows_of(scenario)
    held = [rows.row(number, INITIAL) for number in range(1, 31)]
    server = Server(held, [rows.columns.index(name) for name in rows.primary])
    state = await state_of(server, scenario, tmp_path / "one")
    (counter,) = rows.counters
    place = rows.columns.index(counter)
    assert list(state) == [(number, INITIAL, held[number - 1][place]) for number in range(1, 31)]
    assert (state.complete, state.counters, state.extras, state.wrong) == (True, (counter,), (), {})
    assert server.pages == 6


async def test_a_row_with_a_foreign_key_has_the_same_number_everywhere_and_is_told_by_its_key(tmp_path: Path) -> None:
    scenario = parse_scenario(COMPOSITE, "s.yaml")
    rows = rows_of(scenario)
    held = [rows.row(number, INITIAL) for number in (1, 2)]
    other_region = "eu" if held[0][0] != "eu" else "us"
    foreign = [other_region, 1, 5, "hello"]
    one = await state_of(Server([*held, foreign], [0, 1]), scenario, tmp_path / "one")
    other = await state_of(Server([foreign, held[1]], [0, 1]), scenario, tmp_path / "other")
    number, version, *_ = next(iter(one))
    assert number < 0
    assert version == FOREIGN
    assert next(iter(other)) == next(iter(one))
    assert [row[0] for row in one] == [number, 1, 2]
    assert one.wrong[number].key == f"'{other_region}', 1"


async def test_a_row_that_was_changed_is_told_with_its_columns(tmp_path: Path) -> None:
    scenario = declared(SHOP)
    rows = rows_of(scenario)
    changed = rows.row(2, INITIAL)
    changed[rows.columns.index("category")] = "a\nlong text " + 500 * "x"
    state = await state_of(Server([rows.row(1, INITIAL), changed], [0]), scenario, tmp_path / "one")
    assert [row[:2] for row in state] == [(1, INITIAL), (2, DAMAGED)]
    ((column, found, expected),) = state.wrong[2].columns
    assert (column, state.wrong[2].shown) == ("category", INITIAL)
    assert found.startswith("'a\\nlong text xxx")
    assert len(found) <= 100
    assert expected == repr(rows.row(2, INITIAL)[rows.columns.index("category")])


async def test_it_says_every_two_seconds_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(_read_back, "PAGE_ROWS", 10)
    scenario = parse_scenario(DRILL, "s.yaml")
    rows = rows_of(scenario)
    server = Server([rows.row(number, INITIAL) for number in range(1, 51)], [0], seconds=0.8)
    lines: list[str] = []
    await _read_back.read_back(server, "writer", scenario, tmp_path / "one", lines.append)  # type: ignore[arg-type]
    assert lines == ["reading back writer: 30 rows"]
    await _read_back.read_back(server, "writer", scenario, tmp_path / "two")  # type: ignore[arg-type]


async def test_no_more_wrong_rows_are_described_than_people_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_read_back, "MOST_WRONG_ROWS", 3)
    scenario = parse_scenario(COMPOSITE, "s.yaml")
    rows = rows_of(scenario)
    held = [rows.row(number, INITIAL) for number in range(1, 11)]
    for row in held:
        row[rows.columns.index("note")] = b"\xff\x00"
    state = await state_of(Server(held, [0, 1]), scenario, tmp_path / "one")
    assert {row[1] for row in state} == {FOREIGN}
    assert len(state.wrong) == 3
    assert all(wrong.columns[0][:2] == ("note", "x'ff00'") for wrong in state.wrong.values())
