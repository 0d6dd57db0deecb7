"""Scans of real MariaDB: through columns of every type, through any index, and while others insert and delete."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any

import pytest
import trio

from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.amount import amount
from tests.trio_hs.support.declarations import CASES
from tests.trio_hs.support.real_servers import manager
from tests.trio_hs.support.scans import COLUMNS, KEYS, TEXTS, may_go, row_of
from trio_hs import Column, Columns, DeclaredTable, DecodingError, Filter, IndexPart, Manager
from trio_hs.testing import Table

pytestmark = pytest.mark.mariadb

DATABASE = "scans"


@pytest.fixture
async def hs(cluster: Cluster) -> AsyncIterator[Manager]:
    await execute_sql(cluster.writer, f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
    async with manager(cluster) as opened:
        yield opened
    await execute_sql(cluster.writer, f"DROP DATABASE {DATABASE}")


async def test_a_scan_through_a_column_of_each_type_finds_every_row(hs: Manager, cluster: Cluster) -> None:
    """What the server returns of a key finds the same place again, and nothing is below or above where a scan begins."""
    cases = [case for case in CASES if case.column.type != "float"]
    step = 20
    for begin in range(0, len(cases), step):
        part = cases[begin : begin + step]
        fields = [(f"c{number}", case) for number, case in enumerate(part)]
        sql = [
            f"{name} {case.sql} NULL, KEY {name} ({name}{f'({case.prefix})' if case.prefix else ''})" for name, case in fields
        ]
        table = f"t{begin}"
        await execute_sql(
            cluster.writer,
            f"CREATE TABLE {DATABASE}.{table} (id INT NOT NULL PRIMARY KEY, {', '.join(sql)}) ROW_FORMAT=DYNAMIC",
        )
        indexes: dict[str, list[IndexPart]] = {"PRIMARY": ["id"]}
        indexes |= {name: [(name, case.prefix) if case.prefix else name] for name, case in fields}
        columns = Columns([Column("id", "int"), *[renamed(case.column, name) for name, case in fields]], indexes)
        ids = range(1, 13)
        rows = [[id, *[short([*case.bounds, None][id % (len(case.bounds) + 1)]) for _, case in fields]] for id in ids]
        assert await hs.table(DATABASE, table, columns=columns).insert_many(rows) == [None] * len(rows)
        for name, case in fields:
            handle = hs.table(DATABASE, table, ["id"], name, columns=columns, row=identity)
            forwards = [id async for id in handle.scan(5, timestamps_in_utc=True)]
            assert sorted(forwards) == list(ids), case.sql
            assert [id async for id in handle.scan(2, timestamps_in_utc=True)] == forwards, case.sql
            if case.prefix is None:
                assert [id async for id in handle.scan(2, backwards=True, timestamps_in_utc=True)] == forwards[::-1], case.sql
                await require_halves(handle, case.bounds[:3], forwards)
            await survive_forgeries(handle)


async def require_halves(handle: DeclaredTable[int], bounds: Sequence[Any], forwards: list[int]) -> None:
    """What is before a value, and what is from it on, is everything: filters compare as the index does."""
    for backwards in (False, True):
        for bound in bounds:
            options: dict[str, Any] = {"backwards": backwards, "timestamps_in_utc": True}
            before = [id async for id in handle.scan(5, stop=[bound], **options)]
            behind = [id async for id in handle.scan(5, start=[bound], **options)]
            assert before + behind == (forwards[::-1] if backwards else forwards), (handle, bound)
            assert behind


async def survive_forgeries(handle: DeclaredTable[int]) -> None:
    """Values that such a column cannot have find a place, or none, and the server lives."""
    order = handle.scan(timestamps_in_utc=True)._order
    for mark in (b"", b"x", b"\xff" * 300, b"-99999999999999999999", b"2024-13-32 99:99:99"):
        page = handle.scan(5, after=order.position([mark, b"x"]), timestamps_in_utc=True).page()
        assert len(await page) <= 5


def renamed(column: Column, name: str) -> Column:
    given = {one: getattr(column, one) for one in Column.__dataclass_fields__ if one not in ("name", "_type")}
    return Column(name, **given)


def short(value: Any) -> Any:
    return value[:300] if isinstance(value, str | bytes) else value


def identity(id: int) -> int:
    return id


def as_list(p: int, q: int, a: int | None, s: str, n: int, u: int | None, v: int) -> list[Any]:
    return [p, q, a, s, n, u, v]


async def test_any_scan_while_others_insert_and_delete(hs: Manager, cluster: Cluster) -> None:
    """The order is the server's own. Of rows that stay, each is given once; of the others, each at most once."""
    await execute_sql(
        cluster.writer,
        Table.from_columns(DATABASE, "t", COLUMNS).sql().replace("utf8mb4", "utf8mb4 COLLATE utf8mb4_general_ci"),
    )
    writer = hs.table(DATABASE, "t", columns=COLUMNS)
    for _ in range(amount(25, 1_000)):
        seed = random.SystemRandom().getrandbits(32)
        rng = random.Random(seed)
        await writer.delete(">=", [-1], 1000)
        keys = rng.sample(KEYS, 14)
        rows = {key: random_row(rng, key) for key in keys}
        await writer.insert_many(list(rows.values()))
        staying = {key: rows[key] for key in keys[:8]}
        for index in COLUMNS.indexes:
            handle = hs.table(DATABASE, "t", None, index, columns=COLUMNS, row=as_list)
            for backwards in (False, True):
                if may_go(index, backwards=backwards):
                    await scan_while_others_write(rng, handle, writer, backwards, staying, f"{index} {backwards} {seed}")


def random_row(rng: random.Random, key: tuple[int, int]) -> list[Any]:
    return row_of(key, rng.choice([None, -1, 0, 1]), rng.choice(TEXTS), rng.randint(-2, 2), rng.random() < 0.5)


async def scan_while_others_write(
    rng: random.Random,
    handle: DeclaredTable[list[Any]],
    writer: DeclaredTable,
    backwards: bool,
    staying: dict[tuple[int, int], list[Any]],
    what: str,
) -> None:
    others = [key for key in KEYS if key not in staying]
    written: list[list[Any]] = []

    ended = False

    async def write() -> None:
        while not ended:  # not cancelled: a write that is under way then may be applied while the next scan runs
            key = rng.choice(others)
            if rng.random() < 0.5:
                await writer.delete("=", key)
            else:
                written.append(random_row(rng, key))
                await writer.insert_many([written[-1]])

    before = [row async for row in handle.scan(1000, backwards=backwards)]
    found: list[list[Any]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        scan = handle.scan(rng.randint(1, 4), backwards=backwards)
        while page := await scan.page():
            found += page
            assert len(found) <= len(before) + len(written), f"it does not end: {what}"
            if rng.random() < 0.5:
                scan = handle.scan(rng.randint(1, 4), backwards=backwards, after=scan.position)
        ended = True
    assert sorted(map(repr, before)) == sorted(set(map(repr, before))), what
    assert [row for row in found if key_of(row) in staying] == [row for row in before if key_of(row) in staying], what
    assert {key_of(row) for row in before} >= staying.keys(), what
    for row in found:
        assert row in before or row in written, what
    # A row that is deleted, and inserted again with another key of the index, may be given twice, as two rows.
    assert len({repr(row) for row in found}) == len(found), what


def key_of(row: Sequence[Any]) -> tuple[int, int]:
    return row[0], row[1]


async def test_ranges_are_those_of_sql(hs: Manager, cluster: Cluster) -> None:
    await execute_sql(
        cluster.writer,
        Table.from_columns(DATABASE, "t", COLUMNS).sql().replace("utf8mb4", "utf8mb4 COLLATE utf8mb4_general_ci"),
    )
    rng = random.Random(5)
    rows = [random_row(rng, key) for key in KEYS]
    await hs.table(DATABASE, "t", columns=COLUMNS).insert_many(rows)
    ranges: list[tuple[str | None, dict[str, Any], str]] = [
        (None, {"start": [1, 2], "stop": [3, 1]}, "p*10-q >= 8 AND p*10-q < 29"),
        (None, {"equal": [2], "start": [2], "stop": [0]}, "p = 2 AND q <= 2 AND q > 0"),
        (None, {"start": [3, 1], "stop": [1], "backwards": True}, "p*10-q <= 29 AND p > 1"),
        ("a", {"stop": [0]}, "a < 0 OR a IS NULL"),
        ("a", {"start": [None], "stop": [-1]}, "a IS NULL"),
        ("a_desc", {"start": [0]}, "a <= 0 OR a IS NULL"),
        ("a_desc", {"start": [None], "stop": [0], "backwards": True}, "a < 0 OR a IS NULL"),
        ("s", {"start": ["A"], "stop": ["b"]}, "s >= 'a' AND s < 'b'"),
        ("s", {"equal": ["a"]}, "s = 'a'"),
        ("s_begin", {"start": ["b"]}, "s >= 'b'"),
        ("a", {"equal": [None]}, "a IS NULL"),
        ("n_a", {"equal": [0], "stop": [None]}, "n = 0 AND a IS NOT NULL"),
        ("n_a", {"start": [-1, 0], "stop": [1, 0]}, "(n = -1 AND (a <= 0 OR a IS NULL)) OR n = 0 OR (n = 1 AND a > 0)"),
        (
            "n_a",
            {"start": [1, None], "stop": [-1, 0], "backwards": True},
            "(n = -1 AND (a < 0 OR a IS NULL)) OR n = 0 OR n = 1",
        ),
        ("a_s", {"equal": [0], "stop": ["a"]}, "a = 0 AND s > 'a'"),
        ("a_s", {"start": [None, "b"], "stop": [0, "A"]}, "(a IS NULL AND s <= 'b') OR a < 0 OR (a = 0 AND s > 'a')"),
        (
            "a_s",
            {"start": [0, "a"], "stop": [None, "ab"], "backwards": True},
            "(a IS NULL AND s < 'ab') OR a < 0 OR (a = 0 AND s >= 'a')",
        ),
        ("n_q", {"start": [0, 1], "stop": [1, 2]}, "(n = 0 AND q >= 1) OR (n = 1 AND q < 2)"),
        ("s_key", {"stop": ["a", 2]}, "s < 'a' OR (s = 'a' AND p < 2)"),
    ]
    for index, arguments, where in ranges:
        expected = await execute_sql(cluster.writer, f"SELECT p, q FROM {DATABASE}.t WHERE {where}")
        table = hs.table(DATABASE, "t", None, index, columns=COLUMNS, row=as_list)
        for chunk in (1, 3, 100):
            found = [key_of(row) async for row in table.scan(chunk, **arguments)]
            assert sorted(found) == sorted((row["p"], row["q"]) for row in expected), (index, arguments)
        few = [key_of(row) async for row in table.scan(2, filters=[Filter("n", ">", 0)], **arguments)]
        positive = [key_of(row) for row in rows if row[4] > 0]
        assert sorted(few) == sorted(key for key in found if key in positive), (index, arguments)


async def test_the_second_run_of_a_range_skips_what_others_insert_before_it(hs: Manager, cluster: Cluster) -> None:
    """Between the two runs of the range (1, 5) others insert a row with the first column 0 and a greater second one."""
    columns = Columns([Column("a", "int"), Column("b", "int")], {"PRIMARY": ["a", "b"]})
    await execute_sql(cluster.writer, Table.from_columns(DATABASE, "pairs", columns).sql())
    table = hs.table(DATABASE, "pairs", columns=columns, row=lambda a, b: (a, b))
    await table.insert_many([(0, 1), (1, 1), (1, 2), (1, 7)])
    scan = table.scan(2, stop=[1, 5])
    find, requests = scan._find, []

    async def and_insert(*arguments: Any) -> Any:
        requests.append(await find(*arguments))
        if len(requests) == 2:  # the end of the index, then the first run, which ends short
            await table.insert_many([(0, 9)])
        return requests[-1]

    scan._find = and_insert  # type: ignore[assignment,method-assign]
    assert [row async for row in scan] == [(0, 1), (1, 1), (1, 2)]


async def test_dates_that_do_not_exist(hs: Manager, cluster: Cluster) -> None:
    """The zero date is found again. Behind another one the server would begin anew."""
    columns = Columns([Column("id", "int"), Column("d", "date")], {"PRIMARY": ["id"], "d": ["d"]})
    await execute_sql(
        cluster.writer,
        Table.from_columns(DATABASE, "dates", columns).sql(),
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        f"INSERT INTO {DATABASE}.dates VALUES (1, '2023-01-01'), (2, '0000-00-00'), (3, '2024-02-31'), (4, '2024-03-01'), "
        "(5, '0000-00-00')",
    )
    table = hs.table(DATABASE, "dates", ["id"], "d", columns=columns, row=identity)
    assert [id async for id in table.scan(2, stop=[date(2024, 1, 1)])] == [2, 5, 1]
    assert [id async for id in table.scan()] == [2, 5, 1, 3, 4]
    assert [id async for id in table.scan(2, start=[date(2024, 1, 1)])] == [3, 4]
    scan = table.scan(2, backwards=True)
    assert await scan.page() == [4, 3]
    for _ in range(2):
        with pytest.raises(DecodingError, match="column d: b'2024-02-31'"):
            await scan.page()
        with pytest.raises(DecodingError, match="column d: b'2024-02-31'"):
            print(scan.position)
    assert await table.scan(3, backwards=True).page() == [4, 3, 1]
