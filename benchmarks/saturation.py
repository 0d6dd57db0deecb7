"""Compare the latencies of a run near saturation with those of an independent client. `./dev bench saturation`

A closed loop of 64 users measures how many gets per second a load engine does; open loops then run at shares of that rate.
Beside each, two probes in processes of their own get a row every 10 ms: one over a bare socket, one by the client. Prints what
each measured, how busy and how late the engine was, and whether the claims hold. Exit code 1: a claim does not hold; 2:
something could not run.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from rich.console import Console
from rich.table import Table

import trio_hs
from benchmarks._locust import BenchmarkError
from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill._trio_child import TrioChannel, first_error
from hs_drill.controller import fill_table
from hs_drill.metrics import Batch, percentile
from hs_drill.scenario import Scenario, load_scenario
from hs_drill.servers import open_servers
from hs_drill.verdict._engine_limit import Engines, EngineTotal

ROOT = Path(__file__).resolve().parent.parent
USERS = 64
LEAST, MOST = 0.35, 0.9
"""The shares that claims are about."""
AGREE = 2.0
"""The factor by which the medians of the servers and of the probe may differ, either way."""
PROBE_SECONDS = 0.01
RAMP_SECONDS = 1.0
"""Not counted: connections are opened."""


@dataclass(frozen=True)
class Measured:
    """A load beside the probe. Latencies are in microseconds."""

    operations: Counter[int]
    servers: Counter[int]
    socket: Counter[int]
    client: Counter[int]
    engine: EngineTotal
    seconds: float

    @property
    def rate(self) -> float:
        return self.operations.total() / self.seconds


def probe_by_client(server: Server, scenario: Scenario, seconds: float) -> list[int]:
    """The microseconds of each get by the client, one every 10 ms."""

    async def probe() -> list[int]:
        took = []
        address = ("inet", server.host, server.read_port)
        async with trio_hs.open_manager([address], [address], read_secret=server.read_secret) as hs:
            table = hs.table(scenario.table.database, scenario.table.name, ["id", "grp", "n", "payload"])
            await table.get(1)
            begun = trio.current_time()
            for number in range(round(seconds / PROBE_SECONDS)):
                await trio.sleep_until(begun + number * PROBE_SECONDS)
                since = time.monotonic_ns()
                await table.get(random.randint(1, scenario.table.rows))
                took.append((time.monotonic_ns() - since) // 1000)
        return took

    return trio.run(probe)


def probe_by_socket(server: Server, scenario: Scenario, seconds: float) -> list[int]:
    """The microseconds of each get over a bare socket, one every 10 ms. Blocks, so it needs its own process."""
    table = scenario.table
    with socket.create_connection((server.host, server.read_port)) as sock, sock.makefile("rb") as answers:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(*fields: str) -> None:
            sock.sendall("\t".join(fields).encode() + b"\n")
            if not answers.readline().startswith(b"0\t"):
                raise BenchmarkError(f"the probe's {fields[0]} was refused")

        if server.read_secret:
            ask("A", "1", server.read_secret)
        ask("P", "0", table.database, table.name, "PRIMARY", "id,grp,n,payload")
        took = []
        begun = time.monotonic()
        for number in range(round(seconds / PROBE_SECONDS)):
            time.sleep(max(begun + number * PROBE_SECONDS - time.monotonic(), 0))
            since = time.monotonic_ns()
            ask("0", "=", "1", str(random.randint(1, table.rows)))
            took.append((time.monotonic_ns() - since) // 1000)
        return took


PROBES = {"socket": probe_by_socket, "client": probe_by_client}


async def measure(cluster: Cluster, scenario: Scenario, users: int, seconds: float) -> Measured:
    """Run one load engine and the probe for that long."""
    ours, theirs = socket.socketpair()
    channel = TrioChannel.from_fd(ours.detach())
    given = {"cluster": cluster.to_dict(), "scenario": scenario.model_dump(mode="json"), "worker": 0, "each": False}
    command = [sys.executable, "-m", "hs_drill.engine", str(theirs.fileno())]
    batches: list[Batch] = []
    took: dict[str, list[int]] = {}

    async def probe(by: str) -> None:
        settings = [by, json.dumps(given), str(seconds)]
        done = await trio.run_process(
            [sys.executable, "-m", "benchmarks.saturation", "--probe", *settings], cwd=ROOT, capture_stdout=True
        )
        took[by] = json.loads(done.stdout)

    async def beside() -> None:
        await trio.sleep(RAMP_SECONDS)
        async with trio.open_nursery() as probes:
            for by in PROBES:
                probes.start_soon(probe, by)
        loading.cancel()

    async with trio.open_nursery() as nursery:
        process = partial(trio.run_process, command, cwd=ROOT, pass_fds=[theirs.fileno()])
        await nursery.start(process)
        theirs.close()
        for message in ({"type": "setup", **given}, {"type": "start", "run": 1}, {"type": "users", "count": users}):
            await channel.send(message)
        nursery.start_soon(beside)
        with trio.CancelScope() as loading:
            while (received := await channel.receive()) is not None:
                if received["type"] == "batch":
                    batches.append(Batch.from_wire(received))
            raise BenchmarkError("the load engine ended")
        await channel.aclose()
    counted = [batch for batch in batches if batch.start >= batches[0].start + RAMP_SECONDS]
    total = Batch(counted[0].start, counted[0].end)
    for batch in counted:
        total.add(batch)
    if any(done.failed for done in total.operations.values()) and not scenario.load.open:
        raise BenchmarkError(f"operations failed: {[dict(done.errors) for done in total.operations.values()]}")
    return Measured(
        total.operations["get"].ok,
        sum((done.ok for done in total.servers.values()), Counter()),
        Counter(took["socket"]),
        Counter(took["client"]),
        Engines(counted, lambda _: "before", open_loop=scenario.load.open).total("run"),
        total.end - total.start,
    )


async def shares_of_most(kind: str, shares: Sequence[float], seconds: float) -> tuple[Measured, dict[float, Measured]]:
    """Measure the closed loop, then the open loops at shares of its rate."""
    scenario = load_scenario(ROOT / "scenarios/get-only.yaml")
    closed = _with(scenario, users=USERS)
    async with open_servers(kind, readers=scenario.cluster.readers, database=scenario.table.database) as control:
        await fill_table(control, scenario)
        most = await measure(control.cluster, closed, USERS, seconds)
        found = {}
        for share in shares:
            opened = _with(scenario, rate=most.rate * share)
            found[share] = await measure(control.cluster, opened, opened.load.locust_users, seconds)
        return most, found


def _with(scenario: Scenario, **load: Any) -> Scenario:
    return Scenario.model_validate({**scenario.model_dump(exclude_unset=True), "load": load})


def report(most: Measured, found: dict[float, Measured]) -> bool:
    """Print the table, and whether the claims hold; returns whether all do."""
    table = Table(title="gets, in milliseconds: p50 and p99")
    for heading in ("", "ops/s", "reported", "by client", "at servers", "by socket", "loop late", "busy", "the limit"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, run in (("closed loop", most), *((f"open, {share:.0%}", run) for share, run in found.items())):
        times = map(_times, (run.operations, run.client, run.servers, run.socket, run.engine.lag))
        table.add_row(name, f"{run.rate:,.0f}", *times, f"{run.engine.busiest.busy:.0%}", "yes" if run.engine.was_limit else "")
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
    least, high = found[LEAST], found[MOST]
    servers, bare = (percentile(of, 50.0) / 1000 for of in (least.servers, least.socket))
    claims = [
        (f"at {LEAST:.0%} the engine was not the limit", not least.engine.was_limit, least.engine.in_words()),
        (
            f"at {LEAST:.0%} the servers' p50 agrees with that of the bare socket within a factor of {AGREE:g}",
            1 / AGREE <= servers / bare <= AGREE,
            f"{servers:.3f} and {bare:.3f} ms",
        ),
        (f"at {MOST:.0%} the engine was the limit", high.engine.was_limit, high.engine.in_words()),
    ]
    for claim, holds, measured in claims:
        print(f"{claim}: {'holds' if holds else 'does not hold'} ({measured})")
    return all(holds for _, holds, _ in claims)


def _times(latencies: Counter[int]) -> str:
    return ", ".join(f"{percentile(latencies, percent) / 1000:.2f}" for percent in (50.0, 99.0))


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench saturation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.2, 0.5, 0.7], help=f"beside {LEAST:g} and {MOST:g}")
    parser.add_argument("--cluster", default="mariadb", choices=["mariadb", "embedded", "docker"])
    parser.add_argument("--probe", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe is not None:
        by, given, seconds = options.probe[0], json.loads(options.probe[1]), float(options.probe[2])
        scenario = Scenario.model_validate(given["scenario"])
        print(json.dumps(PROBES[by](Cluster.from_dict(given["cluster"]).readers[0], scenario, seconds)))
        return 0
    try:
        return (
            0
            if report(*trio.run(shares_of_most, options.cluster, sorted({*options.shares, LEAST, MOST}), options.seconds))
            else 1
        )
    except* (BenchmarkError, ClusterError) as errors:
        print(first_error(errors), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
