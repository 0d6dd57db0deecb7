"""A nemesis with fake servers, which note what is done to them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.lowlevel
import trio.testing

from hs_drill._cluster import Cluster, Server
from hs_drill.nemesis import Actions, Nemesis, Proxies, Strike
from hs_drill.scenario import Scenario
from hs_drill.servers import Control, Rejoined, ReplicationStatus, Row, State
from trio_hs.testing import Table

NAMES = ["writer", "standby", "reader-1", "reader-2"]
STEP = 0.5
"""Seconds that every operation of the fake control takes."""


class FakeControl(Control):
    """Keeps the states of its servers, and a log of what was done to them, with the seconds since the beginning."""

    def __init__(self) -> None:
        servers = tuple(Server(name, "127.0.0.1", 1, 2, "", "") for name in NAMES)
        super().__init__(Cluster(kind="fake", why="", version="", servers=servers, replication="semisync"), {})
        self.states: dict[str, State] = dict.fromkeys(NAMES, "running")
        self.replicating = set(NAMES[1:])
        self.lags: dict[str, int] = {}
        self.closed: set[str] = set()
        self.silent: set[str] = set()
        self.log: list[tuple[float, str]] = []
        self.broken: dict[str, Exception] = {}
        """What an operation, such as `start writer`, raises each time."""
        self.hanging: set[str] = set()
        self.busy: set[str] = set()
        self._begin = trio.current_time()

    async def _do(self, operation: str, name: str, require: Iterable[State], change: Callable[[], object]) -> None:
        self.require(name, *require)
        assert name not in self.busy, "two operations on one server at once"
        self.busy.add(name)
        self.note(f"{operation} {name}")
        try:
            if f"{operation} {name}" in self.hanging:
                await trio.sleep_forever()
            await trio.sleep(STEP)
            if error := self.broken.get(f"{operation} {name}"):
                raise error
            change()
        finally:
            self.busy.discard(name)

    def note(self, what: str) -> None:
        self.log.append((trio.current_time() - self._begin, what))

    def _become(self, name: str, state: State) -> Callable[[], object]:
        return partial(self.states.__setitem__, name, state)

    def state(self, name: str) -> State:
        return self.states[name]

    async def _takes_writes(self, name: str) -> bool:
        raise AssertionError("a nemesis does not ask that")

    async def kill(self, name: str) -> None:
        self.require(name, "running", "paused")
        self.states[name] = "down"  # at once: cancelled from here on, it has been done in part
        await self._do("kill", name, ["down"], lambda: None)

    async def stop(self, name: str) -> None:
        await self._do("stop", name, ["running"], self._become(name, "down"))

    async def start(self, name: str, *, new_secrets: bool = False) -> Server:
        await self._do("start", name, ["down"], self._become(name, "running"))
        self.silent.discard(name)
        return self.server(name)

    async def pause(self, name: str) -> None:
        await self._do("pause", name, ["running"], self._become(name, "paused"))

    async def resume(self, name: str) -> None:
        await self._do("resume", name, ["paused"], self._become(name, "running"))

    async def promote(self, name: str) -> None:
        def change() -> None:
            self.primary = name
            self.replicating.discard(name)

        await self._do("promote", name, ["running"], change)

    async def stop_serving(self, name: str) -> None:
        await self._do("stop serving", name, ["running"], partial(self.silent.add, name))

    async def close_for_writes(self) -> None:
        await self._do("close", self.primary, ["running"], partial(self.closed.add, self.primary))

    async def open_for_writes(self) -> None:
        await self._do("open", self.primary, ["running"], partial(self.closed.discard, self.primary))

    async def rejoin(self, name: str) -> Rejoined:
        def change() -> None:
            self.states[name] = "running"
            self.silent.discard(name)
            self.replicating.add(name)
            self.lags.pop(name, None)

        await self._do("rejoin", name, ["running", "down"], change)
        return Rejoined(True, "it had diverged")

    async def stop_replication(self, name: str) -> None:
        await self._do("stop-replication", name, ["running"], partial(self.replicating.discard, name))

    async def start_replication(self, name: str) -> None:
        await self._do("start-replication", name, ["running"], partial(self.replicating.add, name))

    async def set_lag(self, name: str, seconds: int) -> None:
        if seconds:
            self.lags[name] = seconds
        await self._do(f"lag {seconds}", name, ["running"], lambda: None if seconds else self.lags.pop(name, None))

    async def wait_up(self, name: str, within: float = 30.0) -> None:
        self.require(name, "running")
        await trio.lowlevel.checkpoint()

    async def replication_status(self, name: str) -> ReplicationStatus:
        raise NotImplementedError

    async def create_table(self, table: Table) -> None:
        raise NotImplementedError

    async def fill(self, table: Table, rows: Iterable[Row]) -> None:
        raise NotImplementedError

    async def wait_replicated(self, within: float = 10.0) -> None:
        self.note("replicated")
        await trio.lowlevel.checkpoint()

    async def read_rows(self, name: str, table: Table, *, after: Sequence[Any] | None = None, limit: int = 10_000) -> list[Row]:
        raise NotImplementedError


class Drill:
    """A nemesis with its fake servers."""

    def __init__(
        self,
        *faults: dict[str, Any],
        proxies: Proxies | None = None,
        seed: int = 1,
        commands: dict[str, Any] | None = None,
    ) -> None:
        cluster: dict[str, Any] = {"readers": 2, "standby": True, "replication": "semisync"}
        if commands is not None:  # servers of the user's own
            servers = [{"name": name, "host": "127.0.0.1"} for name in NAMES]
            cluster = {"kind": "external", "servers": servers, "commands": commands}
        given = {"name": "x", "mix": {"get": 1}, "cluster": cluster, "load": {"duration": 1000.0}, "faults": list(faults)}
        schedule = Scenario.model_validate(given).faults
        self.control = FakeControl()
        self.reports: list[tuple[str, bool, bool, bool]] = []
        self.healing: list[tuple[float, float | None]] = []
        """When each strike was reported, and when its healing began, both since the beginning."""
        self.marks: list[float] = []
        self.promoted: list[str] = []
        self.begin = trio.current_time()
        self.nemesis = Nemesis(
            self.control,
            Actions(
                self.control,
                ("drill", "t"),
                proxies or {},
                row="id = {}".format,
                suspended=self._suspended,
                on_promotion=self.promoted.append,
            ),
            schedule,
            rng=random.Random(seed),
            report=self._report,
            mark=lambda: self.marks.append(trio.current_time() - self.begin),
            clock=trio.current_time,
        )

    @asynccontextmanager
    async def _suspended(self) -> AsyncIterator[None]:
        self.control.note("suspended")
        try:
            yield
        finally:
            self.control.note("resumed")

    def _report(self, strike: Strike) -> None:
        name = f"{strike.fault} {strike.server}"
        self.reports.append((name, strike.struck is not None, strike.end is not None, bool(strike.error)))
        self.healing.append((trio.current_time() - self.begin, None if strike.healing is None else strike.healing - self.begin))

    @property
    def log(self) -> list[tuple[float, str]]:
        return self.control.log

    def times(self) -> list[tuple[str, float, float | None, float | None]]:
        def since(moment: float | None) -> float | None:
            return None if moment is None else moment - self.begin

        return [
            (f"{one.fault} {one.server}", one.start - self.begin, since(one.struck), since(one.end))
            for one in self.nemesis.strikes
        ]

    def errors(self) -> list[str]:
        return [strike.error for strike in self.nemesis.strikes if strike.error]

    def assert_healed(self) -> None:
        assert set(self.control.states.values()) == {"running"}, self.control.states
        assert not self.control.lags
        assert not self.control.busy
        assert self.control.primary not in self.control.closed
        assert not self.control.silent, "do not serve"


def fault(kind: str, target: str, at: float, length: float | None = None, **more: Any) -> dict[str, Any]:
    return {"fault": kind, "target": target, "at": at, **({"for": length} if length is not None else {}), **more}


async def cancelled_after(seconds: float, what: Callable[[], Awaitable[None]]) -> None:
    with trio.move_on_after(seconds):
        await what()
