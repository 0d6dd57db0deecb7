"""Tables with declared columns: what they send, and that every accepted value comes back from a real server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trio_hs
from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.support.amount import amount
from tests.trio_hs.support.declarations import CASES, IDS, Case
from tests.trio_hs.support.fake import FakeServer
from tests.trio_hs.support.real_servers import manager, release
from trio_hs import Column, Columns, DeclaredTable, Filter, Manager
from trio_hs._columns._charsets import CHARSETS, Charset

TRUCKS = Columns(
    [
        Column("id", "int", unsigned=True, auto_increment=True),
        Column("company", "varchar", length=5),
        Column("price", "decimal", precision=5, scale=2, nullable=True),
        Column("wheels", "tinyint", default=6),
        Column("added", "datetime", default_is_expression=True),
        Column("label", "varchar", length=3, charset="latin1", nullable=True, default="é"),
        Column("photo", "blob", nullable=True),
        Column("total", "bigint", unsigned=True, nullable=True),
        Column("twice", "int", nullable=True, generated="virtual"),
        Column("secret", "int", nullable=True, invisible=True),
    ],
    indexes={"PRIMARY": ("id",), "company": ("company", "wheels"), "label": (("label", 2),)},
)


# ---- what is sent ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)


@pytest.fixture
async def fake(server: FakeServer) -> AsyncIterator[Manager]:
    async with trio_hs.open_manager([("inet", "r", 1)], [("inet", "w", 1)], connect=server.connect) as opened:
        yield opened


async def test_the_handle_of_a_declared_table(fake: Manager) -> None:
    table = fake.table("cars", "trucks", columns=TRUCKS)
    assert isinstance(table, DeclaredTable)
    assert table.fields == ("id", "company", "price", "wheels", "added", "label", "photo", "total")
    assert table.columns is TRUCKS
    again = Columns(TRUCKS, {"PRIMARY": ["id"], "company": ["company", "wheels"], "label": [("label", 2)]})
    assert table is fake.table("cars", "trucks", columns=again)
    assert table is not fake.table("cars", "trucks", table.fields)
    assert repr(table) == (
        "<DeclaredTable <Index cars.trucks PRIMARY (id, company, price, wheels, added, label, photo, total)>>"
    )
    with pytest.raises(ValueError, match="no column 'nope'; the declared ones are id, company"):
        fake.table("cars", "trucks", ["nope"], columns=TRUCKS)
    with pytest.raises(ValueError, match="no index 'nope'; the declared ones are PRIMARY, company, label"):
        fake.table("cars", "trucks", ["id"], "nope", columns=TRUCKS)
    with pytest.raises(TypeError, match="fields must be a list of column names, or columns must declare them"):
        fake.table("cars", "trucks")  # type: ignore[call-overload]


async def test_an_insert_names_every_column_that_the_server_would_zero(fake: Manager, server: FakeServer) -> None:
    table = fake.table("cars", "trucks", ["company", "added"], columns=TRUCKS)
    added = datetime(2024, 1, 2, 3, 4, 5)
    assert await table.insert(["MAN", added]) == 1
    opened = b"P\t0\tcars\ttrucks\tPRIMARY\tcompany,added,price,wheels,label,photo,total,secret"
    row = b"0\t+\t8\tMAN\t2024-01-02 03:04:05\t\0\t6\t\xe9\t\0\t\0\t\0"
    assert server.lines[-2:] == [opened, row]
    await table.insert_many([["MAN", added], ["DAF", added]])
    assert server.lines[-2:] == [row, row.replace(b"MAN", b"DAF")]


async def test_an_insert_of_all_columns_needs_no_second_index(fake: Manager, server: FakeServer) -> None:
    columns = Columns([Column("id", "int", auto_increment=True), Column("n", "int")], {"PRIMARY": ["id"]})
    table = fake.table("d", "t", columns=columns)
    await table.insert([None, 5])
    await table.update("=", [1], [2, 6])
    assert server.lines[-3:] == [b"P\t0\td\tt\tPRIMARY\tid,n", b"0\t+\t2\t\0\t5", b"0\t=\t1\t1\t1\t0\tU\t2\t6"]


async def test_look_ups_go_out_in_the_charset_of_the_keys_column(fake: Manager, server: FakeServer) -> None:
    server.answer = lambda line: b"0\t1\n"
    table = fake.table("cars", "trucks", ["id"], "label", columns=TRUCKS)
    await table.get("é")
    await table.find("=", [], in_=(0, ["a", "é"]))
    label = Filter("label", "=", "éé")
    await table.find(">=", ["é"], 3, filters=[label, Filter("photo", "!=", None)])
    assert server.requests == [
        b"0\t=\t1\t\xe9",
        b"0\t=\t1\t\t2\t0\t@\t0\t2\ta\t\xe9",
        b"1\t>=\t1\t\xe9\t3\t0\tF\t=\t0\t\xe9\xe9\tF\t!=\t1\t\0",
    ]


def _table(fake: Manager, fields: list[str], index_name: str | None = None, columns: Columns = TRUCKS) -> DeclaredTable:
    return fake.table("cars", "trucks", fields, index_name, columns=columns)


STORED = Columns([Column("id", "int"), Column("s", "int", generated="stored")], {"PRIMARY": ["id"]})
INDEXED = Columns([Column("id", "int"), Column("v", "int", generated="virtual")], {"PRIMARY": ["id"], "v": ["v"]})
MANY = Columns([Column("id", "int"), *[Column(f"c{n}", "int", nullable=True) for n in range(32)]], {"PRIMARY": ["id"]})

REFUSED: list[tuple[Callable[[Manager], Awaitable[object]], str]] = [
    (lambda hs: _table(hs, ["id"]).get("1"), r"column id \(int\) takes an int, not str"),
    (lambda hs: _table(hs, ["id"]).get(None), "column id is NOT NULL"),
    (lambda hs: _table(hs, ["id"]).get_many([1, -1]), r"values\[1\]: column id .* takes 0 to 4294967295, not -1"),
    (lambda hs: _table(hs, ["id"]).get_many("1"), "values must be a list of values, not one str"),
    (lambda hs: _table(hs, ["id"], "company").get("Scania"), "column company .* takes 5 characters, not 6"),
    (lambda hs: _table(hs, ["id"], "label").get("ab"), "also find what only begins like it"),
    (lambda hs: _table(hs, ["id"]).find("=", [1, 2]), "values holds 2 values, but the index PRIMARY has 1 column"),
    (lambda hs: _table(hs, ["id"], "company").find("=", ["a", 200]), "column wheels .* takes -128 to 127"),
    (lambda hs: _table(hs, ["id"]).find("=", [], in_=(0, [1, None])), r"in_\[1\]: cannot be None"),
    (lambda hs: _table(hs, ["id"]).find("=", [], in_=(0, [*range(2000), -1])), r"in_\[2000\]: column id .* takes"),
    (lambda hs: _table(hs, ["id"]).find("=", [], in_=(0, "12")), "in_ must be a list of values"),
    (lambda hs: _table(hs, ["id"]).find("=", [], in_=(1, [1])), "not by 1: the index PRIMARY has 1 column"),
    (lambda hs: _table(hs, ["id"]).find("=", [], in_=("id", [1])), "not by 'id'"),  # type: ignore[arg-type]
    (lambda hs: _table(hs, ["id"]).find("~", [1]), "operation must be one of"),  # type: ignore[arg-type]
    (lambda hs: _table(hs, ["id"]).find("=", [1], filters=[Filter("price", "=", 1.5)]), "column price .* takes a Decimal"),
    (lambda hs: _table(hs, ["id"]).find("=", [1], filters=[Filter("photo", "=", b"x")]), "only filters on NULL"),
    (lambda hs: _table(hs, ["id"]).find("=", [1], filters=[Filter(0, "=", 1)]), "a filter names its column, not 0"),
    (lambda hs: _table(hs, ["id"]).find("=", [1], filters=[Filter("x", "=", 1)]), "there is no column 'x'"),
    (lambda hs: _table(hs, ["id", "company"]).insert([1, "DAF"]), "insert needs a value for added: NOT NULL"),
    (lambda hs: _table(hs, ["added"]).insert([date(2024, 1, 1)]), "insert needs a value for company"),
    (lambda hs: hs.table("cars", "trucks", columns=TRUCKS).insert([1]), "insert takes one value per field: 8 fields, 1 value"),
    (lambda hs: _table(hs, ["id"], columns=STORED).insert([1]), "does not compute the stored column s"),
    (lambda hs: _table(hs, ["id"], columns=STORED).update("=", [1], [2]), "does not compute the stored column s"),
    (lambda hs: _table(hs, ["id"], columns=STORED).incr("=", [1]), "does not compute the stored column s"),
    (lambda hs: _table(hs, ["id"], columns=INDEXED).insert([1]), "index v covers the virtual column v"),
    (lambda hs: _table(hs, ["id"], columns=INDEXED).update("=", [1], [2]), "index v covers the virtual column v"),
    (lambda hs: _table(hs, ["id"], columns=INDEXED).delete("=", [1]), "index v covers the virtual column v"),
    (lambda hs: _table(hs, ["id"], columns=MANY).insert([1]), "at most 32 columns, not 33"),
    (lambda hs: _table(hs, ["twice"]).update("=", [1], [2]), "the field twice is generated"),
    (lambda hs: _table(hs, ["company"]).update("=", [1], [None]), "column company is NOT NULL"),
    (lambda hs: _table(hs, ["company"]).update("=", [1], []), "update_values must hold one value per field: 1 field, 0 values"),
    (lambda hs: _table(hs, ["company"]).update("=", [1], "a"), "update_values must be a list of values"),
    (lambda hs: _table(hs, ["price"]).incr("=", [1]), "column price is a decimal: the server adds whole numbers"),
    (lambda hs: _table(hs, ["total"]).decr("=", [1]), "column total is a bigint unsigned"),
    (lambda hs: _table(hs, ["wheels"]).incr("=", [1], ["1"]), "the step of column wheels must be an int, not str"),
    (lambda hs: _table(hs, ["wheels"]).incr("=", [1], [None]), "the step of column wheels must be an int, not NoneType"),
    (lambda hs: _table(hs, ["wheels"]).incr("=", [1], [128]), "takes -128 to 127"),
    (lambda hs: _table(hs, ["wheels"]).incr("=", [1], [1, 1]), "incr takes one step per field: 1 field, 2 steps"),
    (lambda hs: _table(hs, ["id"], "company").decr("=", ["DAF"], [-1]), "id is unsigned: add or subtract a step of 0 or more"),
    (lambda hs: _table(hs, ["wheels"], "company").incr(">", ["DAF"], limit=2), "changes column wheels of the index company"),
    (lambda hs: _table(hs, ["id"]).decr("=", [], in_=(0, [1, 2])), "changes column id of the index PRIMARY"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", REFUSED, ids=[message for _, message in REFUSED])
async def test_wrong_arguments_are_refused_before_anything_is_sent(
    fake: Manager, server: FakeServer, call: Callable[[Manager], Awaitable[object]], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        await call(fake)
    assert server.lines == []


async def test_one_bad_row_stops_insert_many_before_anything_is_sent(fake: Manager, server: FakeServer) -> None:
    columns = Columns([Column("id", "int", auto_increment=True)], {"PRIMARY": ["id"]})
    table = fake.table("d", "t", columns=columns)
    with pytest.raises(ValueError, match="row 1: column id is auto_increment: the server would take 0"):
        await table.insert_many([[1], [0], [2]])
    with pytest.raises(TypeError, match="row 0: values must be a list"):
        await table.insert_many(["1"])
    assert server.lines == []


async def test_increments_of_what_is_not_searched(fake: Manager, server: FakeServer) -> None:
    table = fake.table("cars", "trucks", ["wheels"], columns=TRUCKS)
    assert await table.incr(">", [1], limit=5) == 1
    assert await table.decr("=", [], [2], in_=(0, [1, 2])) == 1
    assert await fake.table("cars", "trucks", ["id"], columns=TRUCKS).incr("=", [1]) == 1
    assert server.requests == [b"0\t>\t1\t1\t5\t0\t+\t1", b"0\t=\t1\t\t2\t0\t@\t0\t2\t1\t2\t-\t2", b"1\t=\t1\t1\t1\t0\t+\t1"]


async def test_a_stored_value_that_does_not_fit_the_declaration_is_a_decoding_error(fake: Manager, server: FakeServer) -> None:
    server.answer = lambda line: b"0\t1\n" if line[:1] in (b"A", b"P") else b"0\t2\t1\t0000-00-00 00:00:00\n"
    with pytest.raises(trio_hs.DecodingError, match=r"column added: .* is not a value of datetime that Python can hold"):
        await fake.table("cars", "trucks", ["id", "added"], columns=TRUCKS).get(1)


async def test_many_rows_are_typed_like_one(fake: Manager) -> None:
    table = fake.table("cars", "trucks", ["id"], columns=TRUCKS)
    assert await table.get_many(range(500)) == [[("id", number)] for number in range(500)]


async def test_writes_go_to_the_twin(nursery: trio.Nursery, server: FakeServer) -> None:
    columns = Columns([Column("id", "int"), Column("n", "int", nullable=True)], {"PRIMARY": ["id"]})
    async with trio_hs.open_manager(
        [("inet", "r", 1)], [("inet", "w", 1)], connect=server.connect, write_databases={"d": "d_wt"}
    ) as hs:
        await hs.table("d", "t", ["id"], columns=columns).insert([1])
    assert b"P\t0\td_wt\tt\tPRIMARY\tid,n" in server.lines


# ---- the real server -------------------------------------------------------------------------------------------------


@pytest.fixture
async def hs(cluster: Cluster) -> AsyncIterator[Manager]:
    await execute_sql(cluster.writer, "CREATE DATABASE declared CHARACTER SET utf8mb4")
    async with manager(cluster) as opened:
        yield opened
    await execute_sql(cluster.writer, "DROP DATABASE declared")


def _from_sql(column: Column, value: Any) -> Any:
    """A value from PyMySQL, converted to the column's type."""
    if column.type == "bit":
        return int.from_bytes(value, "big")
    if column.type == "set":
        return frozenset(value.split(",")) if value else frozenset()
    if column.type == "uuid":
        return uuid.UUID(value)
    if column.type in ("inet4", "inet6"):
        return ip_address(value)
    return value


@pytest.fixture(scope="module")
def accepted(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a database for the tables of `test_every_accepted_value_comes_back_equal`."""
    trio.run(execute_sql, cluster.writer, "CREATE DATABASE accepted CHARACTER SET utf8mb4")
    yield cluster
    trio.run(execute_sql, cluster.writer, "DROP DATABASE accepted")


@pytest.mark.mariadb
@pytest.mark.parametrize("case", CASES, ids=IDS)
@settings(max_examples=amount(2, 3), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_every_accepted_value_comes_back_equal(accepted: Cluster, case: Case, data: st.DataObject) -> None:
    """Through HandlerSocket by the primary key, by a key of the column and by a filter, and through SQL."""
    values = [*case.bounds, *data.draw(st.lists(case.values, max_size=30)), None]
    part = "v" if case.prefix is None else ("v", case.prefix)
    columns = Columns([Column("id", "int", auto_increment=True), case.column], {"PRIMARY": ("id",), "v": (part,)})
    key = "v" if case.prefix is None else f"v({case.prefix})"
    await execute_sql(
        accepted.writer,
        f"CREATE OR REPLACE TABLE accepted.t (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v {case.sql} NULL, KEY v ({key}))",
    )
    async with manager(accepted) as hs:
        table = hs.table("accepted", "t", columns=columns)
        assert await table.insert_many([[None, value] for value in values]) == list(range(1, len(values) + 1))
        assert await table.get_many(range(1, len(values) + 1)) == [
            [("id", number), ("v", value)] for number, value in enumerate(values, 1)
        ]
        by_value = hs.table("accepted", "t", ["id", "v"], "v", columns=columns)
        for number, value in enumerate(values, 1):
            if case.prefix is None or value is None or len(value) < case.prefix:
                found = await by_value.find("=", [value], limit=len(values) + 1)
                assert [("id", number), ("v", value)] in found
                if case.column.charset is None and not isinstance(value, str):  # text compares by its collation
                    assert all(row[1][1] == value for row in found)
            if not case.column.is_blob:
                assert await table.find("=", [number], filters=[Filter("v", "=", value)]) == [[("id", number), ("v", value)]]
        by_sql = await execute_sql(accepted.writer, "SELECT v FROM accepted.t ORDER BY id")
        assert [row["v"] if row["v"] is None else _from_sql(case.column, row["v"]) for row in by_sql] == values
        assert await table.update("=", [1], [1, values[-2]]) == 1
        assert await table.get(1) == [("id", 1), ("v", values[-2])]


# What the server would do with refused values: the type in SQL, the column, the value, and the token that an undeclared table
# would send.
MANGLED: list[tuple[str, Column, Any, bytes]] = [
    ("tinyint", Column("v", "tinyint"), 200, b"200"),
    ("int unsigned", Column("v", "int", unsigned=True), -1, b"-1"),
    ("decimal(5,2)", Column("v", "decimal", precision=5, scale=2), Decimal("1.005"), b"1.005"),
    ("decimal(5,2)", Column("v", "decimal", precision=5, scale=2), Decimal(1000), b"1000"),
    ("float", Column("v", "float"), 16777217.0, b"16777217.0"),
    ("float", Column("v", "float"), 1e-40, b"1e-40"),
    ("varchar(3)", Column("v", "varchar", length=3), "éééé", "éééé".encode()),
    ("varchar(3) CHARACTER SET latin1", Column("v", "varchar", length=3, charset="latin1"), "Ω", "Ω".encode()),
    ("varchar(3) CHARACTER SET utf8mb3", Column("v", "varchar", length=3, charset="utf8mb3"), "😀", "😀".encode()),
    ("char(3)", Column("v", "char", length=3), "a ", b"a "),
    ("binary(3)", Column("v", "binary", length=3), b"ab", b"ab"),
    ("tinyblob", Column("v", "tinyblob"), b"x" * 256, b"x" * 256),
    ("enum('a')", Column("v", "enum", members=["a"]), "A", b"A"),
    ("enum('a')", Column("v", "enum", members=["a"]), "b", b"b"),
    ("set('a')", Column("v", "set", members=["a"]), {"a", "b"}, b"a,b"),
    ("bit(1)", Column("v", "bit", length=1), 2, b"2"),
    ("datetime", Column("v", "datetime"), datetime(2024, 1, 1, microsecond=500000), b"2024-01-01 00:00:00.5"),
    ("timestamp", Column("v", "timestamp"), datetime(1970, 1, 1), b"1970-01-01 00:00:00"),
    ("uuid", Column("v", "uuid"), uuid.UUID("d34923a2-4d4b-cd7e-296d-7e83b47a99c9"), b"\xd3I#\xa2MK\xcd~)m~\x83\xb4z\x99\xc9"),
    ("time", Column("v", "time"), timedelta(hours=900), b"900:00:00"),
    ("year", Column("v", "year"), 1900, b"1900"),
]  # fmt: skip


@pytest.mark.mariadb
async def test_timestamps_until_2106(hs: Manager, cluster: Cluster) -> None:
    """MariaDB stores them since 11.5, up to the declared bound in every time zone; older servers store zero."""
    await execute_sql(cluster.writer, "CREATE TABLE declared.late (id INT PRIMARY KEY, v TIMESTAMP(6) NOT NULL)")
    column = Column("v", "timestamp", precision=6, until_2106=True)
    late = hs.table("declared", "late", columns=Columns([Column("id", "int"), column], {"PRIMARY": ["id"]}))
    for number, value in enumerate((datetime(2038, 1, 19, 3, 14, 8), datetime(2106, 2, 6, 18, 28, 15, 999999))):
        await late.insert([number, value])
        if release(cluster) >= (11, 5):
            assert await late.get(number) == [("id", number), ("v", value)]
        else:
            stored = await hs.table("declared", "late", ["v"]).get(number)
            assert stored == [("v", f"{'1970-01-01' if value.microsecond else '0000-00-00'} 00:00:00.{value.microsecond:06}")]


@pytest.mark.mariadb
async def test_the_server_would_mangle_every_refused_value(hs: Manager, cluster: Cluster) -> None:
    for number, (sql, column, value, sent) in enumerate(MANGLED):
        name = f"m{number}"
        await execute_sql(cluster.writer, f"CREATE TABLE declared.{name} (id INT PRIMARY KEY, v {sql} NOT NULL)")
        columns = Columns([Column("id", "int"), column], {"PRIMARY": ["id"]})
        table = hs.table("declared", name, columns=columns)
        with pytest.raises(ValueError, match="column v"):
            await table.insert([1, value])
        await hs.table("declared", name, ["id", "v"]).insert([1, sent])
        try:
            assert (await table.get(1))[1][1] != value, sql
        except trio_hs.DecodingError:
            pass  # not a value that the column could hold


@pytest.mark.mariadb
async def test_a_key_that_is_too_long_would_find_another_row(hs: Manager, cluster: Cluster) -> None:
    await execute_sql(cluster.writer, "CREATE TABLE declared.k (k VARCHAR(3) NOT NULL PRIMARY KEY, t TEXT NULL, KEY t (t(2)))")
    columns = Columns(
        [Column("k", "varchar", length=3), Column("t", "text", nullable=True)], {"PRIMARY": ["k"], "t": [("t", 2)]}
    )
    await hs.table("declared", "k", columns=columns).insert(["too", "abc"])
    assert await hs.table("declared", "k", ["k"]).get("toolong") == [("k", "too")]
    assert await hs.table("declared", "k", ["k"], "t").get("abxyz") == [("k", "too")]
    with pytest.raises(ValueError, match="takes 3 characters, not 7"):
        await hs.table("declared", "k", columns=columns).get("toolong")
    with pytest.raises(ValueError, match="only begins like it"):
        await hs.table("declared", "k", ["k"], "t", columns=columns).get("abxyz")


@pytest.mark.mariadb
async def test_inserts_fill_the_rest_with_defaults_and_null(hs: Manager, cluster: Cluster) -> None:
    await execute_sql(
        cluster.writer,
        "CREATE TABLE declared.trucks (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, company VARCHAR(5) NOT NULL,"
        " price DECIMAL(5,2) NULL, wheels TINYINT NOT NULL DEFAULT 6, added DATETIME NOT NULL DEFAULT current_timestamp(),"
        " label VARCHAR(3) CHARACTER SET latin1 NULL DEFAULT 'é', photo BLOB NULL, total BIGINT UNSIGNED NULL,"
        " twice INT AS (wheels * 2) VIRTUAL, secret INT NULL INVISIBLE, KEY company (company, wheels), KEY label (label(2)))",
    )
    added = datetime(2024, 1, 2, 3, 4, 5)
    table = hs.table("declared", "trucks", ["company", "added"], columns=TRUCKS)
    assert await table.insert(["MAN", added]) == 1
    assert await hs.table("declared", "trucks", ["company", "added"]).insert(["DAF", "2024-01-02"]) == 2
    whole = ["price", "wheels", "label", "photo", "total", "twice", "secret"]
    rows = hs.table("declared", "trucks", whole, columns=TRUCKS)
    assert [value for _, value in await rows.get(1)] == [None, 6, "é", None, None, 12, None]
    assert [value for _, value in await rows.get(2)] == [Decimal(0), 6, "é", b"", 0, 12, 0]  # not what SQL would do
    everything = hs.table("declared", "trucks", columns=TRUCKS)
    assert await everything.insert([None, "DAF", Decimal("1.5"), 4, added, None, b"\0", 2**64 - 1]) == 3
    assert await everything.insert([9, "DAF", 2, 4, added, "x", None, None]) is None
    assert dict(await everything.get(3)) == {
        "id": 3, "company": "DAF", "price": Decimal("1.5"), "wheels": 4, "added": added, "label": None,
        "photo": b"\0", "total": 2**64 - 1,
    }  # fmt: skip


@pytest.mark.mariadb
async def test_modifications_give_back_python_types(hs: Manager, cluster: Cluster) -> None:
    await execute_sql(cluster.writer, "CREATE TABLE declared.n (id INT PRIMARY KEY, u INT UNSIGNED NULL, d DATE NULL)")
    columns = Columns(
        [Column("id", "int"), Column("u", "int", unsigned=True, nullable=True), Column("d", "date", nullable=True)],
        {"PRIMARY": ["id"]},
    )
    table = hs.table("declared", "n", columns=columns)
    await table.insert_many([[1, 5, date(2024, 2, 29)], [2, None, None]])
    counter = hs.table("declared", "n", ["u"], columns=columns)
    assert await counter.incr(">", [0], [7], 9, return_original=True) == [5, None]
    assert await counter.decr("=", [1], [20], return_original=True) == [12]  # would cross zero: unchanged
    assert await counter.get(1) == [("u", 12)]
    first = [("id", 1), ("u", 12), ("d", date(2024, 2, 29))]
    assert await table.update("=", [1], [1, None, date.max], return_original=True) == [first]
    assert await table.delete("=", [], return_original=True, in_=(0, [1, 2])) == [
        [("id", 1), ("u", None), ("d", date.max)],
        [("id", 2), ("u", None), ("d", None)],
    ]


@pytest.mark.mariadb
async def test_zero_and_null_ask_for_the_next_number(hs: Manager, cluster: Cluster) -> None:
    """Why 0 is refused for an auto_increment column, and None is not."""
    await execute_sql(cluster.writer, "CREATE TABLE declared.a (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY)")
    plain = hs.table("declared", "a", ["id"])
    assert [await plain.insert([value]) for value in (None, 0, 7, None)] == [1, 2, None, 8]


@pytest.mark.mariadb
async def test_an_index_on_a_virtual_column_is_corrupted(hs: Manager, cluster: Cluster) -> None:
    """Why writes to such a table are refused."""
    await execute_sql(
        cluster.writer, "CREATE TABLE declared.v (id INT PRIMARY KEY, n INT, v INT AS (n + 1) VIRTUAL, KEY v (v))"
    )
    await hs.table("declared", "v", ["id", "n"]).insert([1, 10])
    assert await hs.get("declared", "v", ["v"], 1) == [("v", "11")]
    assert await hs.find("declared", "v", "=", ["id"], [11], "v") == []
    assert await execute_sql(cluster.writer, "SELECT id FROM declared.v FORCE INDEX (v) WHERE v = 11") == []


@pytest.mark.mariadb
async def test_uuids_that_mariadb_refuses_are_refused(cluster: Cluster) -> None:
    """For every value of the two bytes that MariaDB looks at, we refuse exactly the UUIDs that SQL refuses."""
    text = "CONCAT('01234567-89ab-', LPAD(HEX(seq DIV 256), 2, '0'), '11-', LPAD(HEX(seq MOD 256), 2, '0'), '11-111111111111')"
    query = f"SELECT {text} AS u FROM mysql.seq_0_to_65535 WHERE CAST({text} AS UUID) IS NULL"
    by_server = {row["u"].lower() for row in await execute_sql(cluster.writer, query)}
    column, by_us = Column("v", "uuid"), set()
    for number in range(65536):
        value = uuid.UUID(f"01234567-89ab-{number // 256:02x}11-{number % 256:02x}11-111111111111")
        try:
            column.encode(value)
        except ValueError:
            by_us.add(str(value))
    assert by_us == by_server


@pytest.mark.mariadb
async def test_charsets_agree_with_the_server_on_every_byte(cluster: Cluster) -> None:
    """Compared as the server converts them to UTF-32; small charsets byte by byte."""
    for name in CHARSETS:
        charset = Charset(name)
        if name.startswith(("u", "ucs")):
            texts = ["aé\uffff"]
        else:
            texts = []
            for byte in range(256):
                try:
                    texts.append(charset.decode(bytes((byte,))))
                except UnicodeDecodeError:
                    continue
        assert len(texts) in (1, 128, 251, 255, 256), name
        data = b"".join(map(charset.encode, texts)).hex()
        (row,) = await execute_sql(cluster.writer, f"SELECT HEX(CONVERT(CONVERT(x'{data}' USING {name}) USING utf32)) AS h")
        assert bytes.fromhex(row["h"]).decode("utf-32-be") == "".join(texts), name
