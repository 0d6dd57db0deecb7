"""What MariaDB's FEDERATED engine does to columns of some types. Scenarios refuse what it gets wrong: see `_twin_checks`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trio_hs
from hs_drill._addresses import read_address, write_address
from hs_drill.servers import Control, ServerTable
from hs_drill.servers._opening import open_servers

pytestmark = pytest.mark.mariadb

RIGHT: dict[str, Any] = {
    "double": 0.1,
    "decimal(20,10)": trio_hs.Column("c", "decimal", precision=20, scale=10).decode(b"0.1"),
    "varchar(20) character set utf8mb4": "é日🎉'\\",
    "varchar(20) character set utf8mb3": "é日",
    "varchar(20) character set latin1": "abc",
    "varbinary(20)": b"\xff\x00'\\",
    "uuid": trio_hs.Column("c", "uuid").decode(b"b1019a39-d7df-445a-8736-2c9164491993"),
    "time(2)": trio_hs.Column("c", "time", precision=2).decode(b"-323:53:06.50"),
}


async def insert_and_update(control: Control, sql: str, value: Any, name: str, *, through_twin: bool = True) -> list[Any]:
    """The row after an insert and an update of another column: the value, and what the update has set. Without `through_twin`
    the row is inserted by SQL."""
    columns = trio_hs.Columns(
        [trio_hs.Column("id", "int"), trio_hs.Column.from_sql("v", sql), trio_hs.Column("n", "int")], {"PRIMARY": ["id"]}
    )
    sqls = {"id": "int not null", "v": f"{sql} not null", "n": "int not null"}
    table = ServerTable("drill", name, sqls, primary_key=["id"], declared=columns)
    await control.create_table(table)
    if not through_twin:
        await control.fill(table, [(1, value, 1)])
    server, twins = control.cluster.writer, dict(control.cluster.write_databases)
    async with trio_hs.open_manager([read_address(server)], [write_address(server)], write_databases=twins) as hs:
        row = hs.table("drill", name, ["id", "v", "n"], columns=columns)
        if through_twin:
            await row.insert([1, value, 1])
        assert await hs.table("drill", name, ["n"], columns=columns).update("=", [1], [2]) == 1, "acknowledged"
        return [value for _, value in (await row.find("=", [1]))[0]][1:]


BLOBS: dict[str, Any] = {
    "text": ("aaaa", "bbbb"),
    "mediumtext": ("aaaaaaaa", "bb"),
    "json": ("[1]", "[2]"),
    "blob": (b"aaaa", b"bbbb"),
}


async def set_value(control: Control, sql: str, old: Any, new: Any, name: str) -> Any:
    """The value after an acknowledged update that sets it, of a row that was inserted with another one."""
    columns = trio_hs.Columns([trio_hs.Column("id", "int"), trio_hs.Column.from_sql("v", sql)], {"PRIMARY": ["id"]})
    table = ServerTable("drill", name, {"id": "int not null", "v": f"{sql} not null"}, primary_key=["id"], declared=columns)
    await control.create_table(table)
    server, twins = control.cluster.writer, dict(control.cluster.write_databases)
    async with trio_hs.open_manager([read_address(server)], [write_address(server)], write_databases=twins) as hs:
        await hs.table("drill", name, ["id", "v"], columns=columns).insert([1, old])
        values = hs.table("drill", name, ["v"], columns=columns)
        assert await values.update("=", [1], [new]) == 1, "acknowledged"
        return dict((await values.find("=", [1]))[0])["v"]


async def test_an_update_that_sets_a_blob_is_lost_in_a_twin(temporary: Path) -> None:
    async with open_servers("mariadb", readers=0, topology="write-through") as control:
        for sql, (old, new) in BLOBS.items():
            assert await set_value(control, sql, old, new, f"blob_{sql}") == old, sql
        # A value that is larger than the old one's room does not overwrite it.
        assert await set_value(control, "text", "a", "b" * 20, "larger") == "b" * 20
        assert await set_value(control, "varchar(40)", "a", "b", "short") == "b"


async def test_types_through_a_twin(temporary: Path) -> None:
    async with open_servers("mariadb", readers=0, topology="write-through") as control:
        for number, (sql, value) in enumerate(RIGHT.items()):
            assert await insert_and_update(control, sql, value, f"right{number}") == [value, 2], sql
        assert await insert_and_update(control, "float", 0.1, "lost") == [0.1, 1], "the update is lost"
        assert await insert_and_update(control, "float", 0.5, "exact") == [0.5, 2]
        assert await insert_and_update(control, "float(9,3)", 60380.188, "digits") == [60380.188, 1]
        assert await insert_and_update(control, "varchar(9) character set utf16", "ab", "wide") == ["\0a\0b", 2]
        latin1 = "varchar(9) character set latin1"
        assert await insert_and_update(control, latin1, "éaaaaaaaa", "latin", through_twin=False) == ["éaaaaaaaa", 1]
        for sql, value in (("bit(8)", 5), (latin1, "é")):
            with pytest.raises(trio_hs.RemoteTableError, match="the server answered 1 10000"):
                await insert_and_update(control, sql, value, sql.split("(")[0])
