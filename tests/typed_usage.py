# pyright: strict
"""A plain program that uses every public call. It runs (tests/trio_hs/test_typed_usage.py), and passes mypy --strict and
pyright --strict without a cast or an ignore: ``assert_type`` says what each call returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict, assert_type

import trio_hs
from trio_hs import (
    Call,
    Column,
    Columns,
    Connect,
    ConnectionPool,
    Filter,
    FilterOperation,
    Find,
    FindModify,
    FindOperation,
    HandlerSocketError,
    In,
    IndexPart,
    Insert,
    Instrument,
    KeyPart,
    Manager,
    ModifyOperation,
    Ordered,
    Outcome,
    RetryPolicy,
    Row,
    Secret,
    Server,
    Servers,
    ServerStatistics,
    Table,
    Value,
)

Outcomes = list[int | HandlerSocketError | None]
FIELDS = {"id": 1, "n": 5, "model": "Actros"}
INDEX: tuple[IndexPart, ...] = (("model", 10), "id")
TRUCKS = Columns(
    [Column("id", "int", auto_increment=True), Column("n", "int"), Column("model", "varchar", length=40, nullable=True)],
    indexes={"PRIMARY": ("id",), "by_model": INDEX},
)


@dataclass
class Truck:
    id: int
    n: int
    model: str | None


class TruckDict(TypedDict):
    id: int
    n: int


class Key(NamedTuple):
    id: int


def label(*, id: str, model: str) -> str:
    return f"{id}: {model}"


PRICE: Column = Column.from_sql("price", "decimal(10,2) unsigned", nullable=True)


class Watch(Instrument):
    def __init__(self) -> None:
        self.seen = 0

    def connection_up(self, server: str) -> None:
        assert_type(server, str)

    def connection_down(self, server: str, reason: BaseException) -> None:
        assert_type(reason, BaseException)

    def connect_failed(self, server: str, reason: BaseException) -> None:
        assert_type(reason, BaseException)

    def failover(self, servers: tuple[str, ...]) -> None:
        assert_type(servers, tuple[str, ...])

    def request_done(self, server: str, operation: str, table: str, requests: int, seconds: float, failed: bool) -> None:
        self.seen += requests

    def pool_opened(self, pool: ConnectionPool) -> None:
        assert_type((pool.for_writes, pool.waiting), tuple[bool, int])
        assert_type(pool.statistics(), tuple[ServerStatistics, ...])

    def pool_closed(self, pool: ConnectionPool) -> None:
        assert_type(pool.for_writes, bool)

    def call_started(self, call: Call) -> float:
        assert_type((call.operation, call.db, call.table, call.rows, call.changes), tuple[str, str, str, int, bool])
        return 0.5

    def call_ended(self, call: Call, outcome: Outcome, context: float) -> None:
        assert_type((outcome.seconds, outcome.server, outcome.code), tuple[float, str | None, str | None])
        assert_type((outcome.cancelled, outcome.maybe_applied, outcome.answered), tuple[bool, bool, bool])
        assert_type((outcome.failed, outcome.retries), tuple[int, int])

    def request_started(self, call: Call, server: str, lines: int, context: float) -> str:
        return server

    def request_ended(self, call: Call, lines: int, outcome: Outcome, context: str) -> None:
        super().request_ended(call, lines, outcome, context)
        assert_type(outcome.error, BaseException | None)

    def retry(self, operation: str, table: str, attempt: int, error: HandlerSocketError) -> None:
        assert_type(error.server, str | None)


def lookup(keys: Ordered[Value]) -> list[Value]:
    return list(keys)


async def reading(hs: Manager, at_least: FindOperation, unlike: FilterOperation) -> None:
    row = await hs.get("cars", "trucks", FIELDS.keys(), 1)
    assert_type(row, Row)
    assert_type(dict(row), dict[str, Any])
    assert_type(await hs.get_many("cars", "trucks", ("id", "model"), lookup(iter(["1", "2"]))), list[Row])
    conditions = [Filter("model", unlike, None), Filter("n", ">", 0, stop=True)]
    assert_type(await hs.find("cars", "trucks", at_least, ["id"], ["A", 1], "by_model", 10, 0, filters=conditions), list[Row])
    assert_type(await hs.find("cars", "trucks", "=", ["id"], [], in_=(0, {1: "a", 2: "b"}.keys())), list[Row])


async def writing(hs: Manager, flag: bool) -> None:
    values: list[Value] = [
        "text", b"bytes", bytearray(b"bytes"), 1, 1.5, True, None, Decimal("1.5"), date(2024, 2, 29), datetime(2024, 2, 29),
        time(1, 2, 3), timedelta(hours=-1),
    ]  # fmt: skip
    for value in values:
        assert_type(await hs.insert("cars", "trucks", [("n", 1), ("model", value)]), int | None)
    assert_type(await hs.insert("cars", "trucks", zip(("n", "model"), (5, "TGX"), strict=True)), int | None)
    truck: dict[str, Value] = {"n": 6, "model": "FH"}
    assert_type(await hs.insert("cars", "trucks", truck.items(), None), int | None)
    assert_type(await hs.insert_many("cars", "trucks", ["n", "model"], [[1, None], ("2", Decimal(3))]), Outcomes)
    assert_type(await hs.update("cars", "trucks", "=", ["n"], [1], [7]), int)
    assert_type(await hs.update("cars", "trucks", "=", ["n"], [1], [7], return_original=True), list[Row])
    assert_type(await hs.incr("cars", "trucks", "=", ["n"], ["1"], [10], None, 1, 0, True), list[Any])
    assert_type(await hs.incr("cars", "trucks", "=", ["n"], (1,)), int)
    assert_type(await hs.decr("cars", "trucks", "=", ["n"], [""], in_=(0, ["1", "2"])), int)
    assert_type(await hs.decr("cars", "trucks", "=", ["n"], [1], return_original=flag), int | list[Any])
    assert_type(await hs.delete("cars", "trucks", ">", ["id"], [90], None, 10, filters=[Filter("n", "=", 1)]), int)
    assert_type(await hs.delete("cars", "trucks", ">", ["id"], [90], return_original=True), list[Row])


async def tables(hs: Manager) -> None:
    trucks = hs.table("cars", "trucks", ["n", "model"])
    assert_type(trucks, Table)
    assert_type(trucks.fields, tuple[str, ...])
    assert_type(await trucks.get("1"), Row)
    assert_type(await trucks.get_many(range(1, 4)), list[Row])
    assert_type(await trucks.find(">", [1], 10, 2, in_=None, filters=()), list[Row])
    assert_type(await trucks.insert([1, None]), int | None)
    assert_type(await trucks.insert_many([[1, None], ("2", Decimal(3))]), Outcomes)
    assert_type(await trucks.update("=", [2], [2, "x"], return_original=True), list[Row])
    assert_type(await trucks.delete("=", [2]), int)
    counter = hs.table("cars", "trucks", ["n"])
    assert_type(await counter.incr("=", [1]), int)
    assert_type(await counter.decr("=", [1], [2], return_original=True), list[Any])

    declared = hs.table("cars", "trucks", columns=TRUCKS)
    assert_type(declared, trio_hs.DeclaredTable)
    among: In = (0, [1, 2])
    assert_type(await declared.get(1), Row)
    assert_type(await declared.get_many({1: None, 2: None}.keys()), list[Row])
    assert_type(await declared.find("=", [], in_=among), list[Row])
    assert_type(await declared.insert([None, 1, "x"]), int | None)
    assert_type(await declared.insert_many([[None, 1, "x"]]), Outcomes)
    assert_type(await declared.update("=", [3], [3, 3, None]), int)
    assert_type(await declared.delete("=", [3], return_original=True), list[Row])
    numbers = hs.table("cars", "trucks", ["n"], columns=TRUCKS)
    assert_type(await numbers.incr("=", [1], return_original=True), list[Any])
    assert_type(await numbers.decr("=", [1], [1]), int)
    assert_type(declared.columns.key("by_model"), tuple[KeyPart, ...])
    assert_type(TRUCKS.columns, tuple[Column, ...])
    assert_type([column.name for column in TRUCKS], list[str])
    assert_type(TRUCKS.column("id").auto_increment, bool)


async def rows(hs: Manager) -> None:
    dicts = hs.table("cars", "trucks", ["id", "model"], row=dict)
    assert_type(dicts, Table[dict[str, Any]])
    assert_type(await dicts.get(1), dict[str, Any] | None)
    assert_type(await dicts.find(">", [0], 10), list[dict[str, Any]])
    labels = hs.table("cars", "trucks", ["id", "model"], row=label)
    assert_type(labels, Table[str])
    assert_type(await labels.get(1), str | None)
    assert_type(await labels.get_many([1]), list[str | None])
    assert_type(await labels.update("=", [99], [99, "x"]), int)
    assert_type(await labels.delete("=", [99], return_original=True), list[str])

    trucks = hs.table("cars", "trucks", columns=TRUCKS, row=Truck)
    assert_type(trucks, trio_hs.DeclaredTable[Truck])
    truck = await trucks.get(1)
    assert_type(truck, Truck | None)
    assert_type(await trucks.get_many([1]), list[Truck | None])
    assert_type(await trucks.find(">", [0], 10), list[Truck])
    assert_type(await trucks.update("=", [1], [1, 1, None], return_original=True), list[Truck])
    typed_dicts = hs.table("cars", "trucks", ["id", "n"], columns=TRUCKS, row=TruckDict)
    assert_type(await typed_dicts.get(1), TruckDict | None)
    assert_type(await hs.table("cars", "trucks", ["id"], columns=TRUCKS, row=Key).find(">", [0]), list[Key])
    assert_type(await hs.table("cars", "trucks", columns=TRUCKS, row=dict).get(1), dict[str, Any] | None)


async def scans(hs: Manager) -> None:
    trucks = hs.table("cars", "trucks", columns=TRUCKS, row=Truck)
    scan = trucks.scan(100, start=[1], stop=(90,), filters=[Filter("n", ">", 0)])
    assert_type(scan, trio_hs.Scan[Truck])
    assert_type(await scan.page(), list[Truck])
    assert_type(scan.position, str | None)
    assert_type(scan.done, bool)
    async for truck in trucks.scan(backwards=True):
        assert_type(truck, Truck)
    assert_type([row async for row in hs.table("cars", "trucks", columns=TRUCKS).scan(after=scan.position)], list[Row])


async def upkeep(hs: Manager, reads: Servers, writes: Servers) -> None:
    await hs.connect()
    await hs.set_servers(readers=reads)
    await hs.set_servers(readers=reads, writers=writes)
    assert_type(hs.ready(writes=False), bool)
    pings = await hs.ping()
    assert_type([ping.seconds for ping in (*pings.readers, *pings.writers)], list[float | None])
    await hs.purge()
    async with hs.suspended() as nothing:
        assert_type(nothing, None)
    statistics = hs.statistics()
    assert_type(statistics.retries, int)
    for server in (*statistics.readers, *statistics.writers):
        assert_type((server.server, server.connections, server.outstanding), tuple[str, int, int])
        assert_type(server.last_error, str | None)


async def low_level(reads: Servers, writes: Servers, connect: Connect, change: ModifyOperation) -> None:
    async with trio_hs.open_read_socket(reads, timeout=1.0, connections=2, connect=connect) as reader:
        index = await reader.get_index_id("cars", "trucks", ["id", "n"], index_name=None, filter_fields=("model",))
        assert_type(await reader.find(index, "=", ["1"], filters=[Filter(0, "=", "x")]), list[list[Any]])
        await reader.purge_index(index)
        await reader.purge_indexes()
        await reader.purge()
    async with trio_hs.open_write_socket(writes, encoding=None, connect=connect) as writer:
        index = await writer.get_index_id("cars", "trucks", iter(["id", "n", "model"]))
        assert_type(await writer.insert(index, [70, 2, None]), int | None)
        steps: list[Find | Insert | FindModify] = [
            Find(index, "=", [1]),
            Insert(index, [71, 1, "b"]),
            FindModify(index, "=", [71], "D", limit=1),
        ]
        assert_type(await writer.execute_many(steps), list[Any])
        assert_type(await writer.find_modify(index, "=", [70], "+", [0, 1, 0]), int)
        assert_type(await writer.find_modify(index, "=", [70], "U?", [70, 3, None]), list[list[Any]])
        assert_type(await writer.find_modify(index, "=", [70], change), int | list[list[Any]])


async def failing(hs: Manager) -> str:
    try:
        await hs.get("cars", "no such table", ["id"], 1)
    except (
        trio_hs.AuthenticationError, trio_hs.ColumnNotFoundError, trio_hs.DuplicateKeyError, trio_hs.ForeignKeyError,
        trio_hs.IndexNotFoundError, trio_hs.LockTimeoutError, trio_hs.ReadOnlyError, trio_hs.RemoteTableError,
        trio_hs.TableNotFoundError, trio_hs.UnsupportedOperationError,
    ) as refusal:  # fmt: skip
        operational: trio_hs.OperationalError = refusal
        assert_type((operational.code, operational.message, operational.server), tuple[int, str, str | None])
        return operational.message
    except trio_hs.IndexedConnectionError as lost:
        recoverable: trio_hs.RecoverableConnectionError = lost
        builtin: OSError = recoverable
        raise builtin from None
    except trio_hs.ConnectionError as unreachable:
        assert_type(unreachable.maybe_applied, bool)
    except trio_hs.DecodingError as undecodable:
        assert_type(undecodable.data, bytes)
    except trio_hs.ProtocolError as error:
        raise HandlerSocketError from error
    return ""


async def connect(server: Server) -> trio_hs.Transport:
    return await trio_hs.connect_transport(server)


async def fetch_secret() -> str:
    return ""


async def main(reads: Servers, writes: Servers) -> None:
    """The program, against a server with an empty table of trucks."""
    watch = Watch()
    policy = RetryPolicy(attempts=3, backoff=0.1, max_backoff=2, deadline=5.0, hedge_after=1.0, repeat_writes={"update"})
    assert_type(policy.pause(1), float)
    read_secret: Secret = fetch_secret
    async with trio_hs.open_manager(
        reads, writes, read_secret=read_secret, write_secret=lambda: "", timeout=2.5, connections=2, retry=policy,
        encoding="utf-8", write_databases={"drill": "drill_wt"}, move_writes_on_silence=False, instruments=[watch],
        connect=connect,
    ) as hs:  # fmt: skip
        assert_type(hs, Manager)
        await writing(hs, flag=True)
        await reading(hs, ">=", "!=")
        await tables(hs)
        await rows(hs)
        await upkeep(hs, reads, writes)
        assert await failing(hs) == "open_table"
    async with trio_hs.open_manager("handlersocket://db1/?write=db1|db2", timeout=2) as unused:
        assert_type(unused, Manager)
    await low_level(reads, writes, connect, "D")
    assert watch.seen > 30
    print("trio_hs", trio_hs.__version__, "made", watch.seen, "requests")
