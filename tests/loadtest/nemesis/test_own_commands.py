"""Faults on servers of the user's own: by commands, and failovers that somebody else makes, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from hs_drill._cluster import ClusterError
from hs_drill.nemesis import _nemesis
from hs_drill.nemesis._nemesis import HEAL_ONE_SECONDS, HEAL_SECONDS
from hs_drill.servers import ByCommand, open_commands
from hs_drill.servers._control import Promotion
from tests.loadtest.support.commands import effects_as_files, shell
from tests.loadtest.support.nemesis import Drill, cancelled_after, fault
from tests.support.patience import patience, until

COMMANDS: dict[str, Any] = {
    "kill": {"run": ["true"], "heal": ["true"]},
    "stop-replication": {"run": ["true"], "heal": ["true"]},
    "promote": {"run": ["true"]},
    "switch-over": {"run": ["true"]},
}
LEASE = {"fault": "command", "name": "drop the lease", "run": ["true"], "heal": ["true"]}


class Injection:
    def __init__(self, by: FakeCommands, what: str) -> None:
        self.note = ""
        self._by = by
        self._what = what

    async def strike(self) -> None:
        await self._by.do(self._what)
        self.note = f"noted: {self._what}"

    async def heal(self) -> None:
        await self._by.do(f"heal {self._what}")


class FakeCommands:
    """Notes which commands run; each takes a second."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self.limits: dict[str, float] = {}
        self.keys: list[tuple[str, str | None]] = []
        self.doing: dict[str, Callable[[], Awaitable[object]]] = {}
        """What else happens while a command runs."""
        self.ordered_by_us: list[Promotion] = []
        drill.control.by_command = cast("ByCommand", self)

    async def do(self, what: str) -> None:
        self._drill.control.note(what)
        await trio.sleep(1)
        if what in self.doing:
            await self.doing[what]()

    def injection(self, key: str, what: str, server: str | None) -> Injection:
        self.keys.append((key, server))
        return Injection(self, what)

    def limit(self, key: str) -> float:
        return self.limits.get(key, 34.0)

    def primary_changed(self) -> None:
        """There is no healer."""

    def ordered(self, promotion: Promotion) -> bool:
        return promotion in self.ordered_by_us


async def promotion(drill: Drill, name: str, at: float, *, ours: FakeCommands | None = None) -> None:
    await trio.sleep_until(drill.begin + at)
    seen = Promotion(name, trio.current_time(), trio.current_time() - 0.25)
    if ours is not None:
        ours.ordered_by_us.append(seen)
    drill.control.note_promotion(seen)


async def test_a_failover_by_somebody_else_strikes_when_it_is_seen(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill({"fault": "external", "at": 2, "for": 30}, fault("kill", "primary", 10, 2), commands=COMMANDS)
    FakeCommands(drill)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(promotion, drill, "reader-2", 1)  # before it is waited for
        nursery.start_soon(promotion, drill, "standby", 7)
        await drill.nemesis.run(20)
    assert drill.errors() == []
    assert drill.times()[0] == ("external failover", 2, 7, 7)
    assert drill.nemesis.strikes[0].note == "standby became the primary"
    assert drill.promoted == [], "the watch on the primary reports it"
    assert drill.log == [(10, "kill standby"), (12, "heal kill standby")]


async def test_a_failover_that_does_not_come_in_time_is_told(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill({"fault": "external", "at": 2, "for": 5}, commands=COMMANDS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(promotion, drill, "standby", 8)
        await drill.nemesis.run(20)
    assert drill.errors() == ["no failover was seen within 5 s: writer is the primary"]
    assert drill.nemesis.strikes[0].struck is None


async def test_a_failover_that_has_not_come_when_the_run_ends_is_told(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill({"fault": "external", "at": 2, "for": 50}, commands=COMMANDS)
    await cancelled_after(5, partial(drill.nemesis.run, 100))
    assert drill.errors() == ["was cut off by the end of the run"]


async def test_a_promotion_by_a_command_of_the_run_is_no_failover_by_somebody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drill = Drill({"fault": "external", "at": 1, "for": 10}, fault("promote", "standby", 2), commands=COMMANDS)
    by = FakeCommands(drill)
    by.doing["promote standby"] = partial(promotion, drill, "standby", 4, ours=by)
    await drill.nemesis.run(20)
    assert drill.errors() == ["no failover was seen within 10 s: standby is the primary"]
    assert drill.promoted == [], "the watch on the primary reports it"
    assert drill.nemesis.strikes[1].note == "noted: promote standby"


async def test_a_command_of_any_kind_strikes_and_heals_on_time(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill({**LEASE, "at": 1, "for": 3}, {"fault": "command", "name": "go on", "run": ["true"], "at": 2}, commands={})
    by = FakeCommands(drill)
    await drill.nemesis.run(10)
    assert drill.log == [(1, "command drop the lease"), (2, "command go on"), (4, "heal command drop the lease")]
    assert drill.times() == [("command drop the lease", 1, 2, 5), ("command go on", 2, 3, 3)]
    assert by.keys == [("faults.0", None), ("faults.1", None)]


async def test_what_the_run_has_no_command_for_is_not_done_by_its_own_means(autojump_clock: trio.testing.MockClock) -> None:
    """A switch-over by a command is that command alone, and a kill does not look for processes of ours."""
    drill = Drill(fault("switch-over", "standby", 1), fault("kill", "reader-1", 4, 2), commands=COMMANDS)
    by = FakeCommands(drill)
    await drill.nemesis.run(10)
    assert drill.log == [(1, "switch-over standby"), (4, "kill reader-1"), (6, "heal kill reader-1")]
    assert by.keys == [("switch-over", "standby"), ("kill", "reader-1")]
    assert drill.errors() == []


async def test_a_command_that_failed_is_healed_at_the_end(autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 1, 2), commands=COMMANDS)
    by = FakeCommands(drill)

    async def fail() -> None:
        raise ClusterError("sh changed nothing: writer answers")

    by.doing["kill writer"] = fail
    await drill.nemesis.run(10)
    assert drill.log == [(1, "kill writer"), (10, "heal kill writer")]
    assert drill.errors() == ["sh changed nothing: writer answers"]


async def test_at_the_end_servers_heal_at_once_because_replicas_need_their_source(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drill = Drill(
        fault("kill", "writer", 1), fault("stop-replication", "reader-1", 3), fault("kill", "reader-1", 5), commands=COMMANDS
    )
    by = FakeCommands(drill)
    source = trio.Event()

    async def started() -> None:
        source.set()

    by.doing["heal kill writer"] = started
    by.doing["heal stop-replication reader-1"] = source.wait
    await drill.nemesis.run(10)
    assert drill.errors() == []
    at_the_end = drill.log[3:]
    assert sorted(at_the_end[:2]) == [(10, "heal kill reader-1"), (10, "heal kill writer")]
    assert at_the_end[2:] == [(11, "heal stop-replication reader-1")], "on one server the last fault heals first"


@pytest.mark.parametrize(
    "takes, healed", [(HEAL_ONE_SECONDS + 60, True), (HEAL_SECONDS + 60, True), (HEAL_SECONDS + 200, False)]
)
async def test_a_command_that_heals_has_the_time_that_its_limit_allows(
    takes: float, healed: bool, autojump_clock: trio.testing.MockClock
) -> None:
    drill = Drill(fault("kill", "writer", 1), commands=COMMANDS)
    by = FakeCommands(drill)
    by.limits["kill"] = HEAL_SECONDS + 70
    by.doing["heal kill writer"] = partial(trio.sleep, takes - 1)
    await drill.nemesis.run(10)
    assert drill.errors() == ([] if healed else ["was still on at the end"])


@pytest.mark.parametrize("after", [0.5, 1.5, 3.5, 4.5])
async def test_a_cancelled_run_heals_its_commands(after: float, autojump_clock: trio.testing.MockClock) -> None:
    drill = Drill(fault("kill", "writer", 1, 3), {**LEASE, "at": 1, "for": 3}, commands=COMMANDS)
    FakeCommands(drill)
    await cancelled_after(after, partial(drill.nemesis.run, 20))
    done = [what for _, what in drill.log]
    for what in ("kill writer", "command drop the lease"):
        assert (what in done) is (f"heal {what}" in done) is (after > 1)


@pytest.mark.process
@pytest.mark.parametrize("healing", [True, False], ids=["while it heals", "before it heals, which takes too long"])
async def test_a_command_that_heals_runs_once_and_until_its_end(
    healing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is cancelled. In real time, with commands that run."""
    effects_as_files(tmp_path, monkeypatch)
    monkeypatch.setattr(ByCommand, "limit", lambda by_command, key: 0.0)
    monkeypatch.setattr(_nemesis, "HEAL_SECONDS", 0.2)
    monkeypatch.setattr(_nemesis, "HEAL_ONE_SECONDS", 0.1)
    drill = Drill(fault("kill", "writer", 0.1, 0.1 if healing else 500), commands=COMMANDS)
    heal = f"echo begun >> {tmp_path}/healing; sleep 0.6; rm {tmp_path}/$1; echo ended >> {tmp_path}/healing"
    with trio.fail_after(patience(30)):
        async with open_commands(drill.control, {"kill": shell(f"touch {tmp_path}/$1", heal)}), trio.open_nursery() as nursery:
            nursery.start_soon(drill.nemesis.run, 1000)
            await until(lambda: any(strike.struck is not None for strike in drill.nemesis.strikes))
            if healing:
                await until((tmp_path / "healing").exists)
            nursery.cancel_scope.cancel()
    assert (tmp_path / "healing").read_text().split() == ["begun", "ended"]
    assert drill.errors() == []
    assert drill.nemesis.strikes[0].end is not None


@pytest.mark.process
async def test_a_promotion_under_way_when_the_load_ends_is_finished_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects_as_files(tmp_path, monkeypatch)
    drill = Drill(fault("promote", "standby", 0.1))
    promote = f"touch {tmp_path}/begun; sleep 0.6; (sleep 0.3; touch {tmp_path}/$1) &"
    with trio.fail_after(patience(30)):
        async with open_commands(drill.control, {"promote": shell(promote)}), trio.open_nursery() as nursery:
            nursery.start_soon(drill.nemesis.run, 1000)
            await until((tmp_path / "begun").exists)
            nursery.cancel_scope.cancel()
    assert (tmp_path / "standby").exists()
    assert drill.errors() == []
    (strike,) = drill.nemesis.strikes
    assert strike.struck is not None
    assert strike.end == strike.struck
