"""Measure how long the client keeps the loop from other tasks, and what a long answer takes in memory. `./dev bench stops`

Makes each bulk call with 1,000, 100,000 and 1,000,000 rows, and reads and writes values of 1 and 33 MB, against a server in
another process that answers at once. Prints the longest time for which one task ran without a checkpoint, with and without
what Python's garbage collector took of it, in CPU time of the loop's thread, so that other processes do not count. Of a few
repeats the least counts. Exit code 1: a stop without the collector was longer than the limit.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import thread_time
from typing import Any

import trio
from rich.console import Console
from rich.table import Table

import trio_hs
from trio_hs import Column, Columns

LIMIT = 10.0
"""Milliseconds."""
FIELDS = ["id", "n", "payload"]
COLUMNS = Columns(
    [Column("id", "bigint"), Column("n", "bigint"), Column("payload", "longtext", charset="utf8mb4")], {"PRIMARY": ["id"]}
)
MB = 1_000_000
PIECES = 100 * MB
#: Columns of a wide row.
WIDTH = 31

Call = Callable[[], Awaitable[Any]]


class Stops(trio.abc.Instrument):
    """The longest step of any task since the last reset, and the longest without the garbage collector's part, in ms."""

    def __init__(self) -> None:
        gc.callbacks.append(self._collected)
        self.reset()

    def reset(self) -> None:
        self.longest = self.without_collector = self._collector = 0.0
        self._began = thread_time()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        self._collector += thread_time() * (1 if phase == "stop" else -1)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._collector = 0.0
        self._began = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = (thread_time() - self._began) * 1000
        self.longest = max(self.longest, took)
        self.without_collector = max(self.without_collector, took - self._collector * 1000)


def calls_of(hs: trio_hs.Manager, plain: trio_hs.Table, declared: trio_hs.DeclaredTable, rows: int) -> dict[str, Call]:
    keys = list(range(rows))
    data: list[list[Any]] = [[key, 0, "payload of a row, 32 bytes long."] for key in keys]
    return {
        "insert_many": lambda: plain.insert_many(data),
        "insert_many, declared": lambda: declared.insert_many(data),
        "get_many": lambda: plain.get_many(keys),
        "get_many, declared": lambda: declared.get_many(keys),
        "find, in_": lambda: plain.find("=", [], in_=(0, keys)),
        "find": lambda: plain.find("=", [f"rows:{rows}"]),
        "find, declared": lambda: declared_find(hs, rows),
    }


async def declared_find(hs: trio_hs.Manager, rows: int) -> Any:
    """The key is a name for the server, so its column is declared as text."""
    columns = Columns(
        [
            Column("id", "varchar", length=40, charset="utf8mb4"),
            Column("n", "bigint"),
            Column("payload", "longtext", charset="utf8mb4"),
        ],
        {"PRIMARY": ["id"]},
    )
    return await hs.table("d", "t", FIELDS, columns=columns).find("=", [f"rows:{rows}"], limit=rows)


def values_of(plain: trio_hs.Table, binary: trio_hs.Table, declared: trio_hs.DeclaredTable, size: int) -> dict[str, Call]:
    data = bytes(range(256)) * (size // 256)
    text, accents = "line of text\n" * (size // 13), "é" * size
    return {
        "insert of bytes": lambda: plain.insert([1, 0, data]),
        "insert of text": lambda: plain.insert([1, 0, text]),
        "insert of text, not ASCII": lambda: plain.insert([1, 0, accents]),
        "insert of text, declared": lambda: declared.insert([1, 0, text]),
        "update of bytes": lambda: plain.update("=", [1], [1, 0, data]),
        "get of bytes": lambda: binary.get(f"value:{size}"),
        "get of text": lambda: plain.get(f"value:{size}"),
        "get of text, not ASCII": lambda: plain.get(f"text:{size}"),
    }


def wide_calls(plain: trio_hs.Table, wide: trio_hs.Table, size: int) -> dict[str, Call]:
    """Calls of rows of many columns, with values of ``size`` bytes together, and of long keys."""
    columns = len(wide.fields)
    short = [""] * (columns - 2)
    text = ["1", "x" * size, *short]
    nearly_long: list[Any] = ["1", *[os.urandom(60_000)] * (columns - 1)]
    rows = size // 60_000 // (columns - 1) + 1
    keys = [f"{number:060000}" for number in range(size // 60_000 + 20)]
    return {
        f"insert of {columns} texts": lambda: wide.insert(text),
        f"insert of {columns} texts, not ASCII": lambda: wide.insert(["1", "é" * size, *short]),
        f"insert_many of {columns} texts": lambda: wide.insert_many([text]),
        f"insert_many of {columns - 1} blobs of 60 KB": lambda: wide.insert_many([nearly_long] * rows),
        "find, in_ of keys of 60 KB": lambda: plain.find("=", [], in_=(0, keys)),
        "get_many of keys of 60 KB": lambda: plain.get_many(keys),
    }


async def measure(sizes: list[int], values: list[int], repeats: int) -> bool:
    table = Table(title="The longest time without a checkpoint")
    for heading in ("call", "rows or MB", "longest, ms", "without collector, ms", "rows or MB per s of CPU"):
        table.add_column(heading, justify="left" if heading == "call" else "right")
    stops = Stops()
    held = True
    with server() as port:
        servers = [("inet", "127.0.0.1", port)]
        async with (
            trio_hs.open_manager(servers, servers, timeout=60) as hs,
            trio_hs.open_manager(servers, servers, timeout=60, encoding=None) as raw,
        ):
            plain, binary = hs.table("d", "t", FIELDS), raw.table("d", "t", FIELDS)
            declared = hs.table("d", "t", FIELDS, columns=COLUMNS)
            wide = hs.table("d", "t", [*FIELDS, *(f"c{number}" for number in range(WIDTH - len(FIELDS)))])
            cases = [(name, rows, 1, call) for rows in sizes for name, call in calls_of(hs, plain, declared, rows).items()]
            cases += [
                (name, size, MB, call) for size in values for name, call in values_of(plain, binary, declared, size).items()
            ]
            cases += [(name, size, MB, call) for size in values for name, call in wide_calls(plain, wide, size).items()]
            await plain.get(1)
            await binary.get(1)
            bytes_more, maps_more = await most_memory(lambda: binary.get(f"pieces:{PIECES}"))  # in a heap without holes
            await plain.insert([1, 0, ""])
            await declared.insert([1, 0, ""])
            for name, amount, unit, call in cases:
                longest, without, took = map(min, zip(*[await step_of(stops, call) for _ in range(repeats)], strict=True))
                held &= without <= LIMIT
                figures = (amount // unit, longest, without, amount / unit / took)
                table.add_row(name, *(f"{figure:,.{0 if number in (0, 3) else 1}f}" for number, figure in enumerate(figures)))
    Console(width=110 if not sys.stdout.isatty() else None).print(table)
    print(
        f"An answer of {PIECES // MB} MB in pieces of 1,400 bytes takes {bytes_more / MB:,.0f} MB and {maps_more} memory maps"
    )
    print(f"no stop above {LIMIT:.0f} ms without the collector: {'holds' if held else 'does not hold'}")
    return held


async def step_of(stops: Stops, call: Call) -> tuple[float, float, float]:
    """The longest step of any task during a call, the same without the collector, and the CPU seconds of the call."""
    gc.collect()
    trio.lowlevel.add_instrument(stops)
    await trio.lowlevel.checkpoint()
    stops.reset()
    began = thread_time()
    result = await call()
    took = thread_time() - began
    await trio.lowlevel.checkpoint()  # ends the last step
    trio.lowlevel.remove_instrument(stops)
    del result
    return stops.longest, stops.without_collector, took


async def most_memory(call: Call) -> tuple[int, int]:
    """How many bytes and memory maps the process has more during a call than before it, at most."""
    bytes_before, maps_before = memory()
    most = [0, 0]

    async def look() -> None:
        while True:
            used, maps = memory()
            most[:] = max(most[0], used - bytes_before), max(most[1], maps - maps_before)
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await call()
        nursery.cancel_scope.cancel()
    return most[0], most[1]


def memory() -> tuple[int, int]:
    """Bytes of this process in memory, and its memory maps."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), Path("/proc/self/maps").read_bytes().count(b"\n")


@contextmanager
def server() -> Iterator[int]:
    """The port of a scripted server, which runs for the block."""
    command = [sys.executable, "-m", "benchmarks._scripted_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench stops", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000, 1_000_000], help="of the bulk calls")
    parser.add_argument("--values", type=int, nargs="+", default=[1, 33], help="megabytes of the long values")
    parser.add_argument("--repeats", type=int, default=3, help="of each call, of which the best is shown: others work here too")
    options = parser.parse_args()
    return 0 if trio.run(measure, options.rows, [size * MB for size in options.values], options.repeats) else 1


if __name__ == "__main__":
    sys.exit(main())
