"""What people write without the harness: a Locust `User` that works through SQL, with mysqlclient.

Run by `benchmarks.harness`; `PLAIN_SQL` in the environment is JSON with the servers, the account, the table and the mix. Each
user has a connection to a reader and one to the writer; users are spread over the readers. Writes are kept out of the binary
log, like HandlerSocket's.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

import MySQLdb
from locust import User, constant, task
from locust.env import Environment

SETTINGS: dict[str, Any] = json.loads(os.environ["PLAIN_SQL"])
READERS = itertools.cycle(SETTINGS["readers"])
TABLE, ROWS, GROUPS = SETTINGS["table"], SETTINGS["rows"], SETTINGS["groups"]
NAMES, WEIGHTS = list(SETTINGS["mix"]), list(SETTINGS["mix"].values())
# Above the loaded rows, and different in each round.
FRESH = itertools.count(time.time_ns())
COLUMNS = "id, grp, n, payload"


class MysqlclientUser(User):
    wait_time = constant(0)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.reads = self.connect(*next(READERS)).cursor()
        self.writes = self.connect(*SETTINGS["writer"]).cursor()
        self.writes.execute("SET sql_log_bin=0")

    def connect(self, host: str, port: int) -> Any:
        return MySQLdb.connect(host=host, port=port, user=SETTINGS["user"], password=SETTINGS["password"], autocommit=True)

    @task
    def work(self) -> None:
        (name,) = random.choices(NAMES, WEIGHTS)
        operation: Callable[[int], bool] = getattr(self, name)
        key = random.randint(1, ROWS)
        begin = time.perf_counter()
        error: Exception | None = None
        try:
            if not operation(key):
                error = LookupError("the row is not there")
        except Exception as failure:
            error = failure
        self.environment.events.request.fire(
            request_type="SQL",
            name=name,
            response_time=(time.perf_counter() - begin) * 1000,
            response_length=0,
            exception=error,
        )

    def get(self, key: int) -> bool:
        self.reads.execute(f"SELECT {COLUMNS} FROM {TABLE} WHERE id = %s", (key,))
        return self.reads.fetchone() is not None

    def find(self, key: int) -> bool:
        group = key % GROUPS
        where = "(grp = %s AND id >= %s) OR grp > %s ORDER BY grp, id LIMIT 10"
        self.reads.execute(f"SELECT {COLUMNS} FROM {TABLE} FORCE INDEX (grp) WHERE {where}", (group, key, group))
        return bool(self.reads.fetchall())

    def insert(self, key: int) -> bool:
        fresh = next(FRESH)
        row = (fresh, fresh % GROUPS, 0, "x" * SETTINGS["value_size"])
        return bool(self.writes.execute(f"INSERT INTO {TABLE} ({COLUMNS}) VALUES (%s, %s, %s, %s)", row))

    def incr(self, key: int) -> bool:
        return bool(self.writes.execute(f"UPDATE {TABLE} SET n = n + 1 WHERE id = %s", (key,)))
