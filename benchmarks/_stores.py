"""What the contenders of `benchmarks.client` have really done, as the stores themselves say: MariaDB by SQL, and Valkey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pymysql

from ._contenders import BATCH, CONTENDERS, COUNTED, DATABASE, FILLED, INSERTED, PREPARED, READ, ROWS, SQL, Target, payload

BY_TASKS, IN_BATCHES = ("get", "insert", "incr"), ("get_many", "find_in", "insert_many")
#: The commands of one pipeline to Valkey.
AT_ONCE = 5_000


class BenchmarkError(Exception):
    """Something could not be measured; the message is one line for the user."""


@dataclass(frozen=True)
class Case:
    """One combination that is measured in every round."""

    contender: str
    operation: str
    tasks: int
    pool: int


class Database:
    """An SQL connection that verifies what the contenders have really done."""

    def __init__(self, target: Target) -> None:
        self.connection = pymysql.connect(
            host=target.host, port=target.sql_port, user=target.user, password=target.password, database=DATABASE
        )
        self.connection.autocommit(True)
        self._one("SET SESSION lock_wait_timeout = 30")  # an index left open would make the TRUNCATE wait forever
        self.total = self._sum()
        self.prepared = self._executed_prepared()

    def _one(self, statement: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    def _sum(self) -> int:
        return int(self._one(f"SELECT SUM(n) FROM {COUNTED}")[0])

    def _executed_prepared(self) -> int:
        return int(self._one("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'")[1])

    def check(self, case: Case, changed: int) -> None:
        """Check that exactly the acknowledged rows are there, by prepared statements if those are the contender's mode.
        Empties the table that was filled."""
        self._check_mode(case, changed // BATCH if case.operation in IN_BATCHES else changed)
        if case.operation == "incr":
            before, self.total = self.total, self._sum()
            if (added := self.total - before) != changed:
                raise BenchmarkError(f"{case}: {changed} increments were acknowledged, {added} were done")
        if case.operation in ("insert", "insert_many"):
            there = self._one(f"SELECT COUNT(*), MAX(id), SUM(payload = '{INSERTED}') FROM {FILLED}")
            if there != (changed, changed, changed):
                raise BenchmarkError(f"{case}: {changed} inserts were acknowledged; count, last id and right ones: {there}")
            self._one(f"TRUNCATE TABLE {FILLED}")

    def _check_mode(self, case: Case, requests: int) -> None:
        before, self.prepared = self.prepared, self._executed_prepared()
        contender = CONTENDERS[case.contender]
        wanted = requests if PREPARED in contender.mode else 0
        if contender.kind == SQL and (executed := self.prepared - before) != wanted:
            raise BenchmarkError(
                f"{case}: of {requests} statements the server executed {executed} as prepared ones, not {wanted}"
            )


class Hashes:
    """A connection to Valkey that fills it, and verifies what the contenders have really done."""

    def __init__(self, target: Target) -> None:
        import valkey

        self.client = valkey.Valkey(target.host, target.valkey_port, decode_responses=True)
        for table in (READ, COUNTED):
            self._each([("HSET", f"{table}:{key}", "n", "0", "payload", payload(key)) for key in range(1, ROWS + 1)])
        self.total = 0

    def _each(self, commands: Sequence[tuple[str, ...]]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(commands), AT_ONCE):
            pipeline = self.client.pipeline(transaction=False)
            for command in commands[start : start + AT_ONCE]:
                pipeline.execute_command(*command)
            answers += pipeline.execute()
        return answers

    def check(self, case: Case, changed: int) -> None:
        """Check that exactly the acknowledged rows are there. Removes those that were inserted."""
        if case.operation == "incr":
            before = self.total
            self.total = sum(int(n) for n in self._each([("HGET", f"{COUNTED}:{key}", "n") for key in range(1, ROWS + 1)]))
            if (added := self.total - before) != changed:
                raise BenchmarkError(f"{case}: {changed} increments were acknowledged, {added} were done")
        if case.operation in ("insert", "insert_many"):
            names = [f"{FILLED}:{key}" for key in range(1, changed + 1)]
            right = self._each([("HMGET", name, "n", "payload") for name in names]).count(["0", INSERTED])
            count = int(self.client.dbsize()) - 2 * ROWS
            if (count, right) != (changed, changed):
                raise BenchmarkError(f"{case}: {changed} inserts were acknowledged; count and right ones: {(count, right)}")
            self._each([("UNLINK", name) for name in names])
