"""What users may do with `self.rows`: on the drill's own table, and on one with columns of its own by the mix's operations."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import trio_hs
import trio_hs.testing
from hs_drill.controller._table import load_table
from hs_drill.engine._audited_rows import AuditedRows
from hs_drill.engine._binding import Numbers
from hs_drill.engine._bound_operations import Intent, bind, mix_operations
from hs_drill.engine._row_operations import ROW_OPERATIONS, DeclaredOperations, DrillOperations
from hs_drill.engine._scribe import Scribe
from hs_drill.engine._sent_values import ENCODING, sent_by_handlersocket
from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.store import History, HistoryWriter
from hs_drill.workload import INITIAL, OPS, rows_of

OWN = """\
name: own
cluster: {kind: embedded, readers: 1, topology: write-through}
table:
  rows: 20
  columns:
    part: {type: varchar(10), values: {choice: {eins: 1}}}
    id: {type: bigint, values: sequence}
    n: {type: int, values: 0}
    left: {type: int unsigned, values: 10}
    price: {type: "decimal(8,2)", values: {between: [5, 5]}}
    name: {type: varchar(20) character set utf8mb4, values: {choice: {"grün": 1}}}
    since: {type: date, values: {between: ["2024-05-06", "2024-05-06"]}}
    gone: {type: date, values: {between: ["2024-05-06", "2024-05-06"]}, null: 100%}
    note: {type: varchar(30), values: version}
  primary: [id, part]
mix:
  page: {do: get, weight: 5}
  short: {do: get, columns: [id, n], weight: 5}
  count: {do: incr, column: n, step: 2, weight: 5}
  use: {do: decr, column: left, step: 6, weight: 5}
  rename: {do: update, set: [name, note], weight: 5}
  reprice: {do: update, set: [price, note], weight: 5}
  new: {do: insert, weight: 5}
  drop: {do: delete, weight: 5}
"""
DRILL = """\
name: drill
cluster: {kind: embedded, readers: 1, topology: write-through}
table: {rows: 20, value_size: 30, groups: 5}
audit: true
"""


@dataclass
class Opened:
    rows: AuditedRows
    writer: HistoryWriter
    path: Path
    mix: dict[str, Any]
    scenario: Scenario

    def records(self) -> list[tuple[str, str, int, int]]:
        """The name, the outcome, the row and the version or step of each."""
        self.writer.close()
        return [(one.name, one.outcome.name, one.key, one.value) for one in History(self.path).records()]


@asynccontextmanager
async def opened(text: str, path: Path) -> AsyncIterator[Opened]:
    scenario = parse_scenario(text, "s.yaml")
    rows = rows_of(scenario)
    declared = rows.columns_declared is not None
    as_ = None if rows.columns_declared is None else sent_by_handlersocket(rows.columns_declared)
    async with trio_hs.testing.open_server([load_table(scenario)]) as server:
        addresses = [server.read_address], [server.write_address]
        async with trio_hs.open_manager(*addresses, connect=server.connect, encoding=ENCODING) as hs:
            insert, make = hs.table("drill", "t", rows.columns).insert, rows.maker(rows.columns, as_)
            for number in range(1, 21):
                await insert(make(number, INITIAL))
            numbers = Numbers(scenario, 1, 0)
            kind = DeclaredOperations if declared else DrillOperations
            operations = kind(hs.table, scenario, rows, numbers, as_)
            listed = mix_operations(scenario, rows) if declared else ROW_OPERATIONS
            with HistoryWriter(path / "h", worker=0, operations=listed) as writer:
                mix = dict(bind(hs.table, scenario, rows, numbers, as_=as_))
                yield Opened(AuditedRows(operations, Scribe(writer, 1, {}), 7), writer, path / "h", mix, scenario)


async def test_a_table_of_ones_own_by_the_names_of_the_mix(tmp_path: Path) -> None:
    async with opened(OWN, tmp_path) as own:
        rows, places = own.rows, [spec.name for spec in own.scenario.operations]
        assert rows.key(7) == (7, "eins")
        assert dict(await rows.get(7, operation="short")) == {"id": 7, "n": 0}
        assert await rows.incr(7)
        assert [await rows.decr(7) for _ in range(2)] == [True, True]
        assert await rows.update(7, operation="rename")
        row = dict(await rows.get(7, operation="page"))
        version = row.pop("note")
        day = datetime.date(2024, 5, 6)
        expected = {
            "part": "eins",
            "id": 7,
            "n": 2,
            "left": 4,
            "price": Decimal("5.00"),
            "name": "grün",
            "since": day,
            "gone": None,
        }
        assert row == expected
        assert isinstance(version, str)
        number = await rows.insert()
        assert dict(await rows.get(number, operation="short")) == {"id": number, "n": 0}
        assert await rows.delete(number)
        assert not await rows.delete(number)
        assert await rows.get(number, operation="page") == []
        records = own.records()
    assert [(name, outcome, key) for name, outcome, key, _ in records] == [
        ("short", "OK", 7),
        ("count", "OK", 7),
        ("use", "OK", 7),
        ("use", "OK", 7),
        ("rename", "OK", 7),
        ("page", "OK", 7),
        ("new", "OK", number),
        ("short", "OK", number),
        ("drop", "OK", number),
        ("drop", "FAIL", number),
        ("page", "FAIL", number),
    ]
    assert [value for name, _, _, value in records if name in ("count", "use")] == [2, 6, 0]
    written = {name: value for name, _, _, value in records if name in ("rename", "new")}
    assert {name: places[value % OPS] for name, value in written.items()} == {"rename": "rename", "new": "new"}
    assert records[5][3] == written["rename"], "the read shows the version that the audit knows"


async def test_what_the_mix_does_not_say_is_refused(tmp_path: Path) -> None:
    async with opened(OWN, tmp_path) as own:
        rows = own.rows
        with pytest.raises(ValueError, match=r"several: say which, self.rows.update\(..., operation='rename' or 'reprice'\)"):
            await rows.update(1)
        with pytest.raises(ValueError, match="the scenario's mix has no incr named 'rename', but 'count'"):
            await rows.incr(1, operation="rename")
        with pytest.raises(ValueError, match="leave `step` out"):
            await rows.incr(1, 5)
        with pytest.raises(ValueError, match=r"self\.rows needs a number that was inserted by this engine"):
            await rows.delete(3)
        with pytest.raises(ValueError, match=r"self\.rows needs a number that was loaded, or inserted by this engine"):
            await rows.update(21, operation="rename")
        assert own.records() == []
    fewer = OWN.replace("  use: {do: decr, column: left, step: 6, weight: 5}\n", "")
    async with opened(fewer, tmp_path / "..") as own:
        with pytest.raises(ValueError, match="the scenario's mix says, which has no decr: add one to `mix`"):
            await own.rows.decr(1)


async def test_rows_and_mix_write_no_version_and_insert_no_row_twice(tmp_path: Path) -> None:
    async with opened(OWN, tmp_path) as own:
        seen: list[tuple[int, int]] = []
        for _ in range(3):
            intent = Intent()
            await own.mix["new"].call(0, intent)
            seen.append((intent.key, intent.value))
            await own.rows.insert()
            await own.mix["rename"].call(1, intent)
            seen.append((0, intent.value))
            await own.rows.update(1, operation="rename")
        records = own.records()
    keys = [key for key, _ in seen if key] + [key for name, _, key, _ in records if name == "new"]
    versions = [version for _, version in seen] + [version for *_, version in records]
    assert len({*keys}) == len(keys) == 6
    assert len({*versions}) == len(versions) == 12


async def test_the_drills_own_table(tmp_path: Path) -> None:
    async with opened(DRILL, tmp_path) as own:
        rows = own.rows
        assert 1 <= rows.draw() <= rows.count == 20
        assert await rows.incr(3, 5)
        assert await rows.incr(3)
        assert await rows.update(3)
        row = dict(await rows.get(3))
        assert (row["id"], row["n"]) == ("3", "6")
        number = await rows.insert()
        assert await rows.delete(number)
        for wrong in (0, 1_000_001, True, 1.5):
            with pytest.raises(ValueError, match="the step of an incr must be a whole number from 1 to 1,000,000"):
                await rows.incr(3, wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no decr on the harness's own table, but get, insert, update, delete, incr"):
            await rows.decr(3)
        with pytest.raises(ValueError, match="no operation 'other' on the harness's own table"):
            await rows.update(3, operation="other")
        records = own.records()
    assert [name for name, *_ in records] == ["incr", "incr", "update", "get", "insert", "delete"]
    assert records[3][3] == records[2][3] > 0
