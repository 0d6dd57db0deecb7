"""What people write without us: a Locust `User` that asks a SQL client for one row by its primary key.

Run by `benchmarks.harness`; `PLAIN_SQL` in the environment is JSON with the servers, the account and the table. Each user
has a connection of its own; users are dealt out over the servers.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from typing import Any

import pymysql
from locust import User, constant, task
from locust.env import Environment

try:
    import MySQLdb
except ImportError:
    MySQLdb = None

SETTINGS: dict[str, Any] = json.loads(os.environ["PLAIN_SQL"])
SERVERS = itertools.cycle(SETTINGS["servers"])
QUERY = f"SELECT id, grp, n, payload FROM {SETTINGS['table']} WHERE id = %s"


class _SqlUser(User):
    abstract = True
    wait_time = constant(0)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        host, port = next(SERVERS)
        self.cursor = self.connect(host, port).cursor()

    def connect(self, host: str, port: int) -> Any:
        raise NotImplementedError

    @task
    def get(self) -> None:
        key = random.randint(1, SETTINGS["rows"])
        begin = time.perf_counter()
        error: Exception | None = None
        row = None
        try:
            self.cursor.execute(QUERY, (key,))
            row = self.cursor.fetchone()
            if row is None:
                error = LookupError("the row is not there")
        except Exception as failure:
            error = failure
        self.environment.events.request.fire(
            request_type="SQL",
            name="get",
            response_time=(time.perf_counter() - begin) * 1000,
            response_length=0,
            exception=error,
        )


class PyMySQLUser(_SqlUser):
    def connect(self, host: str, port: int) -> Any:
        return pymysql.connect(host=host, port=port, user=SETTINGS["user"], password=SETTINGS["password"], autocommit=True)


class MysqlclientUser(_SqlUser):
    def connect(self, host: str, port: int) -> Any:
        return MySQLdb.connect(host=host, port=port, user=SETTINGS["user"], password=SETTINGS["password"], autocommit=True)
