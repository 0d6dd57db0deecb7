"""Faults on fake servers, in virtual time: what strikes and heals in which order, and what is left at the end."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing

from hs_drill._cluster import ClusterError
from hs_drill.nemesis._nemesis import HEAL_ONE_SECONDS, HEAL_SECONDS
from tests.loadtest.support.nemesis import Drill, cancelled_after, fault


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
