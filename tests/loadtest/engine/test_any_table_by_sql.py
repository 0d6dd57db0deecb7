"""Operations on tables of one's own: both drivers give the same answers, and leave the same rows."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import trio_hs
from hs_drill import __main__ as command
from hs_drill._cluster import Cluster, Server
from hs_drill._sql_text import literal, quoted
from hs_drill.engine._binding import Numbers
from hs_drill.engine._bound_operations import Intent, bind
from hs_drill.engine._sent_values import ENCODING, bytes_of, sent_by_handlersocket
from hs_drill.engine._sql_client import open_sql_client
from hs_drill.engine._sql_statements import Layout
from hs_drill.engine._sql_table import SqlTable
from hs_drill.scenario import Scenario, parse_scenario
from hs_drill.servers import execute_sql
from hs_drill.workload import Rows, loaded, rows_of
from tests.loadtest.support.locust_process import Locust

pytestmark = [
    pytest.mark.mariadb,
    pytest.mark.skipif(find_spec("MySQLdb") is None, reason="mysqlclient is not installed (test_sql_driver.py insists in CI)"),
]

EVERY_TYPE = """\
name: every type
cluster: {kind: mariadb}
table:
  database: drill
  name: every_type
  rows: 60
  columns:
    region: {type: "varchar(10) character set latin1", values: {choice: {süd: 5, nord: 3, "o'st": 2}}}
    id: {type: bigint unsigned, values: sequence}
    tiny: {type: tinyint unsigned, values: {between: [0, 255]}}
    stock: {type: int, values: 3}
    left: {type: smallint unsigned, values: 3}
    price: {type: "decimal(10,2)", values: {between: [-999, 999]}}
    ratio: {type: double, values: {between: [0, 1]}}
    flags: {type: bit(12), values: {between: [0, 4095]}}
    name: {type: "varchar(80) character set utf8mb4", values: {choice: {"grüße 😀 \\\\ '": 1, plain: 1, "": 1}}}
    title: {type: "varchar(20) character set latin1", values: {choice: {é: 1, x: 2}}, null: 30%}
    wide: {type: "varchar(20) character set utf16", values: {choice: {é😀: 1, x: 2}}}
    code: {type: char(8), values: {text: {min: 3, max: 8}}}
    level: {type: "enum('low','high')", values: {choice: {low: 1, high: 1}}, null: 20%}
    tags: {type: "set('a','b','c')", values: {choice: {"a,b": 1, "": 1, c: 1}}}
    body: {type: text, values: {text: {min: 0, max: 300}}}
    raw: {type: blob, values: {choice: {"0x00010a0d27": 1, "0xff": 1}}}
    fixed: {type: binary(4), values: {choice: {"0x00ff0027": 1}}}
    doc: {type: json, values: {choice: {'{"a": "\\\\u00e9"}': 1}}}
    day: {type: date, values: {between: ["2024-01-01", "2026-01-01"]}, null: 10%}
    at: {type: datetime(6), values: {between: ["2024-01-01", "2026-01-01"], step: 0.000001}}
    stamp: {type: timestamp, values: now}
    span: {type: time(3), values: {between: ["-100:00:00", "100:00:00"]}}
    born: {type: year, values: {between: [1950, 2020]}}
    token: {type: uuid, values: {choice: {123e4567-e89b-12d3-a456-426655440000: 1}}}
    v4: {type: inet4, values: {choice: {192.0.2.1: 1}}}
    v6: {type: inet6, values: {choice: {"2001:db8::1": 1}}}
    note: {type: varchar(60), values: version}
  primary: [region, id]
  indexes: {by_title: [title, price], by_day: [day], by_level: [level, tiny]}
mix:
  get: 5
  part: {do: get, columns: [note, id, title], weight: 5}
  get_many: {count: 5, weight: 5}
  from title: {do: find, index: by_title, operation: ">=", by: [title], limit: 7, weight: 3}
  after title: {do: find, index: by_title, operation: ">", limit: 7, weight: 3}
  below title: {do: find, index: by_title, operation: "<", limit: 7, weight: 3}
  to title: {do: find, index: by_title, operation: "<=", limit: 7, weight: 3}
  this title: {do: find, index: by_title, operation: "=", by: [title], limit: 7, weight: 3}
  after day: {do: find, index: by_day, operation: ">", limit: 5, weight: 3}
  below day: {do: find, index: by_day, operation: "<", limit: 5, weight: 3}
  to day: {do: find, index: by_day, operation: "<=", limit: 5, weight: 3}
  this level: {do: find, index: by_level, operation: "=", limit: 5, weight: 3}
  to level: {do: find, index: by_level, operation: "<=", limit: 5, weight: 3}
  from key: {do: find, index: PRIMARY, operation: ">=", limit: 3, weight: 3}
  rename: {do: update, set: [name, title, at, raw, note], weight: 5}
  tag: {do: update, set: [tags, doc, day, note], weight: 5}
  sell: {do: decr, column: stock, step: 2, weight: 5}
  use: {do: decr, column: left, step: 3, weight: 10}
  buy: {do: incr, column: stock, step: 3, weight: 5}
  insert: 5
  delete: 3
"""

BY_UUID = """\
name: by uuid
cluster: {kind: mariadb}
table:
  database: drill
  name: by_uuid
  rows: 60
  columns:
    id: {type: uuid, values: uuid}
    n: {type: int unsigned, values: 0}
    note: {type: varbinary(18), values: version}
  primary: [id]
mix:
  get: 5
  get_many: {weight: 5, count: 3}
  update: {set: [note], weight: 5}
  incr: {column: n, weight: 5}
  insert: 3
  delete: 2
"""


BY_SET = """\
name: by set
cluster: {kind: mariadb}
table:
  database: drill
  name: by_set
  rows: 60
  columns:
    tags: {type: "set('z','y','x','w')", values: {choice: ["", "y,x", "z,y,x", "y,w", "z,y,x,w"]}}
    level: {type: "enum('low','high')", values: {choice: [low, high]}}
    id: {type: bigint, values: sequence}
    n: {type: int, values: 3}
    note: {type: varchar(18), values: version}
  primary: [tags, level, id]
mix:
  get: 5
  get_many: {weight: 5, count: 3}
  update: {set: [note], weight: 5}
  incr: {column: n, weight: 5}
  decr: {column: n, weight: 5}
  insert: 3
  delete: 2
"""


def create_table(rows: Rows, name: str) -> str:
    keys = {"PRIMARY KEY": rows.primary, **{f"KEY {quoted(index)}": columns for index, columns in rows.indexes.items()}}
    parts = [f"{quoted(column)} {sql}" for column, sql in rows.columns_sql.items()]
    parts += [f"{key} ({', '.join(map(quoted, columns))})" for key, columns in keys.items()]
    return f"CREATE TABLE drill.{name} ({', '.join(parts)}) ENGINE=InnoDB"


async def fill(server: Server, scenario: Scenario) -> None:
    name, rows = scenario.table.name, rows_of(scenario)
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in loaded(scenario))
    await execute_sql(
        server,
        "CREATE DATABASE IF NOT EXISTS drill",
        f"DROP TABLE IF EXISTS drill.{name}",
        create_table(rows, name),
        f"INSERT INTO drill.{name} VALUES {values}",
    )


@asynccontextmanager
async def driver(server: Server, name: str, rows: Rows) -> AsyncIterator[tuple[Any, Any]]:
    """A client's `table`, and what makes what it sends of the rows' values."""
    if name == "sql":
        async with open_sql_client([server], [server], 4, Layout.of(rows)) as client:
            yield client.table, None
        return
    assert rows.columns_declared is not None
    reader = trio_hs.Server("inet", server.host, server.read_port, secret=server.read_secret)
    writer = trio_hs.Server("inet", server.host, server.write_port, secret=server.write_secret)
    async with trio_hs.open_manager([reader], [writer], encoding=ENCODING) as hs:
        yield hs.table, sent_by_handlersocket(rows.columns_declared)


def in_bytes(answer: Any) -> Any:
    """The values in rows as bytes, as both drivers give them to `Rows`."""
    if not isinstance(answer, list) or len(answer) == 0:
        return answer
    return [bytes_of(row) for row in answer] if isinstance(answer[0], list) else bytes_of(answer)


async def told_by(server: Server, name: str, scenario: Scenario) -> list[Any]:
    """What this driver answers to some hundred operations, one after the other, and all rows afterwards."""
    rng, rows = random.Random(1), rows_of(scenario)
    counts = {spec.name: spec.count for spec in scenario.operations}
    told: list[Any] = []
    await fill(server, scenario)
    async with driver(server, name, rows) as (table_of, as_):
        bound = bind(table_of, scenario, rows, Numbers(scenario, 1, 0), as_=as_)
        for operation in rng.choices(list(bound), k=400):
            drawn: Any = rng.randint(1, 60)
            if count := counts[operation]:
                drawn = [rng.randint(1, 65) for _ in range(count)]
            intent = Intent()
            intent.operation, intent.key = bound[operation].code, drawn
            answer = await bound[operation].call(drawn, intent)
            observe = bound[operation].observe
            seen = observe(intent.key, answer) if observe is not None else None
            assert seen is None or seen[1] not in (-2, -4), (operation, drawn, answer, "no such row was written")
            told.append((operation, drawn, in_bytes(answer), seen, intent.operation, intent.key, intent.value))
    everything = f"SELECT * FROM drill.{scenario.table.name} ORDER BY {', '.join(map(quoted, rows.primary))}"
    return [*told, *[list(row.values()) for row in await execute_sql(server, everything)]]


@pytest.mark.parametrize("text", [EVERY_TYPE, BY_UUID, BY_SET], ids=["every type", "by uuid", "by set"])
async def test_both_drivers_do_the_same_on_any_table(text: str, cluster: Cluster) -> None:
    scenario = parse_scenario(text, "s.yaml")
    writer = cluster.writer
    try:
        by_sql = await told_by(writer, "sql", scenario)
        by_handlersocket = await told_by(writer, "handlersocket", scenario)
        for one, other in zip(by_sql, by_handlersocket, strict=True):
            assert one == other
        assert {name for name, *_ in by_sql[:400]} == {spec.name for spec in scenario.operations}
        steps = {name: {value for one, *_, value in by_sql[:400] if one == name} for name in ("sell", "use")}
        assert all(0 in values for name, values in steps.items() if name in {one for one, *_ in by_sql[:400]}), steps
        rows = rows_of(scenario)
        assert [state.wrong for row in by_sql[400:] if (state := rows.state(row)).wrong] == []
    finally:
        await execute_sql(writer, f"DROP TABLE IF EXISTS drill.{scenario.table.name}")


async def test_a_find_reads_a_range_of_its_index_and_sorts_nothing(cluster: Cluster) -> None:
    scenario = parse_scenario(EVERY_TYPE, "s.yaml")
    rows, writer = rows_of(scenario), cluster.writer
    layout = Layout.of(rows)
    try:
        await fill(writer, scenario)
        for spec in scenario.operations:
            if spec.do != "find":
                continue
            table = SqlTable(SimpleNamespace(), layout, "drill", "every_type", spec.columns, spec.index)
            for number in range(1, 20):
                statement, given = table.find_statement(spec.operation, rows.maker(spec.by)(number, 0), spec.limit)
                (plan,) = await execute_sql(writer, f"EXPLAIN {statement.with_literals(given)}")
                extra = str(plan["Extra"])
                assert "filesort" not in extra, (spec.name, plan)
                assert "Impossible WHERE" in extra or plan["key"] == (spec.index or "PRIMARY"), (spec.name, plan)
    finally:
        await execute_sql(writer, "DROP TABLE IF EXISTS drill.every_type")


SHOP = """\
name: shop
cluster: {kind: mariadb, readers: 1}
table:
  database: shop
  name: products
  rows: 200
  columns:
    id: {type: bigint unsigned, values: sequence}
    category: {type: varchar(20), values: {choice: {books: 5, music: 3, toys: 2}}}
    price: {type: "decimal(10,2)", values: {between: [1, 999]}}
    name: {type: varchar(80), values: {text: {min: 10, max: 60}}}
    views: {type: int unsigned, values: 0}
    note: {type: varchar(60), values: version}
  primary: [id]
  indexes: {by_price: [category, price]}
load: {users: 8, duration: 2s, think_time: 20ms}
mix:
  product page: {do: get, columns: [id, name, price, views, note], weight: 50}
  category list: {do: find, index: by_price, by: [category], columns: [id, price, note], limit: 20, weight: 15}
  count view: {do: incr, column: views, weight: 10}
  rename: {do: update, set: [name, note], weight: 10}
  new product: {do: insert, weight: 5}
  sold out: {do: delete, weight: 2}
audit: {reads: 1}
expect: {errors: 0, lost: 0, applied_twice: 0, replicas_agree: true}
"""


def test_runs_on_a_table_of_ones_own_by_both_drivers_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    through = "cluster: {kind: mariadb, readers: 1, topology: write-through}"
    by_handlersocket = SHOP.replace("cluster: {kind: mariadb, readers: 1}", through)
    with (
        Locust("--headless", "--only-summary", scenario=by_handlersocket) as one,
        Locust("--headless", "--only-summary", scenario=f"{SHOP}driver: sql\n") as other,
    ):
        assert one.finish() == 0, one.describe()
        assert other.finish() == 0, other.describe()
        assert command.main(["compare", str(one.run), str(other.run)]) == 0
        judged = json.loads((other.run / "result.json").read_text())
    assert judged["operations"].keys() == {*Scenario.model_validate(yaml.safe_load(SHOP)).weights, "all"}
    shown = capsys.readouterr().out
    assert re.search(r"product page +whole run +[\d,]+ → [\d,]+", shown), shown
    assert re.search(r"driver\.name +handlersocket +sql", shown), shown
