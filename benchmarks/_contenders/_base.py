"""What all contenders have in common: the tables, the drawing of keys, and the checks of answers."""

from __future__ import annotations

import importlib.metadata
import itertools
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any, ClassVar

DATABASE = "bench"
FIELDS = ("id", "n", "payload")
COLUMNS_SQL = "id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, payload VARCHAR(64) CHARACTER SET latin1 NOT NULL"
#: The table that is read, the one that is incremented, and the one that each measurement of inserts fills anew.
READ, COUNTED, FILLED = "rows_read", "rows_counted", "rows_filled"
ROWS = 20_000
BATCH = 1000
INSERTED = "x" * 48

#: What a program's tasks are when it uses the client.
TRIO, ASYNCIO, THREADS = "trio", "asyncio", "threads"
#: What a contender is: the client of this project, a bare socket in its place, a client of the same tables by SQL, or one of
#: another store.
OURS, FLOOR, SQL, VALKEY = "trio_hs", "bare socket", "SQL", "Valkey"


def payload(key: int) -> str:
    """The text of a row to be read. It differs in each row, so that a wrong row is noticed."""
    return f"{key:016}" * 3


#: The programs that can be Valkey's server, the preferred one first. It is a fork of Redis 7.2; Debian 12 has only Redis 7.0.
VALKEY_SERVERS = ("valkey-server", "redis-server")


def find_valkey() -> str | None:
    """The path of Valkey's server."""
    return next((path for name in VALKEY_SERVERS if (path := shutil.which(name))), None)


class WrongAnswer(Exception):
    """A contender gave a wrong or missing row, or did not change what it should have."""


def check(answer: object, expected: object) -> None:
    if answer != expected:
        raise WrongAnswer(f"{str(answer)[:200]} instead of {str(expected)[:200]}")


@dataclass(frozen=True)
class Target:
    """The servers, and the processes whose CPU time counts."""

    host: str
    read_port: int
    write_port: int
    sql_port: int
    read_secret: str = field(repr=False)
    write_secret: str = field(repr=False)
    user: str
    password: str = field(repr=False)
    pid: int
    valkey_port: int = 0
    """Valkey's server, on the same host; 0 if there is none."""
    valkey_pid: int = 0


class Contender:
    """One client, and the drawing of keys that all share.

    Attributes:
      name: for people.
      mode: which of the client's ways of working this is; empty if it has one.
      kind: one of OURS, FLOOR, SQL, VALKEY.
      distributions: what must be installed for it.
      runtime: what its tasks are.
      shared: whether any number of tasks may use one connection at once.
      operations: the names of its methods that can be measured.
      checking: seconds spent on checking batches since it was set to 0.
      checking_cpu: the CPU time of that, in seconds; less than `checking` where other programs use the cores.
    """

    name: ClassVar[str]
    mode: ClassVar[str] = ""
    kind: ClassVar[str]
    distributions: ClassVar[Sequence[str]] = ()
    runtime: ClassVar[str]
    shared: ClassVar[bool] = False
    operations: ClassVar[Sequence[str]] = ("get", "get_many", "insert", "insert_many", "incr")
    checking = 0.0
    checking_cpu = 0.0

    def __init__(self, target: Target) -> None:
        self.target = target
        draw = random.Random(8)
        keys = list(range(1, ROWS + 1))
        draw.shuffle(keys)
        self.rows = {key: self.expected(key) for key in keys}
        self.next_key = itertools.cycle(keys).__next__
        samples = [draw.sample(keys, BATCH) for _ in range(8)]
        self.next_sample = itertools.cycle([(sample, self.expected_many(sample)) for sample in samples]).__next__

    @classmethod
    def label(cls) -> str:
        """Its name and mode, by which a case names it."""
        return f"{cls.name} ({cls.mode})" if cls.mode else cls.name

    @classmethod
    def missing(cls) -> str:
        """Why it cannot run here; empty if it can."""
        for distribution in cls.distributions:
            try:
                importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                return f"{distribution} is not installed (pip install 'trio-hs-drill[bench]')"
        if cls.kind == VALKEY and find_valkey() is None:
            return f"{' or '.join(VALKEY_SERVERS)} is not installed (Debian: apt-get install {VALKEY_SERVERS[0]})"
        return ""

    @property
    def server_pid(self) -> int:
        return self.target.valkey_pid if self.kind == VALKEY else self.target.pid

    def begin(self, tasks: int) -> None:
        """Called before each measurement, when the table to be filled is empty."""
        self.tasks = tasks
        #: The key of the next row to insert; afterwards the run checks that none is missing.
        self.next_new = itertools.count(1).__next__

    def expected(self, key: int) -> Any:
        """The row of a key, as this client returns it."""
        return (key, 0, payload(key))

    def expected_many(self, keys: list[int]) -> Any:
        """The rows of many keys; for SQL a mapping by key, because the server chooses their order."""
        return {key: self.expected(key) for key in keys}

    def check_many(self, rows: Any, expected: Any) -> None:
        begun, busy = perf_counter(), process_time()
        check(self.comparable(rows), expected)
        self.checking += perf_counter() - begun
        self.checking_cpu += process_time() - busy

    def comparable(self, rows: Any) -> Any:
        """The rows of many keys, in the form of `expected_many`."""
        return {row[0]: row for row in rows}

    def new_rows(self) -> list[tuple[int, int, str]]:
        return [(self.next_new(), 0, INSERTED) for _ in range(BATCH)]

    def open(self, pool: int) -> Any:
        """A context manager that opens the handles for operations, one per connection; async if the tasks are."""
        raise NotImplementedError
