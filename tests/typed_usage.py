"""Every public call as a user types it. Not run: mypy --strict checks that the results have the types that it says."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, assert_type

import trio_hs
from trio_hs import (
    Column,
    Columns,
    DeclaredTable,
    Filter,
    Find,
    FindModify,
    HandlerSocketError,
    Insert,
    Instrument,
    Manager,
    ReadSocket,
    RetryPolicy,
    Row,
    Server,
    Table,
    Value,
    WriteSocket,
)


class Watch(Instrument):
    def connection_down(self, server: str, reason: BaseException) -> None:
        assert_type(server, str)

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        assert_type(seconds, float)


async def defaults() -> None:
    async with trio_hs.open_manager() as hs:
        assert_type(hs, Manager)


async def every_setting() -> None:
    async with trio_hs.open_manager(
        [Server("inet", "127.0.0.1", 9998), Server("inet", "::1", 9998, 1.5), Server("unix", "/run/hs.sock", secret="s")],
        [[("inet", "primary", 9999)], [("inet", "standby", 9999), ("inet", "spare", 9999)]],
        read_secret="r",
        write_secret="w",
        timeout=2.5,
        connections=2,
        retry=RetryPolicy(
            attempts=3, backoff=0.1, max_backoff=2, deadline=5.0, hedge_after=0.05, repeat_writes=("update", "delete")
        ),
        encoding=None,
        write_databases={"drill": "drill_wt"},
        instruments=[Watch()],
    ) as hs:
        assert_type(hs, Manager)


async def every_form_of_a_server() -> None:
    for servers in ([("inet", "a", 9998), ("inet", "b", 9998)], [("inet", "c", 9998)]):
        async with trio_hs.open_read_socket(servers) as hs:
            assert_type(hs, ReadSocket)
    async with (
        trio_hs.open_read_socket([("inet", "127.0.0.1", 9998, 1.5)]),
        trio_hs.open_read_socket([("unix", "/run/hs.sock")]),
    ):
        pass
    async with trio_hs.open_read_socket([("unix", "/run/hs.sock", None)]):
        pass
    mixed = trio_hs.open_read_socket([("inet", "127.0.0.1", 9998), ("unix", "/run/hs.sock"), Server("inet", "::1", 9998)])
    groups = trio_hs.open_read_socket([[("inet", "127.0.0.1", 9998), ("unix", "/run/hs.sock")], [Server("inet", "::1", 9998)]])
    async with mixed, groups:
        pass
    async with trio_hs.open_read_socket([("unix", "/run/hs.sock", None, 2.0)]):
        pass


async def reading(hs: Manager) -> None:
    row = await hs.get("cars", "trucks", ["id", "model"], "1")
    assert_type(row, Row)
    assert_type(dict(row), dict[str, Any])
    assert_type(await hs.get_many("cars", "trucks", ("id", "model"), [1, 2, 3]), list[Row])
    assert_type(await hs.find("cars", "trucks", ">=", ["id"], ["5", "c"], "custom_index_name", 10, 5), list[Row])
    rows = await hs.find(
        "cars",
        "trucks",
        "=",
        ["id"],
        [],
        in_=(0, [1, 2]),
        filters=[Filter("model", "!=", None), Filter("n", ">", 5, stop=True)],
    )
    assert_type([dict(row) for row in rows], list[dict[str, Any]])


async def writing(hs: Manager) -> None:
    values: list[Value] = [
        "text", b"bytes", bytearray(b"bytes"), 1, 1.5, True, None, Decimal("1.5"), date(2024, 2, 29), datetime(2024, 2, 29),
        time(1, 2, 3), timedelta(hours=-1),
    ]  # fmt: skip
    assert_type(await hs.insert("cars", "trucks", [("id", "1"), ("n", 5), ("model", None)]), int | None)
    assert_type(await hs.insert("cars", "trucks", [("c", value) for value in values]), int | None)
    outcomes = await hs.insert_many("cars", "trucks", ["id", "n"], [[1, 2], [3, None]])
    assert_type(outcomes, list[int | HandlerSocketError | None])
    assert_type(await hs.update("cars", "trucks", "=", ["n"], ["1"], [5], return_original=True), list[Row])
    assert_type(await hs.delete("cars", "trucks", "<", ["id"], [5], None, 10, filters=[Filter("n", "=", 1)]), int)
    assert_type(await hs.incr("cars", "trucks", "=", ["n"], ["1"], [10], "index", 1, 0, True), list[Any])
    assert_type(await hs.decr("cars", "trucks", "=", ["n"], ["1"], in_=(0, ["1", "2"])), int)


async def upkeep(hs: Manager) -> None:
    assert_type(await hs.purge(), None)
    async with hs.suspended() as nothing:
        assert_type(nothing, None)
    statistics = hs.statistics()
    assert_type(statistics, trio_hs.Statistics)
    assert_type(statistics.retries, int)
    for server in (*statistics.readers, *statistics.writers):
        assert_type(server, trio_hs.ServerStatistics)
        assert_type(server.last_error, str | None)
        assert_type((server.usable, server.last_error_at), tuple[bool, float | None])
        assert_type((server.server, server.connections, server.outstanding, server.answers), tuple[str, int, int, int])


async def health(hs: Manager) -> None:
    assert_type(hs.ready(reads=True, writes=False), bool)
    assert_type(await hs.connect(), None)
    pings = await hs.ping()
    assert_type(pings, trio_hs.Pings)
    for ping in (*pings.readers, *pings.writers):
        assert_type(ping, trio_hs.Ping)
        assert_type((ping.server, ping.seconds, ping.error), tuple[str, float | None, str | None])
    async with trio_hs.open_manager(connect="eager"):
        pass


async def tables(hs: Manager) -> None:
    trucks = hs.table("cars", "trucks", ["id", "n"], "index_name")
    assert_type(trucks, Table)
    assert_type(trucks.fields, tuple[str, ...])
    assert_type(await trucks.get("1"), Row)
    assert_type(await trucks.get_many([1, "2", b"3"]), list[Row])
    assert_type(await trucks.find(">", [1], 10, 2, in_=None, filters=()), list[Row])
    assert_type(await trucks.insert([1, None]), int | None)
    assert_type(await trucks.insert_many([[1, None], ("2", Decimal(3))]), list[int | HandlerSocketError | None])
    assert_type(await trucks.update("=", [1], [2, 3], return_original=True), list[Row])
    assert_type(await trucks.delete("=", [1]), int)
    assert_type(await trucks.incr("=", [1], [0, 1]), int)
    assert_type(await trucks.decr("=", [1], [0, 1], return_original=True), list[Any])


TRUCKS = Columns(
    [Column("id", "int"), Column("model", "varchar", length=40, charset="latin1", nullable=True)],
    indexes={"PRIMARY": ("id",), "model": (("model", 10), "id")},
)


async def declared(hs: Manager) -> None:
    trucks = hs.table("cars", "trucks", columns=TRUCKS)
    assert_type(trucks, DeclaredTable)
    assert_type(hs.table("cars", "trucks", ["model"], "model", columns=TRUCKS), DeclaredTable)
    assert_type(trucks.columns, Columns)
    assert_type(await trucks.get(1), Row)
    assert_type(await trucks.insert([1, None]), int | None)


async def low_level() -> None:
    async with trio_hs.open_read_socket([("inet", "127.0.0.1", 9998)], "secret", timeout=1.0, connections=2) as reader:
        assert_type(reader, ReadSocket)
        index = await reader.get_index_id("cars", "trucks", ["id", "n"], index_name=None, filter_fields=("model",))
        assert_type(index, int)
        rows = await reader.find(index, "=", ["1"], limit=0, offset=0, in_=None, filters=[Filter(0, "=", "x")])
        assert_type(rows, list[list[Any]])
        assert_type(await reader.purge_index(index), None)
        assert_type(await reader.purge_indexes(), None)
        assert_type(await reader.purge(), None)
    async with trio_hs.open_write_socket([("unix", "/run/hs.sock")], encoding=None) as writer:
        assert_type(writer, WriteSocket)
        index = await writer.get_index_id("cars", "trucks", ["id", "n"])
        assert_type(await writer.insert(index, [1, 2]), int | None)
        outcomes = await writer.execute_many(
            [Find(index, "=", [1]), Insert(index, [2, "b"]), FindModify(index, "=", [2], "D", limit=1)]
        )
        assert_type(outcomes, list[Any])
        assert_type(await writer.find_modify(index, "=", [1], "U?", [1, 3], limit=1), list[list[Any]])


async def failing(hs: Manager) -> None:
    try:
        await hs.insert("cars", "trucks", [("id", 1)])
    except trio_hs.DuplicateKeyError as refused:
        assert_type(refused.code, int)
        assert_type(refused.message, str)
        assert_type(refused.server, str | None)
    except (
        trio_hs.AuthenticationError, trio_hs.ColumnNotFoundError, trio_hs.ForeignKeyError, trio_hs.IndexNotFoundError,
        trio_hs.LockTimeoutError, trio_hs.ReadOnlyError, trio_hs.RemoteTableError, trio_hs.TableNotFoundError,
        trio_hs.UnsupportedOperationError,
    ) as refusal:  # fmt: skip
        operational: trio_hs.OperationalError = refusal
        assert_type(operational.code, int)
    except trio_hs.IndexedConnectionError as lost:
        assert_type(lost.maybe_applied, bool)
        recoverable: trio_hs.RecoverableConnectionError = lost
        builtin: OSError = recoverable
        raise builtin from None
    except trio_hs.ConnectionError as unreachable:
        assert_type(unreachable.maybe_applied, bool)
    except trio_hs.DecodingError as undecodable:
        assert_type(undecodable.data, bytes)
    except trio_hs.ProtocolError as error:
        base: HandlerSocketError = error
        raise base from error


async def connect(server: trio_hs.Server) -> trio_hs.Transport:
    return await trio_hs.connect_transport(server)


CONNECT: trio_hs.Connect = connect
assert_type(trio_hs.Columns([trio_hs.Column("id", "int")]).key(None), tuple[trio_hs.KeyPart, ...])
assert_type(trio_hs.__version__, str)
