"""Faults on fake servers, in virtual time: what strikes and heals in which order, and what is left at the end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from hs_drill._cluster import Cluster, ClusterError, Server
from hs_drill.nemesis import Actions, Nemesis, Proxies, Strike
from hs_drill.nemesis._nemesis import HEAL_ONE_SECONDS, HEAL_SECONDS
from hs_drill.proxy import open_proxy
from hs_drill.scenario import NetworkFault, Scenario
from hs_drill.scenario._faults import FAULTS
from hs_drill.servers import Control, Rejoined, ReplicationStatus, Row, State
from tests.support.patience import patience, slowness
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

    async def read_rows(self, name: str, table: Table, *, after: int | None = None, limit: int = 10_000) -> list[Row]:
        raise NotImplementedError


class Drill:
    """A nemesis with its fake servers."""

    def __init__(self, *faults: dict[str, Any], proxies: Proxies | None = None, seed: int = 1) -> None:
        cluster = {"readers": 2, "standby": True, "replication": "semisync"}
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


async def test_a_fault_strikes_and_heals_on_time(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 2, 3))
    await drill.nemesis.run(10)
    assert drill.log == [(2, "kill writer"), (5, "start writer")]
    assert drill.times() == [("kill writer", 2, 2.5, 5.5)]
    assert drill.reports == [
        ("kill writer", False, False, False),
        ("kill writer", True, False, False),
        ("kill writer", True, False, False),  # and heals
        ("kill writer", True, True, False),
    ]
    assert drill.healing == [(2, None), (2.5, None), (5, 5), (5.5, 5)]
    assert drill.marks == pytest.approx([1.95, 2.5, 4.95, 5.5])
    drill.assert_healed()


async def test_healing_at_the_end_begins_for_all_faults_before_the_first_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drill = Drill(fault("pause", "reader-1", 1), fault("lag", "reader-2", 2, seconds=5), fault("promote", "standby", 3))
    await drill.nemesis.run(10)
    begun = {strike.fault: strike.healing and strike.healing - drill.begin for strike in drill.nemesis.strikes}
    assert begun == {"pause": 10, "lag": 10, "promote": None}


async def test_a_fault_without_an_end_heals_at_the_end_of_the_run(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(
        fault("pause", "reader-1", 1), fault("stop-replication", "reader-2", 2), fault("lag", "standby", 3, seconds=5)
    )
    await drill.nemesis.run(10)
    assert drill.log[-3:] == [(10, "resume reader-1"), (10.5, "lag 0 standby"), (11, "start-replication reader-2")]
    assert drill.errors() == []
    assert all(strike.end is not None for strike in drill.nemesis.strikes)
    drill.assert_healed()


@pytest.mark.parametrize("after", [0.5, 1.0, 1.2, 2.0, 2.7, 3.2, 4.0, 5.1, 5.3, 6.2, 7.0])
async def test_a_cancelled_run_has_healed(after: float, autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled before, during and after each strike and each healing."""
    drill = Drill(
        fault("kill", "writer", 1, 4),
        fault("pause", "reader-1", 1, 4),
        fault("lag", "reader-2", 3, 3, seconds=5),
        fault("stop-replication", "standby", 3, 3),
    )
    await cancelled_after(after, partial(drill.nemesis.run, 20))
    drill.assert_healed()
    assert "standby" in drill.control.replicating
    for strike in drill.nemesis.strikes:
        assert (strike.end is not None) != bool(strike.error), strike


async def test_a_strike_that_is_cut_off_is_reported(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("promote", "standby", 1))
    await cancelled_after(1.2, partial(drill.nemesis.run, 20))
    assert drill.errors() == ["was cut off by the end of the run"]


async def test_a_fault_that_cannot_strike_is_reported_and_the_others_go_on(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("pause", "writer", 1, 2), fault("kill", "reader-1", 2, 2))
    drill.control.broken["pause writer"] = ClusterError("the kernel said no")
    await drill.nemesis.run(10)
    assert drill.errors() == ["the kernel said no"]
    assert ("pause writer", False, False, True) in drill.reports
    assert drill.times()[1] == ("kill reader-1", 2, 2.5, 4.5)
    drill.assert_healed()


async def test_a_fault_that_failed_half_way_is_healed_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("lag", "reader-1", 1, 2, seconds=7))
    drill.control.broken["lag 7 reader-1"] = ClusterError("it did not start again")
    await drill.nemesis.run(10)
    assert drill.log == [(1, "lag 7 reader-1"), (10, "lag 0 reader-1")]
    assert drill.errors() == ["it did not start again"]
    drill.assert_healed()


async def test_an_unexpected_error_does_not_stop_other_faults(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 1, 2), fault("pause", "reader-1", 2, 2))
    drill.control.broken["kill writer"] = RuntimeError("a bug of ours")
    await drill.nemesis.run(10)
    assert drill.errors() == ["RuntimeError: a bug of ours"]
    assert drill.times()[1] == ("pause reader-1", 2, 2.5, 4.5)
    drill.assert_healed()


async def test_a_fault_that_does_not_heal_is_reported_and_tried_again_at_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drill = Drill(fault("pause", "reader-1", 1, 2), fault("pause", "reader-2", 1, 2))
    drill.control.broken["resume reader-1"] = ClusterError("no")
    await drill.nemesis.run(10)
    assert drill.errors() == ["did not heal: no"]
    assert [when for when, what in drill.log if what == "resume reader-1"] == [3, 10, 10.5]
    assert drill.control.states["reader-2"] == "running"


async def test_a_healing_that_hangs_does_not_hold_up_the_others(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("pause", "reader-1", 1), fault("lag", "reader-2", 2, seconds=3), fault("lag", "standby", 3, seconds=3))
    drill.control.hanging.add("lag 0 standby")
    await drill.nemesis.run(10)
    assert trio.current_time() - drill.begin <= 10 + HEAL_SECONDS
    assert drill.errors() == ["was still on at the end"]
    assert drill.control.states["reader-1"] == "running"
    assert drill.control.lags == {"standby": 3}
    assert HEAL_ONE_SECONDS < HEAL_SECONDS


async def test_a_repeated_fault_waits_until_the_last_one_has_healed(autojump_clock: trio.testing.MockClock) -> None:
    """Kill and healing take longer than the pause between repetitions: each still has its turn."""
    drill = Drill(fault("kill", "reader-1", 1, 0.1, every=0.3))
    await drill.nemesis.run(1.8)
    names = [what for _, what in drill.log]
    assert names[:6] == ["kill reader-1", "start reader-1"] * 3
    assert len(drill.nemesis.strikes) == 3
    drill.assert_healed()


async def test_a_repeated_fault_may_draw_another_server_each_time(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("pause", "one reader", 1, 1, every=2))
    await drill.nemesis.run(40)
    struck = {strike.server for strike in drill.nemesis.strikes}
    assert struck == {"reader-1", "reader-2"}
    assert drill.errors() == []
    drill.assert_healed()


async def test_servers_do_not_wait_for_each_other(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "all readers", 1, 1))
    await drill.nemesis.run(5)
    assert drill.log == [
        *sorted([(1.0, "kill reader-1"), (1.0, "kill reader-2")], key=drill.log.index),
        *sorted([(2.0, "start reader-1"), (2.0, "start reader-2")], key=drill.log.index),
    ]


async def test_healing_a_kill_leaves_a_server_alone_that_a_rejoin_has_started(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 1, 5), fault("promote", "standby", 2), fault("rejoin", "writer", 3))
    await drill.nemesis.run(10)
    assert drill.log == [(1, "kill writer"), (2, "promote standby"), (3, "rejoin writer")]
    assert drill.errors() == []
    assert drill.nemesis.strikes[2].note == "rebuilt: it had diverged"
    assert drill.control.primary == "standby"


async def test_a_fault_on_a_killed_server_fails_and_does_not_start_it(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 1, 6), fault("stop", "writer", 2, 1))
    await drill.nemesis.run(10)
    assert drill.log == [(1, "kill writer"), (7, "start writer")]
    assert drill.errors() == ["writer is down, but must be running"]
    drill.assert_healed()


async def test_a_paused_server_that_is_killed_and_started_is_not_resumed(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("pause", "writer", 1, 6), fault("kill", "writer", 2, 2))
    await drill.nemesis.run(10)
    assert drill.log == [(1, "pause writer"), (2, "kill writer"), (4, "start writer")]
    assert drill.errors() == []
    drill.assert_healed()


async def test_a_replica_that_was_held_back_does_not_heal_after_its_promotion(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(
        fault("lag", "standby", 1, 8, seconds=2), fault("stop-replication", "standby", 2, 6), fault("promote", "standby", 3)
    )
    await drill.nemesis.run(10)
    assert [what for _, what in drill.log] == ["lag 2 standby", "stop-replication standby", "promote standby"]
    assert drill.errors() == []


async def test_primary_means_the_server_that_takes_the_writes_at_that_time(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("promote", "standby", 1), fault("kill", "primary", 3, 1))
    await drill.nemesis.run(10)
    assert drill.log == [(1, "promote standby"), (3, "kill standby"), (4, "start standby")]


async def test_a_rejoin_waits_for_a_promotion_that_is_under_way(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 1, 5), fault("promote", "standby", 2), fault("rejoin", "writer", 2.1))
    await drill.nemesis.run(10)
    assert drill.log == [(1.0, "kill writer"), (2.0, "promote standby"), (2.5, "rejoin writer")]
    assert not [strike.error for strike in drill.nemesis.strikes if strike.error]


async def test_a_switch_over_stops_promotes_and_rejoins_in_order(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("switch-over", "standby", 1))
    await drill.nemesis.run(10)
    assert [what for _, what in drill.log] == ["stop serving writer", "stop writer", "promote standby", "rejoin writer"]
    assert drill.errors() == []


async def test_a_drained_server_ends_handlersocket_before_it_stops(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("stop", "writer", 1, 3, drain=True), fault("restart", "reader-1", 1, drain=True))
    await drill.nemesis.run(10)
    of_writer = [what for _, what in drill.log if what.endswith(" writer")]
    of_reader = [what for _, what in drill.log if what.endswith(" reader-1")]
    assert of_writer == ["stop serving writer", "stop writer", "start writer"]
    assert of_reader == ["stop serving reader-1", "stop reader-1", "start reader-1"]
    assert drill.errors() == []
    drill.assert_healed()


@pytest.mark.parametrize("kind", ["stop", "restart"])
@pytest.mark.parametrize("broken", ["stop serving writer", "stop writer"])
async def test_a_drained_shutdown_that_fails_half_way_leaves_the_server_serving(
    kind: str, broken: str, autojump_clock: trio.testing.MockClock
) -> None:
    drill = Drill(fault(kind, "writer", 1, drain=True))
    drill.control.broken[broken] = ClusterError("it would not")
    await drill.nemesis.run(10)
    assert drill.errors() == ["it would not"]
    assert [what for _, what in drill.log][-2:] == ["kill writer", "start writer"]
    drill.assert_healed()


@pytest.mark.parametrize("what", [fault("restart", "writer", 3, drain=True), fault("switch-over", "standby", 3)])
async def test_an_orderly_shutdown_of_a_server_that_is_down_does_not_start_it(
    what: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    drill = Drill(fault("kill", "writer", 1, 5), what)
    await drill.nemesis.run(10)
    assert drill.log == [(1.0, "kill writer"), (6.0, "start writer")]
    assert drill.errors() == ["writer is down, but must be running"]


async def test_a_switch_over_to_a_server_that_is_down_leaves_the_primary_alone(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "standby", 1, 5), fault("switch-over", "standby", 3))
    await drill.nemesis.run(10)
    assert [what for _, what in drill.log] == ["kill standby", "start standby"]
    assert drill.errors() == ["standby is down, but must be running"]


@pytest.mark.parametrize("broken", ["stop serving writer", "stop writer", "promote standby"])
async def test_a_switch_over_that_fails_half_way_leaves_every_server_serving(
    broken: str, autojump_clock: trio.testing.MockClock
) -> None:
    drill = Drill(fault("switch-over", "standby", 1))
    drill.control.broken[broken] = ClusterError("it would not")
    await drill.nemesis.run(10)
    assert drill.errors() == ["it would not"]
    drill.assert_healed()


async def test_a_switch_over_in_place_suspends_the_clients_until_the_target_is_the_primary(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drill = Drill(fault("switch-over", "standby", 1, suspend=True))
    await drill.nemesis.run(10)
    order = ["suspended", "close writer", "replicated", "promote standby", "resumed", "rejoin writer"]
    assert [what for _, what in drill.log] == order
    assert drill.errors() == []
    assert drill.promoted == ["standby"]
    assert drill.nemesis.strikes[0].note.startswith("clients were suspended for 1.0 s; ")


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_switch_over_in_place_that_fails_leaves_the_primary_open_for_writes(
    cancelled: bool, autojump_clock: trio.testing.MockClock
) -> None:
    drill = Drill(fault("switch-over", "standby", 1, suspend=True))
    if cancelled:
        drill.control.hanging.add("promote standby")
        await cancelled_after(5, partial(drill.nemesis.run, 100))
    else:
        drill.control.broken["promote standby"] = ClusterError("it has not applied everything")
        await drill.nemesis.run(10)
    assert [what for _, what in drill.log][-3:] == ["promote standby", "open writer", "resumed"]
    assert drill.errors() == ["was cut off by the end of the run" if cancelled else "it has not applied everything"]
    drill.assert_healed()


async def test_faults_whose_time_never_came_are_listed(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("pause", "writer", 1, 1), fault("kill", "reader-1", 8))
    await cancelled_after(5, partial(drill.nemesis.run, 20))
    assert drill.nemesis.never_struck() == ["kill reader-1 never struck: the run ended before 8 s"]


async def test_once_the_load_was_told_to_end_no_fault_strikes_and_those_that_are_on_heal(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drill = Drill(fault("pause", "writer", 1, 3), fault("kill", "reader-1", 2, 0.5, every=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drill.nemesis.run, 10)
        await trio.sleep(3.5)
        drill.nemesis.end_strikes()
    assert [what for _, what in drill.log] == ["pause writer", "kill reader-1", "start reader-1", "resume writer"]
    assert not drill.errors()
    assert not drill.nemesis.never_struck()  # each has struck at least once
    drill.assert_healed()


async def test_network_faults_of_both_listeners_begin_and_end_together(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_proxy("127.0.0.1", 1, rng=random.Random(1)) as read,
        open_proxy("127.0.0.1", 2, rng=random.Random(1)) as write,
    ):
        drill = Drill(
            fault("partition", "reader-1", 0, 0.05),
            fault("latency", "reader-1", 0.01, delay=0.1, listener="read"),
            proxies={("reader-1", "read"): read, ("reader-1", "write"): write},
        )
        seen: list[tuple[int, int]] = []

        async def look() -> None:
            while True:
                seen.append((len(read.statistics().disturbances), len(write.statistics().disturbances)))
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await drill.nemesis.run(0.2)
            nursery.cancel_scope.cancel()
        assert (2, 1) in seen
        assert (1, 0) in seen
        assert read.statistics().disturbances == write.statistics().disturbances == ()
        assert drill.errors() == []


async def answer(stream: trio.SocketStream) -> None:
    """Answer whatever arrives, until the connection ends."""
    try:
        async for _ in stream:
            await stream.send_all(b"0\t1\n")
    except trio.BrokenResourceError:
        pass


async def use(port: int) -> None:
    """Carry requests over a connection to this port, until cancelled. Connect again where no answer comes."""
    while True:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                answered = True
                while answered:
                    answered = False
                    with trio.move_on_after(patience(0.05)):
                        await stream.send_all(b"0\t=\t1\t1\n")
                        answered = bool(await stream.receive_some())
                    await trio.sleep(0.005)
        except (OSError, trio.BrokenResourceError):
            pass


async def test_network_faults_without_effect_are_listed_and_the_effects_of_others_counted() -> None:
    unit = slowness()  # of time, so that there is traffic during each fault
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with (
            open_proxy("127.0.0.1", port, rng=random.Random(1)) as used,
            open_proxy("127.0.0.1", port, rng=random.Random(1)) as idle,
        ):
            drill = Drill(
                fault("drop-replies", "reader-1", 0.1 * unit, 0.2 * unit, after=1, listener="read"),
                fault("half-open", "reader-1", 0.4 * unit, 0.1 * unit, listener="read"),
                fault("reset", "reader-1", 0.6 * unit, listener="read"),
                fault("drop-replies", "reader-2", 0.1 * unit, 0.2 * unit, after=1, listener="read"),
                fault("half-open", "reader-2", 0.4 * unit, listener="read"),  # until the end
                fault("reset", "reader-2", 0.6 * unit, listener="read"),
                fault(
                    "latency", "reader-2", 0.6 * unit, 0.1 * unit, listener="read", delay=0.1
                ),  # whose effects cannot be counted
                proxies={("reader-1", "read"): used, ("reader-2", "read"): idle},
            )
            for _ in range(4):  # one of them is connected whenever a fault strikes
                nursery.start_soon(use, used.port)
            await drill.nemesis.run(0.8 * unit)
        nursery.cancel_scope.cancel()
    assert drill.errors() == []
    no_connection = "no connection was open at that moment: aim it at a server that carries load, while it does"
    assert drill.nemesis.without_effect() == [
        "drop-replies reader-2 had no effect: no connection carried more than `after` replies: lower `after`, or aim it at a "
        "server that carries load",
        f"half-open reader-2 had no effect: {no_connection}",
        f"reset reader-2 had no effect: {no_connection}",
    ]
    strikes = {(strike.fault, strike.server): strike for strike in drill.nemesis.strikes}
    assert strikes["latency", "reader-2"].effects is None
    for kind, what in (
        ("drop-replies", "replies lost"),
        ("half-open", "connections made half-open"),
        ("reset", "connections reset"),
    ):
        effects = strikes[kind, "reader-1"].effects
        assert effects
        assert strikes[kind, "reader-1"].note == f"{what}: {effects}"
        assert strikes[kind, "reader-2"].note == f"{what}: 0"
    # A repeated fault counts as effective if one of its strikes had an effect.
    drill.nemesis.strikes.append(Strike(5, "reset", "reader-2", 0, 0, 0, effects=1))
    assert len(drill.nemesis.without_effect()) == 2


@pytest.mark.parametrize(
    "kind, more",
    [
        ("partition", {}),
        ("latency", {"delay": 0.001}),
        ("bandwidth", {"bytes_per_second": 1000}),
        ("half-open", {}),
        ("blackhole", {}),
        ("drop-replies", {}),
        ("idle-timeout", {"after": 9}),
        ("flapping", {}),
    ],
)
async def test_the_same_network_fault_twice_at_once_is_on_until_both_have_healed(kind: str, more: dict[str, Any]) -> None:
    async with open_proxy("127.0.0.1", 1, rng=random.Random(1)) as proxy:
        drill = Drill(
            fault(kind, "reader-1", 0, 0.3, listener="read", **more),
            fault(kind, "reader-1", 0.1, 0.1, listener="read", **more),
            proxies={("reader-1", "read"): proxy},
        )
        seen: list[int] = []

        def look(_: object) -> None:
            seen.append(len(proxy.statistics().disturbances))

        drill.nemesis._report = look  # after each step: begun, struck, begins to heal, healed
        await drill.nemesis.run(0.5)
    assert seen == [0, 1, 1, 2, 2, 1, 1, 0]
    assert drill.errors() == []


def test_every_network_fault_that_lasts_is_tried_twice() -> None:
    marks = test_the_same_network_fault_twice_at_once_is_on_until_both_have_healed.pytestmark
    tried = {kind for kind, _ in marks[0].args[1]}
    assert tried == {name for name, one in FAULTS.items() if issubclass(one, NetworkFault) and one.lasts}
