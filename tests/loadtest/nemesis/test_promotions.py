"""Faults that change the primary, or drain a server: in which order, and what a failure half way leaves."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from hs_drill._cluster import ClusterError
from tests.loadtest.support.nemesis import Drill, cancelled_after, fault


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
