"""Compare trio_hs with Python's SQL clients, with Valkey and with a bare socket, in one run. `./dev bench client`

Measures reads, inserts and increments by 1, 16, 64 and 256 tasks, and batches of 1,000 rows, in alternating rounds, each
contender in its own process, a client in each mode that may be its best. Every answer is checked, and that statements were
prepared where the mode says so. Prints the medians and the verdict on each claim, and writes `client.json`, `client.md` and
`client.svg`. Exit code 1: a claim does not hold; 2: something could not run.

Both sides have the same durability: `innodb_flush_log_at_trx_commit=1`, `sync_binlog` as shipped (0), and nothing in the
binary log, which HandlerSocket's writes never reach and which the SQL sessions switch off. Valkey, where its server is
installed, flushes each write before it answers (`appendfsync always`). What cannot run here is left out, with the reason.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from hs_drill._cluster import Cluster, ClusterError
from hs_drill._trio_child import first_error
from hs_drill.servers import execute_sql, open_cluster
from hs_drill.servers._replication import create_table

from ._client_report import write_report
from ._contenders import COLUMNS_SQL, CONTENDERS, COUNTED, DATABASE, FILLED, FLOOR, READ, ROWS, VALKEY, Target, payload
from ._stores import BY_TASKS, IN_BATCHES, BenchmarkError, Case, Database, Hashes
from ._valkey_server import ValkeyServer, open_valkey, valkey_version

ROOT = Path(__file__).resolve().parent.parent
TASKS = (1, 16, 64, 256)
POOLS = (1, 4, 16, 64)
#: Extra time for a measurement: connecting, the last answers.
PATIENCE = 60.0


@dataclass
class Cell:
    """A case and its figures for each round: rows per second, and CPU microseconds per row."""

    case: Case
    rates: list[float] = field(default_factory=list)
    client_us: list[float] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)


def cases(names: Iterable[str], tasks: Sequence[int], pools: Sequence[int]) -> list[Case]:
    """All cases. Competitors are adjacent, so that a quiet minute of the machine serves all of them."""
    names = list(names)
    found = []
    for operation in (*BY_TASKS, *IN_BATCHES):
        for number in tasks if operation in BY_TASKS else (1,):
            for name in names:
                if operation in CONTENDERS[name].operations:
                    found += [Case(name, operation, number, pool) for pool in pools_for(name, number, pools)]
    return found


def pools_for(name: str, tasks: int, pools: Sequence[int]) -> list[int]:
    """The pool sizes to try: one connection if tasks can share it, otherwise at most one per task."""
    if CONTENDERS[name].shared or CONTENDERS[name].kind == FLOOR or tasks == 1:
        return [1]
    return [pool for pool in pools if 1 < pool <= tasks] or [1]


class Child:
    """A contender's process."""

    def __init__(self, name: str, target: Target) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._contender_process", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(asdict(target))

    def _say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def measure(self, case: Case, seconds: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        late = threading.Timer(seconds + PATIENCE, self.process.kill)
        late.start()
        try:
            self._say({"operation": case.operation, "tasks": case.tasks, "pool": case.pool, "seconds": seconds})
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended, or took too long"}
        if "error" in answer:
            raise BenchmarkError(f"{case}: {answer['error']}")
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        with self.process:  # closes the pipes and waits
            pass


@contextmanager
def children(names: Iterable[str], target: Target) -> Iterator[dict[str, Child]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(Child(name, target)) for name in names}


def measure(target: Target, wanted: list[Case], rounds: int, seconds: float) -> list[Cell]:
    """Measure every case once per round, alternately forwards and backwards, so that none always follows the same one."""
    cells = [Cell(case) for case in wanted]
    database = Database(target)
    hashes = Hashes(target) if target.valkey_port else None
    with children(dict.fromkeys(case.contender for case in wanted), target) as by_name:
        for number in range(rounds):
            for cell in cells if number % 2 == 0 else reversed(cells):
                result = by_name[cell.case.contender].measure(cell.case, seconds)
                store = hashes if hashes and CONTENDERS[cell.case.contender].kind == VALKEY else database
                store.check(cell.case, result["changed"])
                cell.rates.append(result["rate"])
                cell.client_us.append(result["client_us"])
                cell.server_us.append(result["server_us"])
            print(f"round {number + 1} of {rounds}: load average {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return cells


async def set_up(cluster: Cluster, valkey: ValkeyServer | None) -> Target:
    """Create and fill the tables, and reset the server's variables that the harness changes to their shipped values."""
    server = cluster.writer
    for table in (READ, COUNTED, FILLED):
        await create_table(cluster, DATABASE, table, COLUMNS_SQL)
    rows = ",".join(f"({key},0,'{payload(key)}')" for key in range(1, ROWS + 1))
    await execute_sql(server, *(f"INSERT INTO {DATABASE}.{table} VALUES {rows}" for table in (READ, COUNTED)))
    await execute_sql(server, "SET GLOBAL sync_binlog = 0")
    assert server.sql_port is not None
    assert server.pid is not None
    return Target(
        host=server.host,
        read_port=server.read_port,
        write_port=server.write_port,
        sql_port=server.sql_port,
        read_secret=server.read_secret,
        write_secret=server.write_secret,
        user=server.admin_user,
        password=server.admin_password,
        pid=server.pid,
        valkey_port=valkey.port if valkey else 0,
        valkey_pid=valkey.pid if valkey else 0,
    )


async def environment(cluster: Cluster, names: Iterable[str]) -> dict[str, Any]:
    """The machine, the server and the versions that were used."""
    variables = "innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin", "innodb_buffer_pool_size", "handlersocket_threads"
    listed = ", ".join(f"'{name}'" for name in variables)
    shown = await execute_sql(cluster.writer, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})")
    distributions = dict.fromkeys(each for name in names for each in CONTENDERS[name].distributions)
    versions = {name: importlib.metadata.version(name) for name in (*distributions, "trio", "trio-hs")}
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "server": cluster.version,
        "server_variables": {row["Variable_name"]: row["Value"] for row in shown},
        "valkey": await trio.to_thread.run_sync(valkey_version),
        "sql_log_bin": "0 in the SQL clients' sessions; HandlerSocket's writes are never logged",
        "libraries": versions,
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "rows": ROWS,
        "source": source_version(),
    }


def source_version() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()


def installed(only: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The contenders that can run here, and why the others cannot; prints that too. A name stands for all of its modes."""
    names = {contender.name for contender in CONTENDERS.values()}
    unknown = [name for name in only if name not in names and name not in CONTENDERS]
    if unknown:
        raise BenchmarkError(f"no contender {unknown[0]!r}; there are: {', '.join(CONTENDERS)}")
    wanted = {label: each for label, each in CONTENDERS.items() if not only or label in only or each.name in only}
    left_out = {label: why for label, each in wanted.items() if (why := each.missing())}
    for label, why in left_out.items():
        print(f"{label} is left out: {why}", file=sys.stderr)
    return [label for label in wanted if label not in left_out], left_out


def result_of(cell: Cell) -> dict[str, Any]:
    """A cell's entry in the report, with its medians."""
    contender = CONTENDERS[cell.case.contender]
    return {
        **asdict(cell.case),
        "contender": contender.name,
        "mode": contender.mode,
        "kind": contender.kind,
        "runtime": contender.runtime,
        "rate": statistics.median(cell.rates),
        "client_us": statistics.median(cell.client_us),
        "server_us": statistics.median(cell.server_us),
        "rates": [round(rate) for rate in cell.rates],
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    names, left_out = installed(options.only)
    tasks, pools = ((16,), (4,)) if options.quick else (TASKS, POOLS)
    wanted = cases(names, tasks, pools)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster("mariadb", readers=0))
        with_valkey = any(CONTENDERS[name].kind == VALKEY for name in names)
        target = await set_up(cluster, await stack.enter_async_context(open_valkey()) if with_valkey else None)
        about = {**await environment(cluster, names), "left_out": left_out}
        # abandon_on_cancel is safe: the children's input ends with this process, and so do they.
        cells = await trio.to_thread.run_sync(measure, target, wanted, options.rounds, options.seconds, abandon_on_cancel=True)
    settings = {"rounds": options.rounds, "seconds": options.seconds, "quick": options.quick}
    return {"environment": about, "settings": settings, "results": [result_of(cell) for cell in cells]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench client", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: one short round, few sizes, no verdict")
    parser.add_argument("--rounds", type=int, help="default: 5")
    parser.add_argument("--seconds", type=float, help="per measurement; default: 0.5")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=f"one of: {', '.join(CONTENDERS)}")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results", help="folder for the report")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds if options.rounds is not None else 1 if options.quick else 5
    options.seconds = options.seconds if options.seconds is not None else 0.02 if options.quick else 0.5
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds must be at least 1, and --seconds more than 0")
    try:
        report = trio.run(run, options)
    except* (BenchmarkError, ClusterError) as errors:
        print(first_error(errors), file=sys.stderr)
        sys.exit(2)
    verdicts = write_report(report, options.output)
    print((options.output / "client.md").read_text())
    if options.quick:
        return 0
    # Claims that --only leaves out cannot be judged; in a full run every claim must be.
    return 0 if all(verdict.holds or (verdict.holds is None and options.only) for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
