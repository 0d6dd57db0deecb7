"""Compare the harness with a plain Locust user of SQL: reads by key, and a mix with writes. `./dev bench harness`

All run on one machine, in alternating rounds, against MariaDB servers and a table of the same kind: the whole harness
(`locust -f loadtest/ --scenario ...`) by HandlerSocket and by SQL, a Locust `User` with mysqlclient, and for the reads also the
load engine and the client without Locust. Prints the medians, and whether the claims hold. Exit code 1: a claim does not hold;
2: something could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
import yaml
from rich.console import Console
from rich.table import Table

import trio_hs
from benchmarks._locust import BenchmarkError, run_locust
from hs_drill._cluster import Cluster, ClusterError
from hs_drill._trio_child import TrioChannel, first_error
from hs_drill._wire import Message
from hs_drill.controller import fill_table
from hs_drill.metrics import Batch
from hs_drill.scenario import Scenario, load_scenario
from hs_drill.servers import open_servers
from hs_drill.workload import rows_of
from hs_drill.workload._keys import draw_keys

ROOT = Path(__file__).resolve().parent.parent
OURS, BY_SQL, PLAIN = "this harness", "this harness, driver: sql", "plain Locust, mysqlclient"
ENGINE, ALONE = "its load engine, no Locust", "trio_hs alone"
CLAIMS = {("get-only", PLAIN): 6.0, ("mixed", PLAIN): 5.0}
"""How many times as many operations the harness does, by scenario and contender."""
OVERHEAD = 0.25
"""The share that the load engine may add to the client's CPU time for an operation."""

Round = Callable[[], Awaitable[float]]
Cpu = dict[str, list[float]]


async def locust(seconds: int, users: int, *arguments: str, env: dict[str, str] | None = None) -> float:
    """Operations per second of a headless Locust run in its own process."""
    with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as directory:
        report = Path(directory, "statistics")
        options = ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--json-file", str(report)]
        await run_locust(directory, *options, *arguments, env=env)
        return operations_per_second(Path(f"{report}.json"))


def operations_per_second(report: Path) -> float:
    """From Locust's own statistics; raises BenchmarkError when any operation failed."""
    entries = json.loads(report.read_text())
    if failures := sum(entry["num_failures"] for entry in entries):
        raise BenchmarkError(f"{failures} operations failed")
    seconds = max(entry["last_request_timestamp"] for entry in entries) - min(entry["start_time"] for entry in entries)
    return float(sum(entry["num_requests"] for entry in entries) / seconds)


async def client_alone(cluster: Cluster, scenario: Scenario, seconds: int, users: int, cpu: list[float]) -> float:
    """Operations per second of `users` tasks that only get. Adds to `cpu` the microseconds of this process for each
    operation."""
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
        rows = hs.table(scenario.table.database, scenario.table.name, rows_of(scenario).columns)
        started, busy = trio.current_time(), time.process_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(users):
                    nursery.start_soon(user)
        cpu.append((time.process_time() - busy) / count * 1e6)
        return count / (trio.current_time() - started)


async def engine_alone(cluster: Cluster, scenario: Scenario, seconds: int, users: int, cpu: list[float]) -> float:
    """The same for a load engine, with this process in the place of Locust's."""
    ours, theirs = socket.socketpair()
    channel = TrioChannel.from_fd(ours.detach())
    given = {"cluster": cluster.to_dict(), "scenario": scenario.model_dump(mode="json"), "worker": 0, "each": False}
    command = [sys.executable, "-m", "hs_drill.engine", str(theirs.fileno())]
    count = 0
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, cwd=ROOT, pass_fds=[theirs.fileno()]))
        theirs.close()
        for message in ({"type": "setup", **given}, {"type": "start", "run": 1}, {"type": "users", "count": users}):
            await channel.send(message)
        await _until("ready", channel)
        started, busy = trio.current_time(), _cpu_seconds(process.pid)
        with trio.move_on_after(seconds):
            while True:
                for done in Batch.from_wire(await _until("batch", channel)).operations.values():
                    if done.failed:
                        raise BenchmarkError(f"the load engine failed: {dict(done.errors)}")
                    count += done.ok.total()
                # Measured here, because what happens after the last batch is not counted.
                length, used = trio.current_time() - started, _cpu_seconds(process.pid) - busy
        cpu.append(used / count * 1e6)
        await channel.aclose()
    return count / length


async def _until(kind: str, channel: TrioChannel) -> Message:
    while (message := await channel.receive()) is not None:
        if message["type"] == kind:
            return message
    raise BenchmarkError("the load engine ended")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def contenders(cluster: Cluster, scenario: Scenario, folder: Path, seconds: int, users: int, cpu: Cpu) -> dict[str, Round]:
    """The contenders, by name."""
    settings: dict[str, Any] = {
        "readers": [(server.host, server.sql_port) for server in cluster.readers],
        "writer": (cluster.writer.host, cluster.writer.sql_port),
        "user": cluster.admin_user,
        "password": cluster.admin_password,
        "table": f"{scenario.table.database}.{scenario.table.name}",
        "rows": scenario.table.rows,
        "groups": scenario.table.groups,
        "value_size": scenario.table.value_size.largest,
        "mix": scenario.weights,
    }

    def ours(driver: str) -> Round:
        path = folder / f"{scenario.name}-{driver}.yaml"
        given = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
        path.write_text(yaml.safe_dump({**given, "driver": driver}))
        return lambda: locust(seconds, users, "-f", str(ROOT / "loadtest"), "--scenario", str(path), "--cluster", cluster.kind)

    plain = ("-f", str(ROOT / "benchmarks/_plain_locust.py"))
    found: dict[str, Round] = {
        OURS: ours("handlersocket"),
        BY_SQL: ours("sql"),
        PLAIN: lambda: locust(seconds, users, *plain, env={"PLAIN_SQL": json.dumps(settings)}),
    }
    if set(settings["mix"]) == {"get"}:
        found[ENGINE] = lambda: engine_alone(cluster, scenario, seconds, users, cpu.setdefault(ENGINE, []))
        found[ALONE] = lambda: client_alone(cluster, scenario, seconds, users, cpu.setdefault(ALONE, []))
    return found


async def measure(name: str, rounds: int, seconds: int, users: int) -> tuple[dict[str, list[float]], Cpu]:
    """Operations per second of each contender in each round, and for some the CPU microseconds per operation."""
    scenario = load_scenario(ROOT / f"scenarios/{name}.yaml")
    async with open_servers("mariadb", readers=scenario.cluster.readers) as control:
        await fill_table(control, scenario)
        with tempfile.TemporaryDirectory(prefix="trio-hs-bench-") as folder:
            cpu: Cpu = {}
            found = contenders(control.cluster, scenario, Path(folder), seconds, users, cpu)
            results: dict[str, list[float]] = {contender: [] for contender in found}
            for number in range(rounds):
                for contender, once in found.items():
                    results[contender].append(await once())
                    rate = f"{results[contender][-1]:,.0f} operations per second"
                    print(f"{name}, round {number + 1}: {contender}: {rate}", file=sys.stderr, flush=True)
    return results, cpu


def report(name: str, results: dict[str, list[float]], cpu: Cpu, users: int) -> bool:
    """Print the table, and whether the claims hold; returns whether all do."""
    medians = {contender: statistics.median(values) for contender, values in results.items()}
    table = Table(title=f"{name}, {users} users: operations per second")
    for heading in ("", "median", "lowest", "highest", "harness carries"):
        table.add_column(heading, justify="right" if heading else "left")
    for contender, values in results.items():
        times = "" if contender == OURS else f"{medians[OURS] / medians[contender]:.2f} times"
        table.add_row(contender, *(f"{value:,.0f}" for value in (medians[contender], min(values), max(values))), times)
    Console(width=100 if not sys.stdout.isatty() else None).print(table)
    holds = True
    for (scenario, contender), claim in CLAIMS.items():
        if scenario == name:
            carried = medians[OURS] / medians[contender]
            holds &= _claim(f"at least {claim:g} times the operations of {contender}", carried >= claim, f"{carried:.2f}")
    if cpu:
        each = {contender: statistics.median(values) for contender, values in cpu.items()}
        print("CPU time for an operation: " + ", ".join(f"{contender} {value:.2f} µs" for contender, value in each.items()))
        overhead = each[ENGINE] / each[ALONE] - 1
        holds &= _claim(f"the load engine adds at most {OVERHEAD:.0%} to the client's", overhead <= OVERHEAD, f"{overhead:.0%}")
    return holds


def _claim(claim: str, holds: bool, measured: str) -> bool:
    print(f"{claim}: {'holds' if holds else 'does not hold'} ({measured})")
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench harness", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8, help="of load per contender and round")
    parser.add_argument("--users", type=int, default=64)
    parser.add_argument("--only", choices=["get-only", "mixed"], help="one of the two scenarios")
    options = parser.parse_args()
    holds = True
    try:
        for name in [options.only] if options.only else ["get-only", "mixed"]:
            holds &= report(name, *trio.run(measure, name, options.rounds, options.seconds, options.users), options.users)
    except* (BenchmarkError, ClusterError) as errors:
        print(first_error(errors), file=sys.stderr)
        sys.exit(2)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
