"""MariaDB's Connector/Python 2.0: two builds, one of Python alone and a compiled one, each in both modes (see `_sql`).

A connection carries one statement at a time. The connector's option `pipeline`, on as shipped, sends the preparation of a
statement together with its first execution, and is used in the prepared mode; here that is over before the measurement begins.

Where the server is older than MariaDB 11.5, `executemany` of the build of Python alone sends row by row. So it inserts 1,000
rows by one statement with all of them, and so does the compiled one in text, because its `executemany` is always prepared.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar

from ._base import ASYNCIO, BATCH, DATABASE, check
from ._sql import PREPARED, TEXT, AsyncSql, Statements, ThreadSql

PURE, COMPILED = "python", "binary"


def _import(build: str) -> Any:
    os.environ["MARIADB_PYTHON_CONNECTOR"] = build  # looked at when it is imported, once for each contender's process
    import mariadb

    if (found := mariadb.__impl__) != build:
        raise ImportError(f"the build {build!r} of mariadb was asked for, and {found!r} imported")
    return mariadb


class Connector(AsyncSql):
    name, runtime = "mariadb", ASYNCIO
    mode = f"pure, {TEXT}"
    distributions: ClassVar[Sequence[str]] = ("mariadb",)
    sql = Statements("?")
    build: ClassVar[str] = PURE
    binary: ClassVar[bool] = False

    async def connect(self) -> tuple[Any, Any]:
        module = _import(self.build)
        connection = await module.asyncConnect(**self.login, database=DATABASE, autocommit=True, binary=self.binary)
        return connection, connection.cursor()

    async def close(self, connection: Any) -> None:
        await connection.close()

    async def insert_many(self, cursor: Any) -> int:
        await cursor.execute(self.sql.insert_rows, list(chain.from_iterable(self.new_rows())))
        check(cursor.rowcount, BATCH)
        return BATCH


class ConnectorPrepared(Connector):
    mode = f"pure, {PREPARED}"
    binary = True


class ConnectorCompiled(Connector):
    mode = f"compiled, {TEXT}"
    distributions = ("mariadb", "mariadb-binary")
    build = COMPILED


class ConnectorCompiledPrepared(ConnectorCompiled):
    mode = f"compiled, {PREPARED}"
    binary = True
    insert_many = AsyncSql.insert_many


class ConnectorThreads(ThreadSql):
    name = "mariadb"
    mode = f"compiled, threads, {PREPARED}"
    distributions = ("mariadb", "mariadb-binary")
    sql = Statements("?")

    def connect(self) -> Any:
        return _import(COMPILED).connect(**self.login, database=DATABASE, autocommit=True, binary=True)
