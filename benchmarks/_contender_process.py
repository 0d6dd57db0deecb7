"""One contender in a process of its own: `python -m benchmarks._contender_process NAME`.

The first line on standard input is the target. Each further line asks for a measurement, and is answered with a line on
standard output. All lines are JSON. Exits at the end of its input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from os import sysconf
from pathlib import Path
from time import perf_counter
from typing import Any

import trio

from ._contenders import ASYNCIO, CONTENDERS, THREADS, Contender, Target

_TICKS = sysconf("SC_CLK_TCK")
AsyncOperation = Callable[[Any], Awaitable[int]]
Worker = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Clock:
    """Opens when everything is connected and warm, and measures until every task has finished. Subtracts the time of checking
    batches; only one task does them, so nothing else runs meanwhile."""

    contender: Contender
    seconds: float
    end: float = 0.0
    rows: int = 0

    def start(self) -> None:
        self.rows = 0
        self.contender.checking = self.contender.checking_cpu = 0.0
        self._server = server_cpu(self.contender.server_pid)
        self._client = client_cpu()
        self._begin = perf_counter()
        self.end = self._begin + self.seconds

    def stop(self) -> dict[str, float]:
        checking = self.contender.checking
        elapsed = perf_counter() - self._begin - checking
        return {
            "rows": self.rows,
            "rate": self.rows / elapsed,
            "client_us": (client_cpu() - self._client - self.contender.checking_cpu) / self.rows * 1e6,
            "server_us": (server_cpu(self.contender.server_pid) - self._server) / self.rows * 1e6,
        }


def client_cpu() -> float:
    """CPU seconds that this process has used, including those in the kernel."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def server_cpu(pid: int) -> float:
    """The same for another process, in steps of a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure(contender: Contender, operation: str, pool: int, clock: Clock) -> tuple[dict[str, float], int]:
    """The time that `operation` took with the contender's number of tasks, and the total of rows changed or read."""
    call = getattr(contender, operation)
    if contender.runtime == THREADS:
        return _threads(contender, call, pool, clock)
    if contender.runtime == ASYNCIO:
        return asyncio.run(_tasks(contender, call, pool, clock, asyncio.Semaphore, _asyncio_all))
    return trio.run(_tasks, contender, call, pool, clock, trio.Semaphore, _trio_all)


async def _asyncio_all(workers: list[Worker]) -> None:
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker())


async def _trio_all(workers: list[Worker]) -> None:
    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(worker)


async def _tasks(
    contender: Contender,
    call: AsyncOperation,
    pool: int,
    clock: Clock,
    semaphore: Callable[[int], AbstractAsyncContextManager[Any]],
    run_all: Callable[[list[Worker]], Awaitable[None]],
) -> tuple[dict[str, float], int]:
    async with contender.open(pool) as opened:
        warm = 0
        for at in opened:
            warm += await call(at)
        free = semaphore(len(opened))
        idle = list(opened)

        async def own(at: Any) -> None:
            rows = 0
            while True:  # at least once, even if starting the tasks took all the time
                rows += await call(at)
                if perf_counter() >= clock.end:
                    break
            clock.rows += rows

        async def sharing() -> None:
            rows = 0
            while True:
                async with free:
                    at = idle.pop()
                    rows += await call(at)
                    idle.append(at)
                if perf_counter() >= clock.end:
                    break
            clock.rows += rows

        workers: list[Worker]
        if contender.shared or len(opened) >= contender.tasks:
            workers = [partial(own, opened[number % len(opened)]) for number in range(contender.tasks)]
        else:
            workers = [sharing] * contender.tasks
        clock.start()
        await run_all(workers)
        result = clock.stop()
    return result, warm + clock.rows


def _threads(contender: Contender, call: Callable[[Any], int], pool: int, clock: Clock) -> tuple[dict[str, float], int]:
    failures: list[BaseException] = []
    counts: list[int] = []

    def loop(at: Any) -> None:
        rows = 0
        try:
            while True:
                rows += call(at)
                if perf_counter() >= clock.end:
                    break
        except BaseException as failure:
            failures.append(failure)
        counts.append(rows)

    with contender.open(pool) as opened:
        warm = sum(call(at) for at in opened)
        threads = [threading.Thread(target=loop, args=(at,)) for at in opened[1:]]
        clock.start()
        for thread in threads:
            thread.start()
        loop(opened[0])  # a single one needs no thread
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        clock.rows = sum(counts)
        result = clock.stop()
    return result, warm + clock.rows


def main() -> None:
    target = Target(**json.loads(sys.stdin.readline()))
    contender = CONTENDERS[sys.argv[1]](target)
    gc.collect()
    gc.freeze()  # keep the collector off the expected rows: scanning them is not a cost of the client
    for line in sys.stdin:
        order = json.loads(line)
        clock = Clock(contender, order["seconds"])
        try:
            contender.begin(order["tasks"])
            result, changed = measure(contender, order["operation"], order["pool"], clock)
            answer: dict[str, Any] = {**result, "changed": changed}
        except BaseException as error:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
