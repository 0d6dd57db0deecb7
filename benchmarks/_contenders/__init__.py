"""The contenders of `benchmarks.client`: each Python client behind one interface, and a bare socket as the floor.

A contender opens `pool` connections, and yields a handle for each. An operation takes a handle,
checks the answer (`WrongAnswer` fails the run), and returns how many rows it has read or written. Comparing 1,000 rows with the
expected ones takes up to a third of a client's own time, so that time is measured and subtracted. A client that can be used in
several ways is a contender in each of these modes: its figure is that of its best one.
"""

from __future__ import annotations

from ._bare import RawSocket, RawSocketInTrio
from ._base import (
    ASYNCIO,
    BATCH,
    COLUMNS_SQL,
    COUNTED,
    DATABASE,
    FILLED,
    FLOOR,
    INSERTED,
    OURS,
    READ,
    ROWS,
    SQL,
    THREADS,
    TRIO,
    VALKEY,
    Contender,
    Target,
    WrongAnswer,
    check,
    find_valkey,
    payload,
)
from ._mariadb import Connector, ConnectorCompiled, ConnectorCompiledPrepared, ConnectorPrepared, ConnectorThreads
from ._ours import ManagerCalls, TableCalls
from ._sql import PREPARED, Aiomysql, Asyncmy, AsyncmyPrepared, Mysqlclient, PyMySQL, TrioMysql
from ._valkey import Glide, GlideTrio, ValkeyAsyncio, ValkeyThreads

__all__ = [
    "ASYNCIO", "BATCH", "COLUMNS_SQL", "CONTENDERS", "COUNTED", "DATABASE", "FILLED", "FLOOR", "INSERTED", "OURS", "PREPARED",
    "READ", "ROWS", "SQL", "THREADS", "TRIO", "VALKEY", "Contender", "ManagerCalls", "Target", "WrongAnswer", "check",
    "find_valkey", "payload",
]  # fmt: skip

#: By their labels. Competitors are measured in this order.
CONTENDERS: dict[str, type[Contender]] = {
    contender.label(): contender
    for contender in (
        RawSocket,
        RawSocketInTrio,
        TableCalls,
        ManagerCalls,
        Asyncmy,
        AsyncmyPrepared,
        Connector,
        ConnectorPrepared,
        ConnectorCompiled,
        ConnectorCompiledPrepared,
        ConnectorThreads,
        Aiomysql,
        TrioMysql,
        PyMySQL,
        Mysqlclient,
        ValkeyAsyncio,
        ValkeyThreads,
        Glide,
        GlideTrio,
    )
}
