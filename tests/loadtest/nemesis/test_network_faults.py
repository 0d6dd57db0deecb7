"""Faults of the network, on real proxies: they begin, add up and end, and their effects are counted."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from hs_drill.nemesis import Strike
from hs_drill.proxy import open_proxy
from hs_drill.scenario import NetworkFault
from hs_drill.scenario._faults import FAULTS
from tests.loadtest.support.nemesis import Drill, fault
from tests.support.patience import patience, slowness


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


async def test_a_fault_strikes_the_ports_that_there_are(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_proxy("127.0.0.1", 1, rng=random.Random(1), sql=True) as sql,
        open_proxy("127.0.0.1", 2, rng=random.Random(1)) as read,
    ):
        drill = Drill(
            fault("partition", "writer", 0),
            fault("partition", "reader-1", 0),
            fault("partition", "reader-1", 0.1, listener="write"),
            proxies={("writer", "sql"): sql, ("reader-1", "read"): read},  # `driver: sql`; a reader that takes no writes
        )
        seen: list[int] = []
        drill.nemesis._report = lambda _: seen.append(len(sql.statistics().disturbances) + len(read.statistics().disturbances))
        await drill.nemesis.run(0.2)
    assert max(seen) == 2
    assert drill.errors() == ["reader-1 has no listener for writes"]


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
        "server that carries load (by SQL it cannot tell replies apart on connections that are encrypted)",
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
async def test_the_same_network_fault_twice_at_once_is_on_until_both_have_healed(
    kind: str, more: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
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
