"""Operations per second through the whole harness, beside plain Locust users that ask the same through SQL.

`./dev bench harness`: one run on one machine, get-only, 64 users, in alternating rounds. Each contestant is a headless Locust
process of its own and is judged by Locust's own statistics; ours starts its servers by itself, the plain ones use a server
of the same kind that this program starts. Everything is on 127.0.0.1 and is gone afterwards.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.table import Table

from loadtest._cluster import Cluster, open_cluster
from loadtest._scenario import Scenario, load_scenario
from loadtest._table import fill_table

ROOT = Path(__file__).parent.parent
SCENARIO = ROOT / "scenarios" / "get-only.yaml"
OURS = "trio-hs harness"
DRIVERS = {"PyMySQL": "pymysql", "mysqlclient": "MySQLdb"}
CLAIM = 4.0
"""Times as many operations a second as the faster of the plain users."""


async def locust(arguments: list[str], seconds: int, environment: dict[str, str]) -> float:
    """Runs Locust headless and gives its operations per second; raises RuntimeError when anything failed in it."""
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as folder:
        command = [
            *(sys.executable, "-m", "locust", *arguments, "--headless", "--only-summary", "--users", "64"),
            *("--spawn-rate", "64", "--run-time", f"{seconds}s", "--csv", f"{folder}/result"),
        ]
        with trio.fail_after(seconds + 120):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT, env={**os.environ, **environment}
            )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()[-2000:]}")
        return _operations_per_second(Path(folder, "result_stats.csv"))


def _operations_per_second(path: Path) -> float:
    with path.open(newline="") as file:
        total = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    if int(total["Failure Count"]):
        raise RuntimeError(f"{total['Failure Count']} operations failed")
    return float(total["Requests/s"])


async def plain(cluster: Cluster, scenario: Scenario, driver: str, seconds: int) -> float:
    server, table = cluster.writer, scenario.table
    options: dict[str, Any] = {
        "driver": driver,
        "host": server.host,
        "port": server.sql_port,
        "user": server.admin_user,
        "password": server.admin_password,
        "database": table.database,
        "query": f"SELECT id, grp, n, payload FROM `{table.name}` WHERE id = %s",
        "rows": table.rows,
    }
    return await locust(["-f", "benchmarks/_plain_user.py"], seconds, {"PLAIN": json.dumps(options)})


async def measure(rounds: int, seconds: int, console: Console) -> dict[str, list[float]]:
    """Operations per second of every contestant in every round."""
    scenario = load_scenario(SCENARIO)
    drivers = [name for name, module in DRIVERS.items() if find_spec(module)]
    results: dict[str, list[float]] = {name: [] for name in (OURS, *drivers)}
    async with open_cluster("mariadb", readers=0) as cluster:
        await fill_table(cluster, scenario)
        for number in range(1, rounds + 1):
            for name in results:
                if name == OURS:
                    rate = await locust(["-f", "loadtest/", "--scenario", str(SCENARIO)], seconds, {})
                else:
                    rate = await plain(cluster, scenario, name, seconds)
                results[name].append(rate)
                console.print(f"round {number} of {rounds}: {name:16} {rate:10,.0f} ops/s")
    return results


def show(results: dict[str, list[float]], console: Console) -> float:
    """Prints the table; returns how many times the faster plain user's median ours is."""
    medians = {name: statistics.median(rates) for name, rates in results.items()}
    table = Table(title=f"get-only, 64 users; {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for column in ("contestant", "median ops/s", "lowest", "highest", "ours / it"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name, rates in results.items():
        ratio = medians[OURS] / medians[name]
        table.add_row(name, f"{medians[name]:,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{ratio:.1f}")
    console.print(table)
    return medians[OURS] / max(median for name, median in medians.items() if name != OURS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench harness", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each with every contestant (default 3)")
    parser.add_argument("--seconds", type=int, default=10, help="length of each run in seconds (default 10)")
    arguments = parser.parse_args()
    console = Console()
    ratio = show(trio.run(measure, arguments.rounds, arguments.seconds, console), console)
    console.print(f"ours carries {ratio:.1f} times the faster plain user's operations; the claim is at least {CLAIM:g} times")
    return 0 if ratio >= CLAIM else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(f"benchmark failed: {error}")
