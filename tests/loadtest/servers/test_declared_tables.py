"""Tables that a scenario declares: created, filled, written to and read back unchanged, on every kind of server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import trio

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.controller import fill_table, load_table
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, _table_checks, check_replication, execute_sql, key_of
from hs_drill.servers._opening import open_servers
from hs_drill.servers._server_table import ServerTable, handle_on, least_key, unfit
from hs_drill.servers._sql_control import _beyond, rows_by_sql
from hs_drill.servers._table_checks import require_one_zone
from hs_drill.workload import DAMAGED, FOREIGN, INITIAL, NO_COUNT, OPS, Rows, first_insert_key, loaded, rows_of
from tests.loadtest.support.declared import KEYS, ONLY_MARIADB, SHOP, TYPES, declared
from tests.loadtest.support.external import external, named
from trio_hs.testing import Table

EMULATED = TYPES.replace("character set ucs2", "character set utf8mb4")
"""An embedded server knows few character sets."""


async def read_back(control: Control, name: str, scenario: Scenario) -> list[tuple[Any, ...]]:
    table = load_table(scenario)
    found: list[tuple[Any, ...]] = []
    while page := await control.read_rows(name, table, after=key_of(table, found[-1]) if found else None, limit=37):
        found += page
        assert len(found) <= scenario.table.rows + 1, "pages go on"
    return found


async def as_bytes(server: Server, rows: Rows, scenario: Scenario, key: Sequence[Any]) -> list[Any]:
    """A row as HandlerSocket gives it, by its key."""
    spec, columns = scenario.table, rows.columns_declared
    assert columns is not None
    async with trio_hs.open_manager([read_address(server)], encoding=None) as raw:
        data = [columns.column(name).encode_data(value) for name, value in zip(rows.primary, key, strict=True)]
        (found,) = await raw.table(spec.database, spec.name, list(rows.columns)).find("=", data, 1)
    return [value for _, value in found]


async def write_and_recognise(server: Server, scenario: Scenario) -> None:
    """Each writing operation of the mix once, on two rows, through HandlerSocket."""
    rows, table = rows_of(scenario), load_table(scenario)
    spec = scenario.table
    assert rows.columns_declared is not None
    async with trio_hs.open_manager([read_address(server)], [write_address(server)]) as hs:
        for at, operation in enumerate(scenario.operations):
            version = first_insert_key(1, 2) + 5 * OPS + at
            number = version if operation.do == "insert" else 3 + at
            if operation.do == "insert":
                await handle_on(hs, table).insert(rows.row(number, version))
            elif operation.do == "update":
                changed = hs.table(spec.database, spec.name, list(operation.set), columns=rows.columns_declared)
                assert await changed.update("=", rows.key(number), rows.maker(operation.set)(number, version)) == 1
            elif operation.do == "incr":
                counter = hs.table(spec.database, spec.name, [operation.column], columns=rows.columns_declared)
                assert await counter.incr("=", rows.key(number), [operation.step]) == 1
                version = INITIAL
            else:
                continue
            found = await handle_on(hs, table).find("=", rows.key(number), 1)
            state = rows.state([value for _, value in found[0]])
            assert (state.number, state.version, state.wrong) == (number, version, ()), operation.name
            raw = await as_bytes(server, rows, scenario, rows.key(number))
            assert rows.state(raw) == state
            assert rows.observer(rows.columns)(None, raw)[:2] == (number, version)


async def find_a_stranger(control: Control, scenario: Scenario) -> None:
    """A row with the key of no run has one number, whoever reads it: HandlerSocket or SQL."""
    rows, table = rows_of(scenario), load_table(scenario)
    stranger = dict(zip(rows.columns, rows.row(7, INITIAL), strict=True))
    first, numbered = rows.primary[0], rows.primary[-1]
    if first != numbered:  # a number of ours, but its row has another value in the rest of the key
        values = [rows.key(number)[0] for number in range(1, 99)]
        stranger |= {numbered: 2**62, first: next(one for one in values if one != rows.key(2**62)[0])}
    else:
        stranger[numbered] = 0 if rows.plain else UUID(int=stranger[numbered].int ^ 1)
    server = control.cluster.writer
    async with trio_hs.open_manager([read_address(server)], [write_address(server)]) as hs:
        handle, key = handle_on(hs, table), [stranger[name] for name in rows.primary]
        await handle.insert(list(stranger.values()))
        raw = await as_bytes(server, rows, scenario, key)
        by_sql = [rows.state(row) for row in await read_back(control, server.name, scenario)]
        (found,) = [state for state in by_sql if state.number < 0]
        assert rows.observer(rows.columns)(None, raw) == (found.number, FOREIGN, NO_COUNT)
        assert rows.state(raw) == found
        assert await handle.delete("=", key) == 1


async def check_every_row(control: Control, scenario: Scenario) -> None:
    rows = rows_of(scenario)
    for server in control.cluster.servers:
        states = [rows.state(row) for row in await read_back(control, server.name, scenario)]
        assert sorted(state.number for state in states) == list(range(1, scenario.table.rows + 1))
        assert {(state.version, state.wrong) for state in states} == {(INITIAL, ())}


@pytest.mark.process
@pytest.mark.parametrize("text", [SHOP, EMULATED, KEYS], ids=["shop", "types", "keys"])
async def test_on_embedded_servers(temporary: object, text: str) -> None:
    scenario = declared(text)
    async with open_servers("embedded", readers=1, replication="semisync", topology="write-through") as control:
        await fill_table(control, scenario)
        await check_every_row(control, scenario)
        await find_a_stranger(control, scenario)
        await write_and_recognise(control.cluster.writer, scenario)


@pytest.mark.process
async def test_an_embedded_server_says_what_it_lacks(temporary: object) -> None:
    async with open_servers("embedded", readers=0) as control:
        with pytest.raises(ClusterError, match=r"types\.u, column id: the type UUID is not emulated"):
            await fill_table(control, declared(ONLY_MARIADB))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """HandlerSocket's writes do not replicate to these readers, and the check does not wait for them for long."""
    monkeypatch.setattr(check_replication, "__defaults__", (0.2,))


every_table = pytest.mark.parametrize("text", [SHOP, TYPES, ONLY_MARIADB, KEYS], ids=["shop", "types", "mariadb", "keys"])


@pytest.mark.mariadb
@pytest.mark.usefixtures("impatient")
@every_table
async def test_on_mariadb(cluster: Cluster, text: str) -> None:
    scenario = declared(text)
    spec, rows = scenario.table, rows_of(scenario)
    async with external(cluster, may_create=True) as control:
        await fill_table(control, scenario)
        await check_every_row(control, scenario)
        found = await execute_sql(cluster.writer, f"SELECT COUNT(*) AS n FROM {spec.database}.{spec.name} WHERE {rows.foreign}")
        assert found == [{"n": 0}]
        await find_a_stranger(control, scenario)
        await write_and_recognise(cluster.writer, scenario)
        # Dropped at the end, although the rows of a load are in it.
    assert not await execute_sql(cluster.writer, f"SHOW DATABASES LIKE '{spec.database}'")


@pytest.mark.mariadb
@pytest.mark.usefixtures("impatient")
@every_table
async def test_through_handlersocket_alone(cluster: Cluster, text: str) -> None:
    """The table was made by the user, and no SQL account is known: rows go and come through HandlerSocket."""
    scenario = declared(text)
    async with external(named(cluster, writer=cluster.writer), may_create=True) as owner:
        owner.foreign_rows = "FALSE"
        await owner.create_table(load_table(scenario))
        async with external(named(cluster, writer=cluster.writer), sql=False) as control:
            await fill_table(control, scenario)
            await check_every_row(control, scenario)
            await check_every_row(owner, scenario)
            with pytest.raises(ClusterError, match="holds rows"):
                await control.create_table(load_table(scenario))


@pytest.mark.mariadb
async def test_rows_that_were_changed_by_sql_are_found_by_their_columns(cluster: Cluster) -> None:
    scenario, row = declared(), "INSERT INTO shop.products (id, category, price, name, views, note) VALUES"
    changes = ["name = 'x'", "price = 9.99", "category = 'hats'", "added = 0", "note = ''", "note = REVERSE(note)"]
    rows, table = rows_of(scenario), load_table(scenario)
    async with external(cluster, may_create=True) as control:
        control.foreign_rows = "FALSE"  # the test's own
        await control.create_table(table)
        await control.fill(table, [tuple(row) for row in loaded(scenario)])
        for number, change in enumerate(changes, 1):
            await execute_sql(cluster.writer, "SET sql_mode = ''", f"UPDATE shop.products SET {change} WHERE id = {number}")
        await execute_sql(cluster.writer, f"{row} (5000, 'books', 1, 'a', 1, '')")
        states = [rows.state(row) for row in await read_back(control, "writer", scenario)]
        wrong = [state for state in states if state.wrong]
        assert [state.number for state in wrong] == [1, 2, 3, 4, 5, 6, 5000]
        assert [[one.column for one in state.wrong] for state in wrong[:6]] == [[change.split()[0]] for change in changes]
        assert [state.version for state in wrong] == [*[DAMAGED] * 4, *[FOREIGN] * 3]
        foreign = await execute_sql(cluster.writer, f"SELECT id FROM shop.products WHERE {rows.foreign}")
        assert [row["id"] for row in foreign] == [5, 6, 5000]


@pytest.mark.mariadb
@pytest.mark.parametrize("value", [0.7, 0.2], ids=["stored below its text", "stored above it"])
async def test_pages_do_not_skip_rows_behind_a_key_that_sql_does_not_find(cluster: Cluster, value: float) -> None:
    """`check` refuses a FLOAT in the primary key; a table of the user's may have who knows what."""
    table = Table("drill", "floats", {"f": "FLOAT NOT NULL", "id": "INT NOT NULL"}, primary_key=("f", "id"))
    try:
        await execute_sql(
            cluster.writer,
            "CREATE DATABASE IF NOT EXISTS drill",
            "CREATE TABLE drill.floats (f FLOAT NOT NULL, id INT NOT NULL, PRIMARY KEY (f, id))",
            f"INSERT INTO drill.floats VALUES ({value}, 1), ({value}, 2)",
        )
        (first,) = await rows_by_sql(cluster.writer, table, after=None, limit=1)
        with pytest.raises(ClusterError, match=r"cannot read .* by pages: the server finds no row by the key"):
            await rows_by_sql(cluster.writer, table, after=first, limit=1)
    finally:
        await execute_sql(cluster.writer, "DROP TABLE drill.floats")


def test_a_bit_of_any_width_is_compared_as_a_number() -> None:
    """Measured on 10.11: in a range of an index a BIT equals no literal of its bytes, so a page would be empty."""
    for kind in ("bit", "bit(1)"):
        text = KEYS.replace("bit(9), values: {choice: [1, 256, 300]}", f"{kind}, values: {{between: [0, 1]}}")
        after = ["a", "x", date(2024, 1, 1), Decimal("1.5"), b"\x01", b"a", "E", timedelta(0), 7]
        assert "`bits` = 1 AND `raw` > x'61'" in _beyond(load_table(declared(text)), after), kind


@pytest.mark.parametrize(
    "kind, least, below",
    [
        ("decimal(5,2)", Decimal("-999.99"), Decimal("0.01")),
        ("decimal(3,3)", Decimal("-0.999"), Decimal("0.001")),
        ("decimal(4)", Decimal(-9999), Decimal(1)),
        ("time", -timedelta(hours=838, minutes=59, seconds=59), timedelta(seconds=1)),
        ("time(6)", timedelta(microseconds=1) - timedelta(hours=839), timedelta(microseconds=1)),
    ],
)
def test_no_value_is_below_the_least_key(kind: str, least: Any, below: Any) -> None:
    column = trio_hs.Column.from_sql("k", kind)
    columns = trio_hs.Columns([column], {"PRIMARY": ["k"]})
    (found,) = least_key(ServerTable("d", "t", {"k": kind}, primary_key=["k"], declared=columns))
    assert found == least
    column.encode(found)
    with pytest.raises(ValueError, match=r"clip|outside"):
        column.encode(found - below)


def test_columns_of_a_table_that_the_user_made() -> None:
    """They may be longer, and take NULL. Another type, character set or precision would change values without an error."""
    for type_, declared_as, nullable, why in (
        ("bigint unsigned", "bigint(20) unsigned", False, ""),
        ("bigint unsigned", "bigint(20)", False, "is bigint(20)"),
        ("varchar(20)", "varchar(40)", True, ""),
        ("varchar(20)", "varchar(19)", True, "is varchar(19) character set utf8mb4"),
        ("decimal(10,2)", "decimal(10,2)", False, ""),
        ("decimal(10,2)", "decimal(10,1)", False, "is decimal(10,1)"),
        ("datetime(6)", "datetime(6)", False, ""),
        ("datetime", "datetime(3)", False, "is datetime(3)"),
        ("enum('a','b')", "enum('a','b')", False, ""),
        ("enum('a','b')", "enum('b','a')", False, "is enum('b','a') character set utf8mb4"),
        ("binary(6)", "binary(8)", False, "is binary(8)"),
        ("bit(9)", "bit(10)", False, "is bit(10)"),
        ("int", "geometry", False, "is geometry: column c: trio-hs has no type 'geometry'"),
    ):
        text = type_.startswith(("varchar", "enum"))
        shown = {
            "declared": declared_as,
            "type": declared_as.split("(")[0],
            "charset": "utf8mb4" if text else None,
        }
        column = trio_hs.Column.from_sql("c", type_)
        assert unfit(column, {**shown, "nullable": nullable}).startswith(why), (type_, declared_as)
        assert bool(unfit(column, {**shown, "nullable": nullable})) == bool(why)
    nullable_column = trio_hs.Column.from_sql("c", "int", nullable=True)
    assert unfit(nullable_column, {"declared": "int(11)", "type": "int", "charset": None, "nullable": False}) == "is NOT NULL"


async def test_servers_in_different_time_zones_have_no_timestamp_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    zones = {"writer": 60, "reader-1": 0, "reader-2": 60}

    async def execute_sql(server: Server, statement: str) -> list[dict[str, Any]]:
        assert "UTC_TIMESTAMP" in statement
        await trio.lowlevel.checkpoint()
        return [{"minutes": zones[server.name]}]

    monkeypatch.setattr(_table_checks, "execute_sql", execute_sql)
    servers = [Server(name, "127.0.0.1", 1, 2, "", "") for name in zones]
    table = load_table(declared(TYPES))
    await require_one_zone([servers[0], servers[2]], table)
    await require_one_zone(servers, load_table(declared(SHOP)))
    with pytest.raises(ClusterError, match=r"writer is 60 minutes ahead of UTC and reader-1 is 0 minutes ahead of UTC"):
        await require_one_zone(servers[:2], table)


@pytest.mark.mariadb
@pytest.mark.usefixtures("impatient")
async def test_a_table_of_the_user_s_is_taken_if_it_fits(cluster: Cluster) -> None:
    scenario = declared()
    table = load_table(scenario)
    create = f"CREATE TABLE shop.products ({table.columns_sql()}) ENGINE=InnoDB"
    narrow = create.replace("varchar(80) character set utf8mb4", "varchar(80) character set latin1").replace("10,2", "8,2")
    try:
        await execute_sql(cluster.writer, "CREATE DATABASE shop", narrow)
        async with external(cluster) as control:
            wrong = (
                "shop.products on writer cannot be used: price must be decimal(10,2) NOT NULL, and is decimal(8,2), name must "
                "be varchar(80) character set utf8mb4 NOT NULL, and is varchar(80) character set latin1; it needs ("
            )
            with pytest.raises(ClusterError, match=re.escape(wrong)):
                await control.create_table(table)
            changing = create.replace("`added` datetime NULL", "`added` datetime NULL ON UPDATE current_timestamp()")
            changing = changing.replace("`views` int unsigned NOT NULL", "`views` int unsigned AS (id + 1)")
            await execute_sql(cluster.writer, "DROP TABLE shop.products", changing)
            made = "cannot be used: added is on update current_timestamp(), views is VIRTUAL GENERATED, and a run would find"
            with pytest.raises(ClusterError, match=re.escape(made)):
                await control.create_table(table)
            await execute_sql(cluster.writer, "DROP TABLE shop.products", create.replace("varchar(20)", "varchar(30)"))
            await fill_table(control, scenario)
            await check_every_row(control, scenario)
    finally:
        await execute_sql(cluster.writer, "DROP DATABASE shop")
