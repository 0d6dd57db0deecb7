"""Operations with names of their own, bound to the client: what they send, and what the history gets."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import trio_hs
import trio_hs.testing
from hs_drill.controller._table import load_table
from hs_drill.engine._bound_operations import BoundOperation, Intent, bind, mix_operations
from hs_drill.engine._scribe import Scribe
from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.store import History, HistoryWriter, MixOperation, Operation, Outcome
from hs_drill.workload import first_insert_key, loaded, operations, rows_of

SCENARIO = """\
name: names
cluster: {kind: embedded, readers: 1}
table: {rows: 50, groups: 5, value_size: 30}
mix:
  get: 5
  short get: {do: get, columns: [id, n], weight: 5}
  group: {do: find, operation: "=", by: [grp], limit: 3, columns: [grp, id], weight: 5}
  few: {do: get_many, count: 2, weight: 5}
  many: {do: get_many, count: 20, weight: 5}
  count up: {do: incr, step: 2, weight: 5}
  count far up: {do: incr, step: 100, weight: 5}
  new: {do: insert, weight: 5}
  gone: {do: delete, weight: 5}
"""


def scenario() -> Scenario:
    return parse_scenario(SCENARIO, "s.yaml")


Bound = dict[str, BoundOperation]


@pytest.fixture
async def bound() -> AsyncIterator[Bound]:
    async with trio_hs.testing.open_server([load_table(scenario())]) as server:
        await server.load("drill", "t", loaded(scenario()))
        async with trio_hs.open_manager([server.read_address], [server.write_address], connect=server.connect) as hs:
            yield dict(bind(hs.table, scenario(), rows_of(scenario()), run=1, worker=0))


async def perform(bound: Bound, name: str, key: Any) -> tuple[Intent, Any]:
    intent = Intent()
    intent.operation, intent.key = bound[name].code, key
    return intent, await bound[name].call(key, intent)


async def test_each_operation_of_a_kind_does_what_it_says_itself(bound: Bound) -> None:
    assert dict((await perform(bound, "short get", 7))[1]).keys() == {"id", "n"}
    found = (await perform(bound, "group", 7))[1]
    assert [dict(row) for row in found] == [{"grp": "2", "id": str(key)} for key in (2, 7, 12)]
    assert len((await perform(bound, "many", range(1, 21)))[1]) == 20
    for name, step in (("count up", 2), ("count far up", 100)):
        assert (await perform(bound, name, 7))[0].value == step
    assert dict((await perform(bound, "short get", 7))[1])["n"] == "102"


async def test_what_a_read_shows_goes_by_the_columns_that_it_reads(bound: Bound) -> None:
    for name, key, expected in (("get", 7, (7, 0, 0)), ("group", 7, (2, -3, -(2**63)))):
        _, answer = await perform(bound, name, key)
        observe = bound[name].observe
        assert observe is not None
        assert observe(key, answer) == expected
    _, row = await perform(bound, "short get", 7)
    observe = bound["short get"].observe
    assert observe is not None
    assert observe(7, row) == (7, -3, 0), "it shows no version"
    assert observe(7, []) == (7, -1, -(2**63))


async def test_a_delete_without_an_inserted_row_inserts_one_and_says_so(bound: Bound) -> None:
    intent, _ = await perform(bound, "gone", 1)
    assert (intent.operation, intent.key) == (bound["new"].code, first_insert_key(1, 0))
    intent, _ = await perform(bound, "gone", 1)
    assert (intent.operation, intent.key) == (bound["gone"].code, first_insert_key(1, 0))


def test_the_history_tells_operations_of_one_kind_apart(tmp_path: Path) -> None:
    listed = mix_operations(scenario(), rows_of(scenario()))
    assert listed[:2] == [
        MixOperation(Operation.GET, "get", Operation.GET, 0),
        MixOperation(10, "short get", Operation.GET, 0),
    ]
    assert [(one.name, one.counter) for one in listed[2:6]] == [("group", None), ("few", 0), ("many", 0), ("count up", 0)]
    with HistoryWriter(tmp_path / "h", worker=0, operations=listed) as history:
        scribe = Scribe(history, 1, {})
        for one in listed:
            intent = Intent()
            intent.operation, intent.key = one.code, 1
            read = one.do in (Operation.GET, Operation.FIND, Operation.GET_MANY)
            bound = BoundOperation(lambda *_: None, one.code, (lambda *_: (1, 0, 0)) if read else None)  # type: ignore[arg-type]
            scribe.succeeded(bound, intent, [1], 1000, 2000, 0)
            scribe.cancelled(bound, intent, 1000, 2000, 0)
    records = list(History(tmp_path / "h").records())
    assert [record.name for record in records] == [one.name for one in listed for _ in range(2)]
    unknown = {record.name for record in records if record.outcome is Outcome.INFO}
    assert unknown == {"count up", "count far up", "new", "gone"}, "a read that was cancelled has done nothing"


def test_operations_are_drawn_by_their_names_and_weights() -> None:
    drawn = list(itertools.islice(operations(scenario(), 0), 9000))
    counts = {name: sum(one == name for one, _ in drawn) for name in scenario().mix.weights()}
    assert all(800 < count < 1200 for count in counts.values()), counts
    assert {len(keys) for name, keys in drawn if name == "few" and isinstance(keys, tuple)} == {2}
    assert {len(keys) for name, keys in drawn if name == "many" and isinstance(keys, tuple)} == {20}
