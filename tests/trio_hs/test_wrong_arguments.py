"""Every parameter of every public call, with values of wrong types: taken as documented, or refused before anything is sent.

A refusal is a TypeError or ValueError whose message names the parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import trio_hs
from trio_hs import (
    Column,
    Columns,
    Filter,
    Find,
    FindModify,
    HandlerSocketError,
    Insert,
    Instrument,
    RetryPolicy,
    Server,
    connect_transport,
    open_manager,
    open_read_socket,
    open_write_socket,
)
from trio_hs.testing import EmbeddedServer, Table, open_server

WRONG: tuple[Any, ...] = (None, "3", 3, [], {}, object(), set())
NOTHING, TEXT, NUMBER, LIST, DICT, OBJECT, SET = WRONG

TABLE = Table("d", "t", {"id": "INT NOT NULL", "n": "INT NOT NULL"}, primary_key=["id"], indexes={"by_n": ["n"]})
DECLARED = Columns([Column("id", "int"), Column("n", "int")], indexes={"PRIMARY": ("id",), "by_n": ("n",)})
PLACE: dict[str, Any] = {"db": "d", "table": "t", "fields": ["id", "n"]}
SEARCH: dict[str, Any] = {
    "operation": "=", "values": [1], "limit": 1, "offset": 0, "in_": None, "filters": [Filter("n", "=", 1)],
}  # fmt: skip
CHANGE = {**SEARCH, "return_original": False}
INDEX: dict[str, Any] = {"index_name": "PRIMARY"}


@dataclass
class Clients:
    server: EmbeddedServer
    hs: trio_hs.Manager
    tables: dict[str, trio_hs.Table]
    reader: trio_hs.ReadSocket
    writer: trio_hs.WriteSocket

    async def open(self, call: Callable[..., AbstractAsyncContextManager[object]], **arguments: Any) -> None:
        """Opens a client, and closes it again."""
        async with call(**arguments):
            pass

    async def execute(self, kind: Callable[..., Any], **arguments: Any) -> None:
        (outcome,) = await self.writer.execute_many([kind(**arguments)])
        if isinstance(outcome, Exception):
            raise outcome

    async def find_by(self, **condition: Any) -> None:
        await self.hs.find("d", "t", "=", ["id"], [1], filters=[Filter(**condition)])

    async def find_among(self, position: Any, choices: Any) -> None:
        await self.hs.find("d", "t", "=", ["id"], [], in_=(position, choices))

    async def connect_to(self, **server: Any) -> None:
        await self.open(open_manager, read_servers=[Server(**server)])


@dataclass
class Call:
    """A public call: its parameters, each with a right argument."""

    name: str
    call: Callable[[Clients], Callable[..., Any]]
    right: dict[str, Any]
    takes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Of WRONG, what a parameter takes: where it is not as in TAKES."""
    parameters: Callable[..., Any] | None = None
    """What has these parameters, if that is not what is called."""
    word: str = ""
    """What a refusal names, if that is not the parameter."""


#: Of WRONG, what a parameter of this name takes. Nothing, if it is not here.
TAKES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("db", "table", "host", "name"), (TEXT,)),
    **dict.fromkeys(("limit", "offset", "timeout", "port", "connections", "attempts", "backoff", "max_backoff"), (NUMBER,)),
    **dict.fromkeys(("attempt",), (NUMBER,)),
    **dict.fromkeys(("value", "default"), (NOTHING, TEXT, NUMBER)),
    **dict.fromkeys(("deadline", "hedge_after"), (NOTHING, NUMBER)),
    **dict.fromkeys(("index_name", "secret", "read_secret", "write_secret"), (NOTHING, TEXT)),
    **dict.fromkeys(("encoding", "charset", "generated", "retry", "in_", "columns", "row"), (NOTHING,)),
    **dict.fromkeys(("read_servers", "write_servers", "readers", "writers"), (NOTHING,)),
    **dict.fromkeys(("filters", "filter_fields", "rows", "requests", "members", "unique"), (LIST,)),
    **dict.fromkeys(("instruments", "repeat_writes"), (LIST, DICT, SET)),
    **dict.fromkeys(("write_databases", "indexes"), (NOTHING, DICT)),
}
KEYS: dict[str, tuple[Any, ...]] = {"values": (LIST,)}
DECLARED_NAMES: dict[str, tuple[Any, ...]] = {"name": (), "index_name": (NOTHING,)}

OPENED: dict[str, Any] = {
    "timeout": 3.0, "connections": 1, "encoding": "utf-8", "instruments": [Instrument()], "connect": connect_transport,
}  # fmt: skip
MANAGER: dict[str, Any] = {
    "read_servers": [("inet", "h", 1)], "write_servers": [("inet", "h", 1)], "read_secret": "r", "write_secret": "w",
    "retry": RetryPolicy(), "write_databases": {"d": "e"}, "move_writes_on_silence": False, **OPENED,
}  # fmt: skip
SOCKET: dict[str, Any] = {"servers": [("inet", "h", 1)], "secret": "r", **OPENED}
SERVER: dict[str, Any] = {"kind": "inet", "host": "127.0.0.1", "port": 1, "timeout": 1.0, "secret": "s"}
POLICY: dict[str, Any] = {
    "attempts": 2, "backoff": 0.1, "max_backoff": 9.0, "deadline": 5.0, "hedge_after": 1.0, "repeat_writes": ["insert"],
}  # fmt: skip
FIND: dict[str, Any] = {"index_id": 0, **SEARCH, "filters": [Filter(0, "=", 1)]}
INSERT: dict[str, Any] = {"index_id": 0, "values": [1, 2]}
MODIFY: dict[str, Any] = {**FIND, "modify_operation": "U", "modify_values": [1, 2]}
CONDITION: dict[str, Any] = {"column": "n", "operation": "=", "value": 1, "stop": False}
COLUMN: dict[str, Any] = {
    "name": "c", "type": "varchar", "length": 5, "charset": "ascii", "precision": None, "scale": None, "unsigned": False,
    "members": (), "nullable": False, "default": "x", "default_is_expression": False, "auto_increment": False,
    "generated": None, "invisible": False, "until_2106": False,
}  # fmt: skip
DECIMAL: dict[str, Any] = {
    **COLUMN, "type": "decimal", "length": None, "charset": None, "precision": 9, "scale": 2, "default": 1,
}  # fmt: skip
OF_VARCHAR: dict[str, tuple[Any, ...]] = {
    "length": (NUMBER,), "precision": (NOTHING,), "scale": (NOTHING,), "default": (NOTHING, TEXT),
}  # fmt: skip
OF_DECIMAL: dict[str, tuple[Any, ...]] = {
    "length": (NOTHING,), "precision": (NUMBER,), "scale": (NOTHING, NUMBER), "default": (NOTHING, NUMBER),
}  # fmt: skip


def calls_of(kind: str) -> list[Call]:
    """The methods of a table. Increments are of ``n`` alone: a declared table refuses to change the key that it searches."""

    def method(name: str) -> Callable[[Clients], Callable[..., Any]]:
        return lambda clients: getattr(clients.tables[f"{kind} n" if name in ("incr", "decr") else kind], name)

    return [
        Call(f"{kind}.get", method("get"), {"value": 1}, {"value": (NUMBER,)} if kind == "declared" else {}),
        Call(f"{kind}.get_many", method("get_many"), {"values": [1]}, KEYS),
        Call(f"{kind}.insert_many", method("insert_many"), {"rows": [[1, 2]]}),
        Call(f"{kind}.insert", method("insert"), {"values": [1, 2]}),
        Call(f"{kind}.find", method("find"), SEARCH),
        Call(f"{kind}.update", method("update"), {**CHANGE, "update_values": [1, 2]}),
        Call(f"{kind}.delete", method("delete"), CHANGE),
        Call(f"{kind}.incr", method("incr"), {**CHANGE, "step": [1]}),
        Call(f"{kind}.decr", method("decr"), {**CHANGE, "step": [1]}),
    ]


CALLS = [
    Call(
        "Manager.table",
        lambda c: c.hs.table,
        {**PLACE, **INDEX, "columns": DECLARED, "row": dict},
        {"fields": (NOTHING,), "index_name": (NOTHING,)},
    ),
    Call("Manager.get", lambda c: c.hs.get, {**PLACE, "value": 1}),
    Call("Manager.get_many", lambda c: c.hs.get_many, {**PLACE, "values": [1]}, KEYS),
    Call("Manager.insert_many", lambda c: c.hs.insert_many, {**PLACE, "rows": [[1, 2]]}),
    Call("Manager.find", lambda c: c.hs.find, {**PLACE, **INDEX, **SEARCH}),
    Call("Manager.insert", lambda c: c.hs.insert, {**PLACE, **INDEX, "fields": [("id", 1), ("n", 2)]}),
    Call("Manager.update", lambda c: c.hs.update, {**PLACE, **INDEX, **CHANGE, "update_values": [1, 2]}),
    Call("Manager.delete", lambda c: c.hs.delete, {**PLACE, **INDEX, **CHANGE}),
    Call("Manager.incr", lambda c: c.hs.incr, {**PLACE, **INDEX, **CHANGE, "step": [0, 1]}),
    Call("Manager.decr", lambda c: c.hs.decr, {**PLACE, **INDEX, **CHANGE, "step": [0, 1]}),
    Call("Manager.ready", lambda c: c.hs.ready, {"reads": False, "writes": False}),
    Call("Manager.connect", lambda c: c.hs.connect, {"reads": False, "writes": False}),
    Call("Manager.set_servers", lambda c: c.hs.set_servers, {"readers": [("inet", "h", 1)], "writers": [("inet", "h", 1)]}),
    *calls_of("table"),
    *calls_of("declared"),
    Call(
        "declared.scan",
        lambda c: c.hs.table("d", "t", ["id", "n"], columns=DECLARED).scan,
        {
            "chunk": 5,
            "start": [1],
            "stop": [2],
            "equal": [],
            "filters": [],
            "backwards": False,
            "after": None,
            "timestamps_in_utc": False,
        },
        {"chunk": (NUMBER,), "start": (LIST,), "stop": (LIST,), "equal": (LIST,), "after": (NOTHING,)},
    ),
    Call("get_index_id", lambda c: c.reader.get_index_id, {**PLACE, **INDEX, "filter_fields": ["n"]}),
    Call("purge_index", lambda c: c.reader.purge_index, {"index_id": 0}),
    Call("ReadSocket.find", lambda c: c.reader.find, FIND),
    Call("execute_many", lambda c: c.writer.execute_many, {"requests": [Find(0, "=", [1])]}),
    Call("WriteSocket.insert", lambda c: c.writer.insert, INSERT),
    Call("find_modify", lambda c: c.writer.find_modify, MODIFY),
    Call("Find", lambda c: lambda **a: c.execute(Find, **a), FIND, parameters=Find),
    Call("Insert", lambda c: lambda **a: c.execute(Insert, **a), INSERT, parameters=Insert),
    Call("FindModify", lambda c: lambda **a: c.execute(FindModify, **a), MODIFY, parameters=FindModify),
    Call("Filter", lambda c: c.find_by, CONDITION, {"column": (TEXT,)}, parameters=Filter),
    Call("in_", lambda c: c.find_among, {"position": 0, "choices": [1]}, word="in_"),
    Call("open_manager", lambda c: lambda **a: c.open(open_manager, **a), MANAGER, parameters=open_manager),
    Call("open_read_socket", lambda c: lambda **a: c.open(open_read_socket, **a), SOCKET, parameters=open_read_socket),
    Call(
        "open_write_socket",
        lambda c: lambda **a: c.open(open_write_socket, **a),
        {**SOCKET, "move_writes_on_silence": False},
        parameters=open_write_socket,
    ),
    Call("Server", lambda c: c.connect_to, SERVER, {"timeout": (NOTHING, NUMBER)}, parameters=Server),
    Call("connect_transport", lambda c: connect_transport, {"server": Server("inet", "127.0.0.1", 1)}),
    Call("RetryPolicy", lambda c: RetryPolicy, POLICY),
    Call("RetryPolicy.pause", lambda c: RetryPolicy().pause, {"attempt": 1}),
    Call(
        "Columns",
        lambda c: Columns,
        {"columns": [Column("id", "int")], "indexes": {"PRIMARY": ("id",)}, "unique": []},
        {"columns": ()},
    ),
    Call("Columns.column", lambda c: DECLARED.column, {"name": "id"}, DECLARED_NAMES, word="column"),
    Call("Columns.key", lambda c: DECLARED.key, {"index_name": "by_n"}, DECLARED_NAMES),
    Call("Column", lambda c: Column, COLUMN, OF_VARCHAR),
    Call("Column of a decimal", lambda c: Column, DECIMAL, OF_DECIMAL),
]


def cases() -> Iterator[Any]:
    for call in CALLS:
        for parameter in call.right:
            yield pytest.param(call, parameter, id=f"{call.name}-{parameter}")


@asynccontextmanager
async def clients() -> AsyncIterator[Clients]:
    async with (
        open_server([TABLE]) as server,
        open_manager([server.read_address], [server.write_address], connect=server.connect) as hs,
        open_read_socket([server.read_address], connect=server.connect) as reader,
        open_write_socket([server.write_address], connect=server.connect) as writer,
    ):
        for socket in (reader, writer):
            assert await socket.get_index_id("d", "t", ["id", "n"], filter_fields=["n"]) == 0
        tables: dict[str, trio_hs.Table] = {}
        for suffix, fields in (("", ["id", "n"]), (" n", ["n"])):
            tables[f"table{suffix}"] = hs.table("d", "t", fields)
            tables[f"declared{suffix}"] = hs.table("d", "t", fields, columns=DECLARED)
        yield Clients(server, hs, tables, reader, writer)


@pytest.mark.parametrize("call", CALLS, ids=[call.name for call in CALLS])
async def test_every_parameter_is_tried(call: Call) -> None:
    async with clients() as known:
        signature = inspect.signature(call.parameters or call.call(known))
    assert set(signature.parameters) == set(call.right)


@pytest.mark.parametrize("call, parameter", list(cases()))
async def test_a_wrong_argument_is_taken_as_documented_or_refused_by_name(call: Call, parameter: str) -> None:
    taken = call.takes.get(parameter, TAKES.get(parameter, ()))
    async with clients() as known:
        for wrong in WRONG:
            refusal: Exception | None = None
            before = known.server.statistics().requests
            try:
                outcome = call.call(known)(**{**call.right, parameter: wrong})
                if inspect.isawaitable(outcome):
                    await outcome
            except (HandlerSocketError, OSError):
                pass  # such as no table of that name
            except (TypeError, ValueError) as error:
                refusal = error
            if any(wrong is each for each in taken):
                assert refusal is None, wrong
            else:
                assert refusal is not None, wrong
                assert (call.word or parameter) in str(refusal), wrong
                assert known.server.statistics().requests == before, wrong
