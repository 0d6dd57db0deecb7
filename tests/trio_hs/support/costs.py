"""Counts what requests cost: task switches, calls of the transport, and calls made by the package's code."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

import trio_hs

PACKAGE = str(Path(trio_hs.__file__).parent)


@dataclass(frozen=True)
class Cost:
    """Per request; of `get_many`, per key."""

    switches: float
    """Steps of any task, the connection's own included."""
    sends: float
    receives: float
    calls: float
    """Calls of Python functions of the package, and of built-in functions by them."""

    def __str__(self) -> str:
        return ", ".join(f"{name}={value:.3f}" for name, value in vars(self).items())

    def within(self, bound: Cost) -> bool:
        return all(value <= getattr(bound, name) for name, value in vars(self).items())


class Loopback:
    """A transport to a server that has answered when `send` returns. While `held`, answers are kept back.

    `counted` has the numbers of sends and receives.
    """

    def __init__(self, counted: Loopback | Fleet | None = None) -> None:
        self.sends = self.receives = 0
        self.counted = counted or self
        self.held = False
        self._answers: list[bytes] = []
        self._rest = b""
        self._arrived = trio.lowlevel.ParkingLot()

    async def connect(self, server: trio_hs.Server) -> Loopback:
        await trio.lowlevel.checkpoint()
        return self

    def send(self, data: bytes | memoryview) -> int:
        self.counted.sends += 1
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        self._answers += map(_answer, lines)
        if not self.held:
            self._arrived.unpark()
        return len(data)

    def release(self) -> None:
        self.held = False
        self._arrived.unpark()

    async def wait_sendable(self) -> None:
        raise AssertionError("send takes everything")

    def receive(self) -> bytes | None:
        self.counted.receives += 1
        if self.held or not self._answers:
            return None
        data = b"".join(self._answers)
        self._answers.clear()
        return data

    async def wait_receivable(self) -> None:
        # As for a socket: always one pass of the scheduler.
        if self._answers and not self.held:
            await trio.lowlevel.checkpoint()
        else:
            await self._arrived.park()

    def acknowledge(self) -> None:
        raise AssertionError("all answers come together")

    def close(self) -> None:
        self._arrived.unpark_all()


class Fleet:
    """Many such servers, and the sends and receives on all connections to them. While `down`, they refuse connections."""

    def __init__(self) -> None:
        self.sends = self.receives = 0
        self.attempts = 0
        self.down = False

    async def connect(self, server: trio_hs.Server) -> Loopback:
        await trio.lowlevel.checkpoint()
        self.attempts += 1
        if self.down:
            raise ConnectionRefusedError
        return Loopback(self)


def _answer(line: bytes) -> bytes:
    tokens = line.split(b"\t")
    if tokens[0] in (b"A", b"P") or tokens[1] == b"+":
        return b"0\t1\n"
    if tokens[6:7] == [b"+"]:
        return b"0\t1\t1\n"
    keys = tokens[9:] if tokens[6:7] == [b"@"] else tokens[3:4]
    return b"\t".join([b"0\t3", *[key + b"\t0\tpayload" for key in keys]]) + b"\n"


class Counter(trio.abc.Instrument):
    """Counts while it is on."""

    def __init__(self, transport: Loopback | Fleet) -> None:
        self.transport = transport
        self.switches = 0
        self.calls = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.switches += 1

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls += 1

    async def count(self, work: Callable[[], Awaitable[None]], requests: int) -> Cost:
        """What each of `requests` costs that are made by `work`."""
        transport = self.transport
        self.switches = self.calls = transport.sends = transport.receives = 0
        trio.lowlevel.add_instrument(self)
        sys.setprofile(self._event)
        try:
            await work()
        finally:
            sys.setprofile(None)
            trio.lowlevel.remove_instrument(self)
        counts = (self.switches, transport.sends, transport.receives, self.calls)
        return Cost(*(count / requests for count in counts))


T = TypeVar("T")


def counted_run(run: Callable[[], Awaitable[T]]) -> T:
    """What `run` gives, in a run of trio in which every count is the same each time.

    No time passes in it: on a slow machine checks of the watchdog would be counted. Trio runs tasks in an order drawn from
    a fixed seed: incr by 64 tasks was seen to take from 0.031 to 0.037 sends a request, by that order alone.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # as hypothesis does
        patch.setattr(trio._core._run, "_r", random.Random(1))
        return trio.run(run, clock=trio.testing.MockClock())


def in_manager(body: Callable[[trio_hs.Manager, Loopback], Awaitable[T]], instruments: Sequence[trio_hs.Instrument] = ()) -> T:
    """What `body` gives, in a run of its own, where readers and writers are one and the same server."""

    async def run() -> T:
        transport = Loopback()
        server = [("inet", "server", 1)]
        async with trio_hs.open_manager(server, server, connect=transport.connect, instruments=instruments) as hs:
            return await body(hs, transport)

    return counted_run(run)


def with_servers(servers: int, body: Callable[[trio_hs.Manager, Fleet], Awaitable[T]]) -> T:
    """What `body` gives, in a run of its own, with that many readers."""

    async def run() -> T:
        fleet = Fleet()
        readers = [("inet", "server", port) for port in range(1, servers + 1)]
        retry = trio_hs.RetryPolicy(attempts=1)
        async with trio_hs.open_manager(readers, [("inet", "writer", 1)], connect=fleet.connect, retry=retry) as hs:
            hs._dispatcher.reader.random = random.Random(1)
            return await body(hs, fleet)

    return counted_run(run)


def traced() -> int:
    """Bytes in use by Python objects."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
