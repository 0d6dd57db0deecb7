"""What people write today: a Locust user that asks for one row at a time over SQL, on a connection of its own.

`benchmarks/harness.py` runs it; PLAIN says where the server is and which driver to use.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

from locust import User, constant, task

PLAIN: dict[str, Any] = json.loads(os.environ["PLAIN"])


def connect() -> Any:
    options = {key: PLAIN[key] for key in ("host", "port", "user", "password", "database")}
    if PLAIN["driver"] == "mysqlclient":
        import MySQLdb

        return MySQLdb.connect(**options, autocommit=True)
    import pymysql

    return pymysql.connect(**options, autocommit=True)


class PlainUser(User):
    """Reads rows by primary key, one after the other."""

    wait_time = constant(0)

    def on_start(self) -> None:
        self.connection = connect()
        self.cursor = self.connection.cursor()

    def on_stop(self) -> None:
        self.connection.close()

    @task
    def get(self) -> None:
        begin = time.perf_counter()
        error: Exception | None = None
        try:
            self.cursor.execute(PLAIN["query"], (random.randint(1, PLAIN["rows"]),))
            if self.cursor.fetchone() is None:
                error = LookupError("the row is not there")
        except Exception as exc:
            error = exc
        events: Any = self.environment.events
        events.request.fire(
            request_type="sql",
            name="get",
            response_time=(time.perf_counter() - begin) * 1000,
            response_length=0,
            exception=error,
        )
