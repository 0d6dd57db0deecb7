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
from hs_drill.engine._binding import Numbers
from hs_drill.engine._bound_operations import BoundOperation, Intent, bind, mix_operations
from hs_drill.engine._primary_reads import Acknowledged, PrimaryReads
from hs_drill.engine._row_operations import DeclaredOperations, DrillOperations
from hs_drill.engine._scribe import Scribe
from hs_drill.engine._sent_values import ENCODING, sent_by_handlersocket
from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.store import History, HistoryWriter, Operation, Outcome
from hs_drill.workload import ABSENT, INITIAL, NO_COUNT, OPS, UNSEEN, first_insert_key, operations, rows_of

SCENARIO = """\
name: names
cluster: {kind: embedded, readers: 1, topology: write-through}
table:
  name: t
  rows: 50
  columns:
    part: {type: varchar(10), values: {choice: {one: 1, two: 1}}}
    id: {type: bigint, values: sequence}
    n: {type: int, values: 0}
    left: {type: int unsigned, values: 10}
    name: {type: varchar(20) character set latin1, values: {choice: {"grün": 1}}}
    note: {type: varchar(30), values: version}
  primary: [id, part]
  indexes: {parts: [part, id]}
mix:
  get: 5
  short get: {do: get, columns: [id, n], weight: 5}
  last: {do: get, keys: latest, weight: 5}
  part: {do: find, index: parts, operation: "=", by: [part, id], columns: [name, id], weight: 5}
  few: {do: get_many, count: 2, weight: 5}
  many: {do: get_many, count: 20, weight: 5}
  count up: {do: incr, column: n, step: 2, weight: 5}
  count far up: {do: incr, column: n, step: 100, weight: 5}
  use: {do: decr, column: left, step: 6, weight: 5}
  rename: {do: update, set: [name, note], weight: 5}
  new: {do: insert, weight: 5}
  gone: {do: delete, weight: 5}
"""


def scenario() -> Scenario:
    return parse_scenario(SCENARIO, "s.yaml")


Bound = dict[str, BoundOperation]


@pytest.fixture
async def bound() -> AsyncIterator[Bound]:
    rows = rows_of(scenario())
    assert rows.columns_declared is not None
    as_ = sent_by_handlersocket(rows.columns_declared)
    async with trio_hs.testing.open_server([load_table(scenario())]) as server:
        addresses = [server.read_address], [server.write_address]
        async with trio_hs.open_manager(*addresses, connect=server.connect, encoding=ENCODING) as hs:
            insert, make = hs.table("drill", "t", rows.columns).insert, rows.maker(rows.columns, as_)
            for number in range(1, 51):
                await insert(make(number, INITIAL))
            yield dict(bind(hs.table, scenario(), rows, Numbers(scenario(), 1, 0), as_=as_))


async def perform(bound: Bound, name: str, key: Any) -> tuple[Intent, Any]:
    intent = Intent()
    intent.operation, intent.key = bound[name].code, key
    return intent, await bound[name].call(key, intent)


async def seen(bound: Bound, name: str, key: Any) -> tuple[int, int, int]:
    """The number, version and counter that a read shows."""
    _, answer = await perform(bound, name, key)
    observe = bound[name].observe
    assert observe is not None
    return observe(key, answer)


async def test_each_operation_of_a_kind_does_what_it_says_itself(bound: Bound) -> None:
    assert dict((await perform(bound, "short get", 7))[1]) == {"id": "7", "n": "0"}
    assert [dict(row) for row in (await perform(bound, "part", 7))[1]] == [{"name": "grün", "id": "7"}]
    assert len((await perform(bound, "many", range(1, 21)))[1]) == 20
    for name, step in (("count up", 2), ("count far up", 100)):
        assert (await perform(bound, name, 7))[0].value == step
    assert dict((await perform(bound, "short get", 7))[1])["n"] == "102"


async def test_what_a_read_shows_goes_by_the_columns_that_it_reads(bound: Bound) -> None:
    assert await seen(bound, "get", 7) == (7, INITIAL, 0)
    assert await seen(bound, "few", [8, 9]) == (8, INITIAL, 0)
    assert await seen(bound, "few", [8, 99]) == (99, ABSENT, NO_COUNT)
    assert await seen(bound, "short get", 7) == (7, UNSEEN, 0)
    assert await seen(bound, "short get", 99) == (99, ABSENT, NO_COUNT)
    assert await seen(bound, "part", 7) == (0, UNSEEN, NO_COUNT), "without its whole key a row has no number"


async def test_a_version_says_which_operation_wrote_it(bound: Bound) -> None:
    places = [spec.name for spec in scenario().operations]
    intent, _ = await perform(bound, "rename", 7)
    assert (await seen(bound, "get", 7))[1] == intent.value
    assert places[intent.value % OPS] == "rename"
    intent, _ = await perform(bound, "new", 1)
    assert (await seen(bound, "get", intent.key))[1] == intent.value
    assert places[intent.value % OPS] == "new"


async def test_latest_counts_from_the_youngest_row(bound: Bound) -> None:
    inserted = [(await perform(bound, "new", 1))[0].key for _ in range(2)]
    read = [await perform(bound, "last", younger) for younger in range(4)]
    assert [intent.key for intent, _ in read] == [*reversed(inserted), 50, 49]
    assert [int(dict(row)["id"]) for _, row in read] == [*reversed(inserted), 50, 49]


async def test_a_decrement_below_zero_is_none(bound: Bound) -> None:
    """A server acknowledges it in an unsigned column that holds 0, and leaves 0 there."""
    assert [(await perform(bound, "use", 7))[0].value for _ in range(3)] == [6, 0, 0]


async def test_a_delete_without_an_inserted_row_inserts_one_and_says_so(bound: Bound) -> None:
    intent, _ = await perform(bound, "gone", 1)
    assert (intent.operation, intent.key) == (bound["new"].code, first_insert_key(1, 0))
    intent, _ = await perform(bound, "gone", 1)
    assert (intent.operation, intent.key) == (bound["gone"].code, first_insert_key(1, 0))


def test_the_history_tells_operations_of_one_kind_apart(tmp_path: Path) -> None:
    listed = mix_operations(scenario(), rows_of(scenario()))
    assert [(one.code, one.name) for one in listed[:3]] == [(Operation.GET, "get"), (10, "short get"), (11, "last")]
    assert {one.name: one.counter for one in listed} == {
        **dict.fromkeys(("get", "short get", "last", "few", "many", "count up", "count far up"), 0),
        "use": 1,
        **dict.fromkeys(("part", "rename", "new", "gone")),
    }
    assert {one.sets for one in listed if one.sets} == {("name", "note")}
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
    assert unknown == {"count up", "count far up", "use", "rename", "new", "gone"}, "a read that was cancelled has done nothing"


def test_operations_are_drawn_by_their_names_and_weights() -> None:
    drawn = list(itertools.islice(operations(scenario(), 0), 12000))
    counts = {name: sum(one == name for one, _ in drawn) for name in scenario().weights}
    assert all(800 < count < 1200 for count in counts.values()), counts
    assert {len(keys) for name, keys in drawn if name == "few" and isinstance(keys, tuple)} == {2}
    assert {len(keys) for name, keys in drawn if name == "many" and isinstance(keys, tuple)} == {20}


class Table:
    """Says which client's it is."""

    def __init__(self, client: str) -> None:
        self._client = client

    async def get(self, number: int) -> str:
        return f"{number} from {self._client}"

    insert = find = update = delete = incr = get


def table_of(client: str) -> Any:
    return lambda *named: Table(client)


PRIMARY = PrimaryReads({"writer": table_of("writer"), "standby": table_of("standby")}, Acknowledged("writer"))


@pytest.mark.parametrize("mix, followed", [("get: {from: primary, weight: 1}", True), ("get: 1", False)])
async def test_reads_of_the_primary_follow_the_writes_and_so_does_the_users_get_if_the_mixs_does(
    mix: str, followed: bool
) -> None:
    """In the history the get of users in Python is that of the mix."""
    read = parse_scenario(f"name: x\nmix: {{{mix}, own: {{do: get, from: primary, weight: 1}}}}\n", "s.yaml")
    rows = rows_of(read)
    numbers = Numbers(read, 1, 0)
    bound = bind(table_of("readers"), read, rows, numbers, primary=PRIMARY)
    of_users = DrillOperations(table_of("readers"), read, rows, numbers, None, PRIMARY)
    for primary in ("writer", "standby", "writer"):
        PRIMARY.acknowledged.last = primary
        assert await bound["own"].call(7, Intent()) == f"7 from {primary}"
        for get in (bound["get"], of_users.named("get", None)):
            assert await get.call(7, Intent()) == f"7 from {primary if followed else 'readers'}"
    assert [(one.name, one.primary) for one in mix_operations(read, rows)] == [("get", followed), ("own", True)]


async def test_the_users_get_on_a_declared_table_is_that_of_the_mix_also_in_where_it_reads() -> None:
    read = parse_scenario(
        """\
name: x
table:
  columns: {id: {type: int, values: sequence}, note: {type: varchar(60), values: version}}
  primary: [id]
mix:
  own: {do: get, columns: [note], from: primary, weight: 1}
  any: {do: get, columns: [note], weight: 1}
""",
        "s.yaml",
    )
    rows = rows_of(read)
    assert rows.columns_declared is not None
    as_ = sent_by_handlersocket(rows.columns_declared)
    of_users = DeclaredOperations(table_of("readers"), read, rows, Numbers(read, 1, 0), as_, PRIMARY)
    for primary in ("writer", "standby"):
        PRIMARY.acknowledged.last = primary
        assert (await of_users.named("get", "own").call(7, Intent())).endswith(f" from {primary}")
        assert (await of_users.named("get", "any").call(7, Intent())).endswith(" from readers")
