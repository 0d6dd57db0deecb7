"""How late and how busy an event loop is; the tests block it on purpose."""

from __future__ import annotations

import time
from collections import Counter

import msgpack
import pytest
import trio

from hs_drill.engine._lag import PERIOD, LagSampler
from hs_drill.metrics import Batch, EngineUse

BLOCKED = 0.3
"""Seconds."""


async def test_a_blocked_loop_is_late_for_every_sample_of_that_time() -> None:
    async with trio.open_nursery() as nursery:
        sampler = LagSampler()
        nursery.start_soon(sampler.run)
        await trio.sleep(0.05)
        time.sleep(BLOCKED)  # noqa: ASYNC251  (blocking is the point)
        await trio.sleep(0.05)
        use = sampler.take()
        nursery.cancel_scope.cancel()
    # The first sample was due at most two periods after the blocking began.
    assert max(use.lag) >= BLOCKED * 1e6 - 2 * PERIOD / 1000
    late = sum(count for lag, count in use.lag.items() if lag >= BLOCKED / 3 * 1e6)
    assert late >= BLOCKED * 2 / 3 * 1e9 / PERIOD - 2
    assert use.lag.total() == pytest.approx(use.seconds * 1e9 / PERIOD, abs=2), "samples are evenly spread over the time"


async def test_a_loop_that_is_blocked_until_take_is_late() -> None:
    """Its timer has had no chance to fire."""
    sampler = LagSampler()
    time.sleep(BLOCKED)  # noqa: ASYNC251
    assert max(sampler.take().lag) >= BLOCKED * 1e6 - 2 * PERIOD / 1000
    assert sampler.take().lag.total() <= 1, "each sample is taken once"


def test_cpu_time_and_the_time_waited_for_a_core_make_an_engine_busy() -> None:
    sampler = LagSampler()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    use = sampler.take()
    assert 0.1 <= use.cpu <= use.seconds + 0.01
    assert use.waited >= 0
    assert sampler.take().cpu < 0.1
    assert EngineUse(seconds=4.0, cpu=2.0, waited=1.0).busy == 0.75
    assert EngineUse().busy == 0


def test_uses_add_up() -> None:
    total = EngineUse(Counter({5: 2}), 1.0, 0.5, 0.25).plus(EngineUse(Counter({5: 1, 9: 1}), 3.0, 0.5))
    assert total == EngineUse(Counter({5: 3, 9: 1}), 4.0, 1.0, 0.25)


def test_engine_use_survives_serialization_and_older_kept_runs_have_none() -> None:
    use = EngineUse(Counter({70: 20, 15_000: 5}), 0.25, 0.2, 0.04)
    batch = Batch(0, 1, engines={3: use})
    wire = msgpack.unpackb(msgpack.packb(batch.to_wire()), strict_map_key=False)
    again = Batch.from_wire(wire)
    assert again == batch
    again.add(Batch(1, 2, engines={3: use, 4: use}))
    assert again.engines == {3: use.plus(use), 4: use}
    del wire["engines"]
    assert Batch.from_wire(wire).engines == {}
