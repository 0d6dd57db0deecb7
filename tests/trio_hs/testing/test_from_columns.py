"""A schema that is written once: `Columns` of the client as a `Table` of the embedded server, and as CREATE TABLE."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hs_drill._cluster import Cluster
from hs_drill.servers import execute_sql
from tests.trio_hs.support.declarations import CASES
from tests.trio_hs.support.real_servers import release
from trio_hs import Column, Columns, IndexPart, open_manager
from trio_hs.__main__ import main
from trio_hs.testing import Table, open_server

NOT_EMULATED = ("uuid", "inet4", "inet6")
CHARSETS = (None, "utf8mb4", "latin1", "ascii")


def renamed(column: Column, name: str) -> Column:
    given = {one.name: getattr(column, one.name) for one in dataclasses.fields(Column) if one.init and one.name != "name"}
    return Column(name, **given)


EMULATED = [
    case
    for case in CASES
    if case.column.type not in NOT_EMULATED
    and case.column.charset in CHARSETS
    and (case.column.type not in ("float", "double") or case.column.precision is None)
]
DEFAULTS: list[Column] = [
    Column("decimal_", "decimal", precision=5, scale=2, default=Decimal("1.50")),
    Column("double_", "double", default=1e10),
    Column("int_", "int", default=-5),
    Column("bit_", "bit", length=4, default=5),
    Column("date_", "date", default=date(2024, 1, 31)),
    Column("datetime_", "datetime", precision=3, default=datetime(2024, 1, 31, 1, 2, 3, 500000)),
    Column("time_", "time", default=timedelta(hours=-10)),
    Column("year_", "year", default=2024),
    Column("set_", "set", members=["x", "it's"], default=frozenset(["it's"])),
    Column("enum_", "enum", members=["\\", "e'\"", "z"], default="e'\""),
    Column("varchar_", "varchar", length=9, default="it's\\\n"),
    Column("latin1_", "char", length=3, charset="latin1", default="é"),
    Column("text_", "text", default=""),
    Column("varbinary_", "varbinary", length=4, default=b"a'"),
    Column("hidden", "int", nullable=True, invisible=True),
    Column("computed", "datetime", default_is_expression=True),
]
ID = Column("id", "bigint", unsigned=True, auto_increment=True)
KEYS: dict[str, list[IndexPart]] = {
    "PRIMARY": ["id"],
    "by_text": [("text_", 5), "date_ DESC"],
    "once": ["int_", ("varchar_ DESC", 4)],
}
ODD = Columns([ID, *DEFAULTS], KEYS, ["once"])


async def test_values_come_back_from_the_server_of_the_same_declaration() -> None:
    declared = [renamed(case.column, f"c{number}") for number, case in enumerate(EMULATED[:31])]
    columns = Columns([Column("id", "int"), *declared], {"PRIMARY": ["id"]})
    table = Table.from_columns("d", "t", columns)
    async with (
        open_server([table]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        handle = hs.table("d", "t", columns=columns)
        rows = [[1, *[case.bounds[-1] for case in EMULATED[:31]]], [2, *[None] * 31]]
        for row in rows:
            await handle.insert(row)
            assert [value for _, value in await handle.get(row[0])] == row


async def test_defaults_are_those_of_the_declaration() -> None:
    async with (
        open_server([Table.from_columns("d", "odd", ODD)]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
    ):
        # A plain insert leaves the columns to the server, a declared one sends their defaults.
        assert await hs.insert("d", "odd", [("computed", datetime(2024, 1, 1))]) == 1
        declared = hs.table("d", "odd", ["computed"], columns=ODD)
        await declared.delete("=", [1], return_original=True)
        await declared.insert([datetime(2024, 1, 1)])
        by_client = dict(await hs.table("d", "odd", columns=ODD).get(2))
        assert {column.name: by_client[column.name] for column in DEFAULTS if column.default is not None} == {
            column.name: column.default for column in DEFAULTS if column.default is not None
        }
        await hs.delete("d", "odd", "=", ["id"], [2])
        await hs.insert("d", "odd", [("computed", datetime(2024, 1, 1))])
        assert dict(await hs.table("d", "odd", columns=ODD).get(3)) | {"id": 2} == by_client


@pytest.mark.parametrize(
    "column,message",
    [
        (Column("c", "uuid"), "table d.t, column c: the type UUID is not emulated"),
        (Column("c", "int", generated="stored", nullable=True), "table d.t, column c: a generated column is not emulated"),
        (Column("c", "float", precision=7, scale=2), r"table d.t, column c: FLOAT\(7,2\) is not emulated"),
        (Column("c", "varchar", length=3, charset="koi8r"), "table d.t, column c: "),
    ],
)
def test_what_is_not_emulated_is_refused(column: Column, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Table.from_columns("d", "t", Columns([column]))


@pytest.mark.mariadb
async def test_create_table_makes_what_describe_reads(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So the three ways to write a schema say the same: `Columns`, `Table` and CREATE TABLE."""
    server = cluster.writer
    columns = Columns(
        [
            ID,
            *[
                renamed(case.column, f"c{number}")
                for number, case in enumerate(EMULATED)
                if case.column.type != "timestamp" or release(cluster) < (11, 5)
            ],
            *[column for column in DEFAULTS if column.name != "computed"],  # its expression is not in the declaration
        ],
        KEYS,
        ["once"],
    )
    await execute_sql(server, "CREATE DATABASE written_once", Table.from_columns("written_once", "t", columns).sql())
    (tmp_path / "password").write_text(server.admin_password)
    where = ["--host", server.host, "--port", str(server.sql_port), "--user", server.admin_user]
    try:
        assert main(["describe", *where, "--password-file", str(tmp_path / "password"), "written_once.t"]) == 0
    finally:
        await execute_sql(server, "DROP DATABASE written_once")
    names: dict[str, Any] = {}
    exec(capsys.readouterr().out, names)
    found: Columns = names["T"]
    assert [plain(column) for column in found] == [plain(column) for column in columns]
    assert {name: [part.declared for part in key] for name, key in found.indexes.items()} == KEYS
    assert found.unique == columns.unique


def plain(column: Column) -> Column:
    """With utf8mb4 unnamed, and without the precision 0."""
    given = {one.name: getattr(column, one.name) for one in dataclasses.fields(Column) if one.init}
    given["charset"] = None if given["charset"] == "utf8mb4" else given["charset"]
    given["precision"] = given["precision"] or None
    return Column(**given)
