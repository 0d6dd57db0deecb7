"""Reads by primary key with 64 users: this harness beside plain Locust users that ask through SQL. `./dev bench harness`

In one run on one machine, in alternating rounds, against MariaDB servers and a table of the same kind: the whole harness
(`locust -f loadtest/ --scenario scenarios/get-only.yaml`), a Locust `User` with PyMySQL, one with mysqlclient, and for
comparison the client alone, without Locust. Prints the median of the rounds. Exit code 1: the harness carried less than
4 times the operations of a plain user; 2: something could not be run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table

import trio_hs
from loadtest._cluster import Cluster, ClusterError, open_controlled_cluster
from loadtest._key_draws import draw_keys
from loadtest._operations import COLUMNS
from loadtest._scenario import Scenario, load_scenario
from loadtest._table import fill_table

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = ROOT / "scenarios/get-only.yaml"
CLAIM = 4.0
OURS, ALONE = "this harness", "trio_hs alone, no Locust"

Round = Callable[[], Awaitable[float]]


class BenchmarkError(Exception):
    """Something could not be measured; one line for the user."""


async def locust(seconds: int, users: int, *arguments: str, env: dict[str, str] | None = None) -> float:
    """Operations per second of a headless Locust run in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as directory:
        report = Path(directory, "statistics")
        options = ["--headless", "--only-summary", "-u", str(users), "-r", str(users), "-t", f"{seconds}s"]
        done = await trio.run_process(
            [sys.executable, "-m", "locust", *options, "--json-file", str(report), *arguments],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"locust {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr.decode()[-2000:]}")
        return operations_per_second(Path(f"{report}.json"))


def operations_per_second(report: Path) -> float:
    """By Locust's own statistics; raises BenchmarkError when anything failed in the run."""
    [entry] = json.loads(report.read_text())
    if entry["num_failures"]:
        raise BenchmarkError(f"{entry['num_failures']} operations failed")
    return float(entry["num_requests"] / (entry["last_request_timestamp"] - entry["start_time"]))


async def client_alone(cluster: Cluster, scenario: Scenario, seconds: int, users: int) -> float:
    """Operations per second of as many tasks that do nothing but get."""
    readers = [trio_hs.Server("inet", s.host, s.read_port, secret=s.read_secret) for s in cluster.readers]
    keys = draw_keys(scenario.keys, scenario.table.rows, random.Random(scenario.seed), 0)
    count = 0

    async def user() -> None:
        nonlocal count
        while True:
            if not await rows.get(next(keys)):
                raise BenchmarkError("the row is not there")
            count += 1

    async with trio_hs.open_manager(readers, readers) as hs:
        rows = hs.table(scenario.table.database, scenario.table.name, COLUMNS)
        started = trio.current_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(users):
                    nursery.start_soon(user)
        return count / (trio.current_time() - started)


def contenders(cluster: Cluster, scenario: Scenario, seconds: int, users: int) -> dict[str, Round]:
    """What is compared, by its name."""
    settings = {
        "servers": [(server.host, server.sql_port) for server in cluster.readers],
        "user": cluster.admin_user,
        "password": cluster.admin_password,
        "table": f"{scenario.table.database}.{scenario.table.name}",
        "rows": scenario.table.rows,
    }

    def plain(user_class: str) -> Round:
        arguments = ("-f", str(ROOT / "benchmarks/_plain_locust.py"), user_class)
        return lambda: locust(seconds, users, *arguments, env={"PLAIN_SQL": json.dumps(settings)})

    ours = ("-f", str(ROOT / "loadtest"), "--scenario", str(SCENARIO), "--cluster", cluster.kind)
    found: dict[str, Round] = {
        OURS: lambda: locust(seconds, users, *ours),
        "plain Locust, PyMySQL": plain("PyMySQLUser"),
        "plain Locust, mysqlclient": plain("MysqlclientUser"),
        ALONE: lambda: client_alone(cluster, scenario, seconds, users),
    }
    if importlib.util.find_spec("MySQLdb") is None:
        del found["plain Locust, mysqlclient"]
        print("mysqlclient is not installed (pip install 'trio-hs[bench]'): left out", file=sys.stderr)
    return found


async def measure(rounds: int, seconds: int, users: int) -> dict[str, list[float]]:
    """Operations per second of each contender in each round."""
    scenario = load_scenario(SCENARIO)
    async with open_controlled_cluster("mariadb", readers=scenario.cluster.readers) as control:
        await fill_table(control, scenario)
        found = contenders(control.cluster, scenario, seconds, users)
        results: dict[str, list[float]] = {name: [] for name in found}
        for number in range(rounds):
            for name, once in found.items():
                results[name].append(await once())
                print(f"round {number + 1}: {name}: {results[name][-1]:,.0f} ops/s", file=sys.stderr, flush=True)
    return results


def report(results: dict[str, list[float]], users: int) -> float:
    """Print the table; gives how many times a plain user's operations the harness carries, at the least."""
    medians = {name: statistics.median(values) for name, values in results.items()}
    table = Table(title=f"get by primary key, {users} users: operations per second")
    for heading in ("", "median", "lowest", "highest", "harness carries"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, values in results.items():
        times = "" if name == OURS else f"{medians[OURS] / medians[name]:.2f} times"
        table.add_row(name, *(f"{value:,.0f}" for value in (medians[name], min(values), max(values))), times)
    Console(width=100 if not sys.stdout.isatty() else None).print(table)
    return min(medians[OURS] / median for name, median in medians.items() if name not in (OURS, ALONE))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench harness", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of load per contender and round")
    parser.add_argument("--users", type=int, default=64)
    options = parser.parse_args()
    try:
        results = trio.run(measure, options.rounds, options.seconds, options.users)
    except* (BenchmarkError, ClusterError) as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        print(error, file=sys.stderr)
        sys.exit(2)
    least = report(results, options.users)
    verdict = "holds" if least >= CLAIM else "does not hold"
    print(f"at least {CLAIM:g} times the operations of a plain Locust user: {verdict} ({least:.2f})")
    return 0 if least >= CLAIM else 1


if __name__ == "__main__":
    sys.exit(main())
