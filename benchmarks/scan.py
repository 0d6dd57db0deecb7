"""Compare a scan of a large table with other ways to read all of it, against one real MariaDB. `./dev bench scan`

Reads the table by `scan` of a declared table, by its `find` with a limit behind the last key, by the same `find` of a table
that is not declared, and by SQL, page after page behind the last key (PyMySQL). In alternating rounds, each in a process of its
own. The sum of the keys shows whether every row was read once. Prints the medians. Exit code 1: a reader got other rows;
2: something could not run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pymysql
import trio
from rich.console import Console
from rich.table import Table

import trio_hs
from hs_drill._cluster import ClusterError, Server
from hs_drill.servers import execute_sql, open_cluster
from hs_drill.servers._replication import create_table

ROOT = Path(__file__).resolve().parent.parent
FIELDS = ["id", "n", "payload"]
COLUMNS = trio_hs.Columns(
    [trio_hs.Column("id", "int"), trio_hs.Column("n", "int"), trio_hs.Column("payload", "varchar", length=40)],
    {"PRIMARY": ["id"]},
)
COLUMNS_SQL = "id INT NOT NULL PRIMARY KEY, n INT NOT NULL, payload VARCHAR(40) NOT NULL"
MIB = 1 << 20

Sums = tuple[int, int]
"""How many rows were read, and the sum of their keys."""


@dataclass(frozen=True)
class Measured:
    """One reading of the whole table."""

    rows: int
    keys: int
    """The sum of the keys."""
    seconds: float
    cpu: float
    """Seconds of this process."""
    memory: int
    """Bytes by which the process grew at most."""

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


async def by_scan(hs: trio_hs.Manager, chunk: int) -> Sums:
    count = keys = 0
    async for row in hs.table("scans", "t", FIELDS, columns=COLUMNS).scan(chunk):
        count, keys = count + 1, keys + row[0][1]
    return count, keys


async def by_find(hs: trio_hs.Manager, chunk: int, columns: trio_hs.Columns | None = COLUMNS) -> Sums:
    table = hs.table("scans", "t", FIELDS) if columns is None else hs.table("scans", "t", FIELDS, columns=columns)
    count = keys = last = 0
    while rows := await table.find(">", [last], chunk):
        for row in rows:
            last = int(row[0][1])
            count, keys = count + 1, keys + last
    return count, keys


async def by_plain_find(hs: trio_hs.Manager, chunk: int) -> Sums:
    return await by_find(hs, chunk, None)


def by_sql(server: Server, chunk: int) -> Sums:
    connection = pymysql.connect(
        host=server.host, port=server.sql_port or 0, user=server.admin_user, password=server.admin_password, ssl_disabled=True
    )
    count = keys = last = 0
    with connection, connection.cursor() as cursor:
        while cursor.execute("SELECT id, n, payload FROM scans.t WHERE id > %s ORDER BY id LIMIT %s", (last, chunk)):
            for last, _, _ in cursor.fetchall():
                count, keys = count + 1, keys + last
    return count, keys


READERS: Mapping[str, Callable[[trio_hs.Manager, int], Awaitable[Sums]]] = {
    "scan, declared": by_scan,
    "find, declared": by_find,
    "find": by_plain_find,
}
SQL = "SQL"


def read(name: str, server: Server, chunk: int) -> Measured:
    """Read the whole table in this process. A few rows come first, so that what is done once does not count."""

    async def main() -> Measured:
        address = ("inet", server.host, server.read_port)
        async with trio_hs.open_manager([address], [address], read_secret=server.read_secret, timeout=60) as hs:
            await hs.get("scans", "t", FIELDS, 1)
            began = Beginning()
            return began.measured(*await READERS[name](hs, chunk))

    if name != SQL:
        return trio.run(main)
    began = Beginning()
    return began.measured(*by_sql(server, chunk))


class Beginning:
    def __init__(self) -> None:
        self._memory, self._cpu, self._time = _most_memory(), time.process_time(), time.perf_counter()

    def measured(self, rows: int, keys: int) -> Measured:
        seconds, cpu = time.perf_counter() - self._time, time.process_time() - self._cpu
        return Measured(rows, keys, seconds, cpu, _most_memory() - self._memory)


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process(name: str, server: Server, chunk: int) -> Measured:
    given = json.dumps([name, asdict(server), chunk])  # not as an argument, because it has the server's secrets
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.scan", "--read"], cwd=ROOT, input=given, capture_output=True, text=True
    )
    if result.returncode:
        raise ClusterError(f"{name}: {result.stderr.strip().splitlines()[-1]}")
    return Measured(**json.loads(result.stdout))


async def measure(rows: int, chunk: int, rounds: int) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {name: [] for name in (*READERS, SQL)}
    async with open_cluster("mariadb", readers=0) as cluster:
        await create_table(cluster, "scans", "t", COLUMNS_SQL)
        fill = f"INSERT INTO scans.t SELECT seq, seq % 7, CONCAT('payload of row ', seq) FROM scans.seq_1_to_{rows}"
        await execute_sql(cluster.writer, fill)
        for _ in range(rounds):
            for name in found:
                found[name].append(await trio.to_thread.run_sync(in_a_process, name, cluster.writer, chunk))
    return found


def report(rows: int, found: Mapping[str, list[Measured]]) -> bool:
    """Print the medians; returns whether every reader has read every row once."""
    table = Table(title=f"{rows:,} rows, medians (lowest to highest)")
    for heading in ("", "rows/s", "µs of CPU per row", "MiB more"):
        table.add_column(heading, justify="right" if heading else "left")
    right = True
    for name, measured in found.items():
        rates = [one.rate for one in measured]
        cpu = statistics.median(one.cpu / one.rows * 1e6 if one.rows else 0 for one in measured)
        memory = max(one.memory for one in measured) / MIB
        row = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})", f"{cpu:.2f}", f"{memory:,.1f}"
        table.add_row(name, *row)
        for one in measured:
            if (one.rows, one.keys) != (rows, rows * (rows + 1) // 2):
                right = False
                print(f"{name}: {one.rows:,} rows with keys of {one.keys:,}, not each of {rows:,} once")
    Console(width=100 if not sys.stdout.isatty() else None).print(table)
    return right


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench scan", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--chunk", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        name, server, chunk = json.load(sys.stdin)
        print(json.dumps(asdict(read(name, Server(**server), chunk))))
        return 0
    try:
        found = trio.run(measure, options.rows, options.chunk, options.rounds)
        return 0 if report(options.rows, found) else 1
    except* ClusterError as errors:
        print(errors.exceptions[0], file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
